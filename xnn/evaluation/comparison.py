"""Runs of a study or sweep side by side, from their result files alone."""

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from ..config import files
from ..config.schema import Run, Study
from ..config.sweep import Sweep
from .intervals import paired_differences
from .predictions import KEYS, arrays, read
from .scoring import scores

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


def validation_f1(study: Study, runs: Iterable[str]) -> pd.Series:
    """Return the weighted F1 of runs on validation, highest first: a run is chosen by this alone."""
    found = {}
    for run in runs:
        predictions = read(study.reports / run / "validation.csv")
        found[run] = float(scores(*arrays(predictions, study.classes), study.classes)["f1_weighted"][0])
    return pd.Series(found, name="validation", dtype=float).sort_values(ascending=False, kind="stable")


def result_table(metrics: dict[str, dict], training: dict[str, dict], validation: pd.Series) -> pd.DataFrame:
    """Return the study's results, one row per run with intervals, in the order of `validation_f1`."""
    rows = []
    for run in validation.index:
        scores, record = metrics[run]["scores"], training[run]
        shown = [name for name in scores if name in SHOWN or name.startswith("average_precision_")]
        rows.append(
            {
                "run": run,
                "regime": record["regime"],
                "starting weights": record["weights"],
                "validation f1": round(validation[run], 3),
                **{name.replace("_", " "): with_interval(scores[name]) for name in shown},
                "parameters trained": record["parameters"]["trained"],
                "minutes": minutes(record),
                "test images": metrics[run]["n"],
            }
        )
    return pd.DataFrame(rows)


def explanations(study: Study) -> pd.DataFrame:
    """Return a summary of each run's Integrated Gradients, one row per explained run.

    Columns explained (images), complete (share within the tolerance), gradients (median), and for each
    measure whether they are better or worse than every control.
    """
    rows = {}
    for run, found in read_results(study, "explanations.json").items():
        rows[run] = {
            "explained": found["n"],
            "complete": found["completeness_passed"],
            "gradients": found["integrated_gradients"]["steps_median"],
            **{name.replace("_", " "): each["verdict"] for name, each in found["supports"].items()},
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def minutes(record: dict) -> float:
    """Return the duration of a training, with the frozen layers' activations, from its training.json."""
    return round((record["frozen_seconds"] + sum(row["seconds"] for row in record["history"])) / 60, 1)


def with_interval(score: dict[str, float | None]) -> str:
    """Return a score as 0.842 (0.811-0.870); a dash where it is undefined."""
    if score["value"] is None:
        return "-"
    return f"{score['value']:.3f} ({score['low']:.3f}-{score['high']:.3f})"


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, for pages that show numbers without computing them."""
    lines = [table.columns, ["---"] * len(table.columns), *table.astype(str).to_numpy()]
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
        weights = "random" if run.model.weights == "none" else run.model.weights
        row = {"run": name, "backbone": run.model.backbone, "parameters": record["parameters"]["total"]}
        rows.append({**row, "weights": weights})
    return pd.DataFrame(rows)


def titles(networks: pd.DataFrame) -> dict[str, str]:
    """Return the name of each run for tables and figures; it mentions random starting weights."""
    random = {"random": " (random weights)"}
    return {row.run: row.run + random.get(row.weights, "") for row in networks.itertuples()}


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
    if not len(table):
        return "no such pair in this study"
    higher, lower = (table.low > 0).sum(), (table.high < 0).sum()
    return f"higher in {higher}, lower in {lower}, within chance in {len(table) - higher - lower} comparisons"


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


def seeds(study: Study, names: list[str]) -> dict[str, list[str]]:
    """Return groups of two or more runs that differ only in seeds, by the one with the lowest seed."""
    runs = sorted((files.load_run(study.name, name) for name in names), key=lambda run: run.seed)
    alike = {}
    for run in runs:
        alike.setdefault(recipe(run, "seed"), []).append(run.name)
    return {names[0]: names for names in alike.values() if len(names) > 1}


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


def seed_spread(metrics: dict[str, dict], names: list[str]) -> pd.DataFrame:
    """Return the spread of each score over runs, one row per score.

    Columns mean, sd (n - 1), lowest, highest, and half_width: half the mean length of the 95 % intervals.
    """
    scores = {run: pd.DataFrame(metrics[run]["scores"]).T.astype(float) for run in names}
    table = pd.concat(scores, axis=1)
    value, low, high = (table.xs(key, axis=1, level=1) for key in ("value", "low", "high"))
    rows = {
        "mean": value.mean(axis=1),
        "sd": value.std(axis=1),
        "lowest": value.min(axis=1),
        "highest": value.max(axis=1),
        "half_width": (high - low).mean(axis=1) / 2,
    }
    return pd.DataFrame(rows)


def sweep_results(sweep: Sweep) -> pd.DataFrame:
    """Return one row per evaluated run of a sweep, in the file's order.

    Columns run (its point), setting, the varied values by their short names, validation (weighted F1 of the
    kept epoch), value, low and high (weighted F1 on the test split), epochs and minutes.
    """
    metrics, training = load_results(sweep.base_run.study, [run.name for run in sweep.runs()])
    rows = []
    for point, run in zip(sweep.expanded(), sweep.runs(), strict=True):
        if run.name in metrics:
            history = training[run.name]["history"]
            rows.append(
                {
                    "run": point.name,
                    "setting": point.setting,
                    **{short: _value(run, key) for key, short in sweep.varied.items()},
                    "validation": max(row["val_f1"] for row in history),
                    **metrics[run.name]["scores"]["f1_weighted"],
                    "epochs": len(history),
                    "minutes": round(sum(row["seconds"] for row in history) / 60, 2),
                }
            )
    return pd.DataFrame(rows)


def by_setting(table: pd.DataFrame) -> pd.DataFrame:
    """Return ``sweep_results`` over seeds, one row per setting, by descending mean validation F1.

    Columns seeds (count), validation and test (means), sd (of test, n - 1), lowest, highest, and half_width:
    half the mean length of the 95 % intervals, which is the variation over patients.
    """
    groups = table.assign(half=(table.high - table.low) / 2).groupby("setting", sort=False)
    found = groups.agg(
        seeds=("run", "size"),
        validation=("validation", "mean"),
        test=("value", "mean"),
        sd=("value", "std"),
        lowest=("value", "min"),
        highest=("value", "max"),
        half_width=("half", "mean"),
    )
    return found.sort_values("validation", ascending=False, kind="stable")


def _value(run: Run, key: str) -> Any:
    """The value of a dotted key; lists and mappings as text."""
    found = run
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else getattr(found, part, None)
    return found if isinstance(found, int | float | str | None) else json.dumps(found)
