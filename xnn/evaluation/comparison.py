"""Runs of a study side by side, from their result files alone."""

import json

import pandas as pd

from ..config import files
from ..config.schema import Run, Study
from . import intervals
from .predictions import read

SHOWN = ("f1_weighted", "f1_macro", "accuracy", "auroc_pneumonia", "accuracy_bacteria_vs_virus", "ece")


def load(study: Study) -> tuple[dict[str, dict], dict[str, dict]]:
    """Contents of metrics.json and training.json, by run, of the runs that have been made."""
    folders = {run: study.reports / run for run in files.runs(study.name)}
    made = {run: folder for run, folder in folders.items() if (folder / "metrics.json").exists()}
    return tuple(
        {run: json.loads((folder / name).read_text()) for run, folder in made.items()}
        for name in ("metrics.json", "training.json")
    )


def score(metrics: dict[str, dict], name: str) -> pd.DataFrame:
    """One score of every run: columns run, value, low, high.

    ``metrics`` holds the content of each run's metrics.json by the run's name.
    """
    return pd.DataFrame([{"run": run, **each["scores"][name]} for run, each in metrics.items()])


def results(metrics: dict[str, dict], training: dict[str, dict]) -> pd.DataFrame:
    """The study's result table, best weighted F1 first: one row a run, scores with their intervals.

    ``training`` holds the content of each run's training.json by the run's name.
    """
    rows = []
    for run in sorted(metrics, key=lambda run: -metrics[run]["scores"]["f1_weighted"]["value"]):
        scores, record = metrics[run]["scores"], training[run]
        shown = [name for name in scores if name in SHOWN or name.startswith("average_precision_")]
        rows.append(
            {
                "run": run,
                "regime": record["regime"],
                "starting weights": record["weights"],
                **{name.replace("_", " "): with_interval(scores[name]) for name in shown},
                "parameters trained": record["parameters"]["trained"],
                "minutes": minutes(record),
                "test images": metrics[run]["n"],
            }
        )
    return pd.DataFrame(rows)


def explanations(study: Study) -> pd.DataFrame:
    """What each run's explanations.json says of its Integrated Gradients, one row a run.

    Columns: explained (images), complete (share within the tolerance), gradients (median), and a measure
    each: better, worse or not told apart from the floors. Empty where no run has been explained.
    """
    rows = {}
    for run in files.runs(study.name):
        file = study.reports / run / "explanations.json"
        if file.exists():
            found = json.loads(file.read_text())
            own = found["methods"]["integrated_gradients"]
            rows[run] = {
                "explained": own["images"],
                "complete": own["completeness_passed"],
                "gradients": own["steps_median"],
                **{name.replace("_", " "): verdict for name, verdict in found["supports"].items()},
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def minutes(record: dict) -> float:
    """What a training took, from its training.json: the frozen layers once, then every epoch."""
    return round((record["frozen_seconds"] + sum(row["seconds"] for row in record["history"])) / 60, 1)


def with_interval(score: dict[str, float | None]) -> str:
    """A score as 0.842 (0.811-0.870); a dash where it is undefined."""
    if score["value"] is None:
        return "-"
    return f"{score['value']:.3f} ({score['low']:.3f}-{score['high']:.3f})"


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown, for pages that show the numbers without computing them."""
    lines = [table.columns, ["---"] * len(table.columns), *table.astype(str).to_numpy()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def differences(study: Study, pairs: list[tuple[str, str]], names: list[str]) -> pd.DataFrame:
    """Some scores of one run less those of another, on the same test patients, for some pairs of runs.

    One row a pair and score: run, against, score, value, low, high (95 %, bootstrap over patients) and
    real (the interval leaves 0 out). Raises ValueError where two runs were tested on different images.
    """
    rows = []
    for run, other in pairs:
        one, two = (_predictions(study, name) for name in (run, other))
        if not one[["path", "label", "patient"]].equals(two[["path", "label", "patient"]]):
            raise ValueError(f"{run} and {other} were not tested on the same images: make both again")
        labels = one.label.map(study.classes.index).to_numpy()
        arrays = (one[study.classes].to_numpy(), two[study.classes].to_numpy())
        found = intervals.differences(labels, *arrays, study.classes, one.patient, seed=study.seed)
        rows += [{"run": run, "against": other, "score": name, **found[name]} for name in names]
    table = pd.DataFrame(rows, columns=["run", "against", "score", "value", "low", "high"])
    return table.assign(real=(table.low > 0) | (table.high < 0))


def verdict(table: pd.DataFrame) -> str:
    """Rows of ``differences`` in words: how many are higher, lower, or within chance."""
    if not len(table):
        return "no such pair in this study"
    higher, lower = (table.low > 0).sum(), (table.high < 0).sum()
    return f"higher in {higher}, lower in {lower}, within chance in {len(table) - higher - lower} comparisons"


def sizes(study: Study, training: dict[str, dict]) -> pd.DataFrame:
    """What networks the runs are: run, backbone, parameters, and weights (where the first of them started).

    A run that starts from another one's model has that one's starting weights.
    """
    rows = []
    for run, record in training.items():
        first = files.load_run(study.name, run)
        while first.model.start_from:
            first = files.load_run(study.name, first.model.start_from)
        source = "random" if first.model.weights == "none" else first.model.weights
        row = {"run": run, "backbone": first.model.backbone, "parameters": record["parameters"]["total"]}
        rows.append(row | {"weights": source})
    return pd.DataFrame(rows)


def names(sizes: pd.DataFrame) -> dict[str, str]:
    """Run to what tables and figures call it: those that no pretrained weights began say so.

    ``sizes`` is what the function of that name gives.
    """
    return {
        row.run: f"{row.run} (random weights)" if row.weights == "random" else row.run
        for row in sizes.itertuples()
    }


def by_size(table: pd.DataFrame) -> list[tuple[str, str]]:
    """(simplest, larger) of the best runs of each backbone, among those that started from the same weights.

    ``table`` has the columns run, value (the score), backbone, parameters and weights.
    """
    pairs = []
    for _, alike in table.groupby("weights", sort=False):
        best = alike.sort_values("value", ascending=False).groupby("backbone", sort=False).head(1)
        simplest, *larger = best.sort_values("parameters").run
        pairs += [(simplest, run) for run in larger]
    return pairs


def weighted_pairs(study: Study, made: list[str]) -> list[tuple[str, str]]:
    """(with, without) of the runs that differ in class weights alone, those they start from included."""
    found = {name: files.load_run(study.name, name) for name in made}
    return [
        (one, two)
        for one in made
        for two in made
        if found[one].training.class_weights
        and not found[two].training.class_weights
        and _recipe(found[one]) == _recipe(found[two])
    ]


def seeds(study: Study, made: list[str]) -> dict[str, list[str]]:
    """Runs that differ in their seed alone, by the name of the one with the lowest seed; two or more."""
    found = {name: files.load_run(study.name, name) for name in made}
    alike = {}
    for name, run in sorted(found.items(), key=lambda item: item[1].seed):
        recipe = json.dumps(run.model_dump(exclude={"note", "online", "seed"}), sort_keys=True)
        alike.setdefault(recipe, []).append(name)
    return {names[0]: names for names in alike.values() if len(names) > 1}


def seed_spread(metrics: dict[str, dict], names: list[str]) -> pd.DataFrame:
    """How far the seed moves each score, beside how far the choice of patients does.

    Returns
    -------
    One row a score: mean, sd (of the runs, n - 1), lowest, highest, and half_width: half the mean length of
    the runs' 95 % intervals.
    """
    rows = {}
    for name in metrics[names[0]]["scores"]:
        each = pd.DataFrame([metrics[run]["scores"][name] for run in names]).astype(float)
        rows[name] = {
            "mean": each.value.mean(),
            "sd": each.value.std(),
            "lowest": each.value.min(),
            "highest": each.value.max(),
            "half_width": (each.high - each.low).mean() / 2,
        }
    return pd.DataFrame(rows).T


def _recipe(run: Run) -> dict:
    """A run's parameters without class weights; the run that it starts from is replaced by its own."""
    values = run.model_dump(exclude={"note": True, "online": True, "training": {"class_weights"}})
    if start := run.model.start_from:
        values["model"]["start_from"] = _recipe(files.load_run(run.study.name, start))
    return values


def _predictions(study: Study, run: str) -> pd.DataFrame:
    return read(study.reports / run / "predictions.csv").sort_values("path", ignore_index=True)
