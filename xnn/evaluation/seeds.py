"""Runs that differ in seeds: their spread, and settings of a sweep averaged over seeds."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from ..config import files
from ..config.provenance import read_json
from ..config.schema import Run, Study
from ..config.sweep import Sweep
from .comparison import by_validation, load_results, minutes, recipe, verdict, worst_groups
from .intervals import all_and_resampled, summary
from .predictions import KEYS, arrays, read
from .scoring import scores

NAMES = ("f1_weighted", "accuracy", "auroc_pneumonia", "specificity_pneumonia")
WEIGHTS, SIMPLER = (
    "class weights against none",
    "fewest trained parameters against more",
)  # questions to pairs


def alike(study: Study, names: Iterable[str]) -> dict[str, list[str]]:
    """Return groups of two or more runs that differ only in seeds, by the one with the lowest seed."""
    runs = sorted((files.load_run(study.name, name) for name in names), key=lambda run: run.seed)
    found = {}
    for run in runs:
        found.setdefault(recipe(run, "seed"), []).append(run.name)
    return {names[0]: names for names in found.values() if len(names) > 1}


def spread(metrics: dict[str, dict], names: list[str]) -> pd.DataFrame:
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


# ---- sweeps ---------------------------------------------------------------------------------------


def sweep_results(sweep: Sweep) -> pd.DataFrame:
    """Return one row per evaluated run of a sweep, the best on validation first.

    Columns run (its point), setting, the varied values by their short names, validation and validation_f1 (of
    `comparison.by_validation`, with its ``attrs``), the worst groups, value, low and high (weighted F1 on the
    test split) and minutes.
    """
    runs = {run.name: (point, run) for point, run in zip(sweep.expanded(), sweep.runs(), strict=True)}
    metrics, training = load_results(sweep.base_run.study, list(runs))
    chosen, rows = by_validation(metrics), []
    for name, found in chosen.iterrows():
        point, run = runs[name]
        rows.append(
            {
                "run": point.name,
                "setting": point.setting,
                **{short: _value(run, key) for key, short in sweep.varied.items()},
                **found,
                **worst_groups(metrics[name]),
                **metrics[name]["scores"]["f1_weighted"],
                "minutes": minutes(training[name]),
            }
        )
    table = pd.DataFrame(rows)
    table.attrs = chosen.attrs
    return table


def settings(table: pd.DataFrame) -> pd.DataFrame:
    """Return ``sweep_results`` over seeds, the best setting on validation first.

    Columns seeds (count), validation and validation_f1 (means), and runs (names, the best first).
    """
    groups = table.groupby("setting", sort=False)
    found = groups.agg(
        seeds=("run", "size"),
        validation=("validation", "mean"),
        validation_f1=("validation_f1", "mean"),
        runs=("run", list),
    )
    return found.sort_values(["validation", "validation_f1"], ascending=False, kind="stable")


def grouped(sweep: Sweep, table: pd.DataFrame) -> dict[str, list[str]]:
    """Return the evaluated runs of each setting of a sweep, in the file's order."""
    found, made = {}, set(table.run)
    for point, run in zip(sweep.expanded(), sweep.runs(), strict=True):
        if point.name in made:
            found.setdefault(point.setting, []).append(run.name)
    return found


def resampled(study: Study, groups: dict[str, list[str]], resamples: int = 1000) -> dict[str, dict]:
    """Return the mean of every test score over the runs of each group: group -> score -> (1 + B,).

    The first number is of all images and runs. Each resample draws patients, the same for all groups, and
    runs of each group: one fewer than there are, or the spread of their mean would be too small (Rao and Wu
    1988). Of a single run the spread over seeds is unknown and left out. Raises ValueError for runs that were
    tested on different images.
    """
    found, keys, rng = {}, None, np.random.default_rng(study.seed)
    for group, runs in groups.items():
        drawn = rng.integers(len(runs), size=(max(1, len(runs) - 1), 1 + resamples))
        each = []
        for table in (read(study.reports / run / "predictions.csv") for run in runs):
            keys = table[KEYS] if keys is None else keys
            if not table[KEYS].equals(keys):
                raise ValueError(f"{group}: not tested on the same images as the others: evaluate all again")
            given = *arrays(table, study.classes), study.classes
            weights = all_and_resampled(table.patient, resamples, study.seed)
            each.append(scores(*given, weights))
        found[group] = {name: _mean(np.stack([one[name] for one in each]), drawn) for name in each[0]}
    return found


def _mean(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The mean of values (S, 1 + B) over the runs drawn (M, 1 + B), of the first column over all runs."""
    means = np.take_along_axis(values, drawn, axis=0).mean(axis=0)
    means[0] = values[:, 0].mean()
    return means


def means(found: dict[str, dict], names: Iterable[str] = NAMES) -> pd.DataFrame:
    """Return the scores of `resampled`: columns setting, score, value, low, high (95 %) and difference.

    difference: value, low and high of the setting minus the first one, on the same patients.
    """
    first = next(iter(found.values()))
    rows = [
        {"setting": group, "score": name, **summary(each[name])}
        | {"difference": summary(each[name] - first[name])}
        for group, each in found.items()
        for name in names
        if name in each
    ]
    return pd.DataFrame(rows)


def pairs(sweep: Sweep, table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return the pairs of settings that answer a question: (question, one setting, another).

    `WEIGHTS`: settings that differ in class weights alone. `SIMPLER`: the setting with the fewest trained
    parameters against each other one, of those with class weights and of those without.
    """
    names = {name: f"sweeps/{sweep.name}/{runs[0]}" for name, runs in settings(table).runs.items()}
    study = sweep.base_run.study
    runs = {name: files.load_run(study.name, run) for name, run in names.items()}
    alike = {name: recipe(run, "seed", "training.class_weights") for name, run in runs.items()}
    trained = {
        name: read_json(run.reports / "training.json")["parameters"]["trained"] for name, run in runs.items()
    }
    weighted = [name for name, run in runs.items() if run.training.class_weights]
    plain = [name for name in runs if name not in weighted]
    found = [(WEIGHTS, one, two) for one in weighted for two in plain if alike[one] == alike[two]]
    for group in filter(None, (plain, weighted)):
        fewest = min(group, key=trained.get)
        found += [(SIMPLER, fewest, other) for other in group if trained[other] > trained[fewest]]
    return found


def answers(found: dict[str, dict], asked: list[tuple[str, str, str]]) -> pd.DataFrame:
    """Return the difference in weighted F1 of each pair: question, run, against, value, low and high."""
    columns = ["question", "run", "against", "value", "low", "high"]
    rows = [
        (question, one, two, *summary(found[one]["f1_weighted"] - found[two]["f1_weighted"]).values())
        for question, one, two in asked
    ]
    return pd.DataFrame(rows, columns=columns)


def answered(study: Study) -> pd.DataFrame:
    """Return `answers` of all sweeps of a study, from the sweep.json that their pages write."""
    made = sorted(study.reports.glob("sweeps/*/sweep.json"))
    rows = [{"sweep": file.parent.name, **each} for file in made for each in read_json(file)["pairs"]]
    return pd.DataFrame(rows, columns=["sweep", "question", "run", "against", "value", "low", "high"])


def said(answered: pd.DataFrame) -> list[str]:
    """Return a sentence for each question of `answered`."""
    return [
        f"Weighted F1, averaged over seeds, {question}: {verdict(each)}."
        for question, each in answered.groupby("question", sort=False)
    ]


def _value(run: Run, key: str) -> Any:
    """The value of a dotted key; lists and mappings as text."""
    found = run
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else getattr(found, part, None)
    return found if isinstance(found, int | float | str | None) else json.dumps(found)
