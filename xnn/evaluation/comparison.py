"""Runs of a study or sweep side by side, from their result files alone."""

import json
from collections.abc import Iterable

import pandas as pd

from ..config import files
from ..config.names import BACKBONES, of_run, of_study
from ..config.schema import Run, Study
from .intervals import paired_differences
from .predictions import KEYS, arrays, read

CRITERIA = {
    "worst_group_accuracy": "worst-group accuracy on validation",
    "f1_weighted": "weighted F1 on validation (no sizes of originals are recorded)",
}
FORESIGHT = {
    "worst_group_accuracy": "worst-group accuracy",
    "auroc_misleading": "AUROC where size misleads",
    "f1_weighted": "weighted F1",
    "auroc_pneumonia": "AUROC for pneumonia",
    "specificity_pneumonia": "specificity",
}
MEASURES = {"insertion auc": "insertion", "deletion auc": "deletion"}  # that explanations are judged by
SHOWN = ("f1_weighted", "f1_macro", "accuracy", "auroc_pneumonia", "accuracy_bacteria_vs_virus", "ece")


def read_results(study: Study, file: str, runs: list[str] | None = None) -> dict[str, dict]:
    """Return the content of one result file by run, for the runs that have it.

    By default of all runs that are given whole radiographs: scores on a part are not comparable with theirs.
    """
    if runs is None:
        all_runs = [files.load_run(study.name, name) for name in files.runs(study.name)]
        runs = [run.name for run in all_runs if run.model.region == "whole"]
    places = {run: study.reports / run / file for run in runs}
    return {run: json.loads(place.read_text()) for run, place in places.items() if place.exists()}


def load_results(study: Study, runs: list[str] | None = None) -> tuple[dict[str, dict], dict[str, dict]]:
    """Return the contents of metrics.json and training.json by run, for the evaluated runs."""
    metrics = read_results(study, "metrics.json", runs)
    return metrics, read_results(study, "training.json", list(metrics))


def score(metrics: dict[str, dict], name: str) -> pd.DataFrame:
    """Return one score of every run: columns run, value, low and high."""
    return pd.DataFrame([{"run": run, **each["scores"][name]} for run, each in metrics.items()])


def criterion(metrics: dict[str, dict]) -> str:
    """Return the score on validation that runs are chosen by, one of `CRITERIA`.

    Ordinary scores on validation do not show a shortcut, so it is the worst-group accuracy where the sizes of
    the originals are recorded for all runs.
    """
    known = [each["validation"]["worst_group_accuracy"] is not None for each in metrics.values()]
    return "worst_group_accuracy" if known and all(known) else "f1_weighted"


def by_validation(metrics: dict[str, dict]) -> pd.DataFrame:
    """Return the scores of runs on validation, the chosen run first: the test has no part in the choice.

    Columns validation (the criterion, whose words are ``attrs["criterion"]``) and validation_f1, which
    decides between equals.
    """
    used = criterion(metrics)
    rows = {
        run: {"validation": each["validation"][used]["value"], "validation_f1": _f1(each["validation"])}
        for run, each in metrics.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["validation", "validation_f1"], dtype=float)
    table = table.sort_values(["validation", "validation_f1"], ascending=False, kind="stable")
    table.attrs["criterion"] = CRITERIA[used]
    return table.rename_axis("run")


def _f1(scores: dict[str, dict]) -> float:
    return scores["f1_weighted"]["value"]


def result_table(metrics: dict[str, dict], training: dict[str, dict]) -> pd.DataFrame:
    """Return the study's results, one row per run with intervals, in the order of `by_validation`."""
    rows = []
    for run in by_validation(metrics).index:
        scores, record = metrics[run]["scores"], training[run]
        shown = [name for name in scores if name in SHOWN or name.startswith("average_precision_")]
        rows.append(
            {
                "run": run,
                "regime": record["regime"],
                "starting weights": record["weights"],
                **worst_groups(metrics[run]),
                "validation f1": with_interval(metrics[run]["validation"]["f1_weighted"]),
                **{name.replace("_", " "): with_interval(scores[name]) for name in shown},
                "parameters trained": record["parameters"]["trained"],
                "minutes": minutes(record),
                "test images": metrics[run]["n"],
            }
        )
    return pd.DataFrame(rows)


def foresight(metrics: dict[str, dict]) -> pd.DataFrame:
    """Return how alike validation and test rank the runs: Spearman's correlation of their scores.

    A row per score on validation, a column per score on the test split, both of `FORESIGHT` where defined.
    """
    sides = {
        "validation": {run: each["validation"] for run, each in metrics.items()},
        "test": {run: each["scores"] | each for run, each in metrics.items()},
    }
    values = {
        (side, words): pd.Series({run: each[name]["value"] for run, each in runs.items() if each.get(name)})
        for side, runs in sides.items()
        for name, words in FORESIGHT.items()
    }
    ranks = pd.DataFrame(values, dtype=float).corr("spearman", min_periods=3)
    return ranks.loc["validation", "test"].dropna(how="all").dropna(axis=1, how="all")


def worst_groups(result: dict) -> dict[str, str]:
    """Return the worst-group accuracies of a metrics.json as text; none where no sizes are recorded."""
    found = {"validation worst group": result["validation"]["worst_group_accuracy"]}
    found["worst group"] = result["worst_group_accuracy"]
    return {name: with_interval(each) for name, each in found.items() if each}


def explanations(study: Study) -> pd.DataFrame:
    """Return a summary of each run's Integrated Gradients, one row per explained run.

    Columns explained (images), complete (share within the tolerance), gradients (median), for each measure
    whether they are better or worse than every control, and lung share with its interval if lungs are known.
    """
    rows = {}
    for run, found in read_results(study, "explanations.json").items():
        rows[run] = {
            "explained": found["n"],
            "complete": found["completeness_passed"],
            "gradients": found["integrated_gradients"]["steps_median"],
            **{name.replace("_", " "): each["verdict"] for name, each in found["supports"].items()},
        }
        if "lung_share" in (own := found["methods"]["integrated_gradients"]):
            rows[run]["lung share"] = with_interval(own["lung_share"])
    return pd.DataFrame.from_dict(rows, orient="index")


def against_controls(explained: pd.DataFrame) -> str:
    """Return on how many runs of ``explanations`` the maps beat every control, by each measure, as text."""
    told = []
    for name, words in MEASURES.items():
        better, worse = ((explained[name] == found).sum() for found in ("better", "worse"))
        lost = f" (and are worse than every control on {worse})" if worse else ""
        told.append(f"by {words} on {better} of {len(explained)} networks{lost}")
    return f"beat every control {' and '.join(told)}"


def minutes(record: dict) -> float:
    """Return the duration of a training, with the frozen layers' activations, from its training.json."""
    return round((record["frozen_seconds"] + sum(row["seconds"] for row in record["history"])) / 60, 1)


def with_interval(score: dict[str, float | None]) -> str:
    """Return a score as 0.842 (0.811 to 0.870), without limits as 0.842; a dash where it is undefined."""
    if score["value"] is None:
        return "-"
    if pd.isna(score["low"]):
        return f"{score['value']:.3f}"
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def signed(difference: dict[str, float]) -> str:
    """Return a difference as +0.058 (+0.018 to +0.109)."""
    return "{value:+.3f} ({low:+.3f} to {high:+.3f})".format_map(difference)


def as_read(table: pd.DataFrame) -> pd.DataFrame:
    """Return ``differences`` with a column difference, signed and with its limits, for the number columns."""
    told = [signed(each) for each in table.to_dict("records")]
    return table.assign(value=told).drop(columns=["low", "high"]).rename(columns={"value": "difference"})


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, for pages that show numbers without computing them."""
    lines = [
        table.columns,
        ["---"] * len(table.columns),
        *table.astype(object).fillna("").astype(str).to_numpy(),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def networks(study: Study, training: dict[str, dict]) -> pd.DataFrame:
    """Return run, backbone, parameters (count) and starting weights of each run.

    A run that starts from another run's model has the starting weights of that run.
    """
    rows = []
    for name, record in training.items():
        run = files.load_run(study.name, name)
        while run.model.start_from:
            run = files.load_run(study.name, run.model.start_from)
        weights = {"none": "random", "imagenet": "ImageNet"}.get(run.model.weights, run.model.weights)
        backbone = BACKBONES.get(run.model.backbone, run.model.backbone)
        row = {"run": name, "backbone": backbone, "parameters": record["parameters"]["total"]}
        rows.append({**row, "weights": weights})
    return pd.DataFrame(rows)


def titles(study: Study, runs: Iterable[str], studies: Iterable[str] = ()) -> dict[str, str]:
    """Return the readable names of runs of a study, and of other studies, for figures."""
    words = {run: of_run(files.load_run(study.name, run)) for run in runs}
    return words | {name: of_study(files.load_study(name)) for name in studies}


def differences(study: Study, pairs: list[tuple[str, str]], names: list[str]) -> pd.DataFrame:
    """Return some scores of one run minus those of another on the same patients, for pairs of runs.

    Columns run, against, score, value, low and high (95 %, bootstrap over patients) and real (the interval
    excludes 0). Raises ValueError for runs that were tested on different images.
    """
    rows = []
    for run, other in pairs:
        one, two = (read(study.reports / name / "predictions.csv") for name in (run, other))
        if not one[KEYS].equals(two[KEYS]):
            raise ValueError(f"{run} and {other} were not tested on the same images: evaluate both again")
        (labels, first), (_, second) = arrays(one, study.classes), arrays(two, study.classes)
        found = paired_differences(labels, first, second, study.classes, one.patient, seed=study.seed)
        rows += [{"run": run, "against": other, "score": name, **found[name]} for name in names]
    table = pd.DataFrame(rows, columns=["run", "against", "score", "value", "low", "high"])
    return table.assign(real=(table.low > 0) | (table.high < 0))


def verdict(table: pd.DataFrame) -> str:
    """Return how many rows of ``differences`` are higher, lower or within chance, as text."""
    counts = {"higher": (table.low > 0).sum(), "lower": (table.high < 0).sum()}
    counts["within chance"] = len(table) - sum(counts.values())
    told = ", ".join(f"{words} in {count}" for words, count in counts.items() if count)
    return f"{told} of {len(table)} comparison{'s' * (len(table) > 1)}"


def by_size(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the best run of the smallest network with that of each larger one, by starting weights.

    ``table`` has the columns run, validation (the score that decides which is best), backbone, parameters and
    weights.
    """
    pairs = []
    for _, alike in table.groupby("weights", sort=False):
        best = alike.sort_values("validation", ascending=False).groupby("backbone", sort=False).head(1)
        smallest, *larger = best.sort_values("parameters").run
        pairs += [(smallest, run) for run in larger]
    return pairs


def weighted_pairs(study: Study, names: list[str]) -> list[tuple[str, str]]:
    """Return (with, without) for runs that differ only in class weights, also in the runs they start from."""
    runs = {name: files.load_run(study.name, name) for name in names}
    recipes = {name: recipe(run, "training.class_weights") for name, run in runs.items()}
    weighted = [name for name in names if runs[name].training.class_weights]
    plain = [name for name in names if name not in weighted]
    return [(one, two) for one in weighted for two in plain if recipes[one] == recipes[two]]


def recipe(run: Run, *without: str) -> str:
    """Return a run's parameters as text, without some (dotted keys); equal for equal trainings.

    A run that starts from another run has that run's recipe in place of its name.
    """
    values = run.model_dump(mode="json", exclude={"note", "online"})
    for key in without:
        group, _, name = key.rpartition(".")
        del (values[group] if group else values)[name]
    if start := run.model.start_from:
        values["model"]["start_from"] = recipe(files.load_run(run.study.name, start), *without)
    return json.dumps(values, sort_keys=True)
