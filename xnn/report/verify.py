"""Verification of a report: committed numbers against recomputed ones, in three parts.

scores: every score is recomputed from the predictions beside it. predictions: models that are here predict
again. training: records are made again where their source is here, and the run with the shortest training is
trained again.
"""

import io
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..config import files
from ..config.provenance import file_sha256, read_json, stamp, whole
from ..config.schema import Run, Study, root
from ..data.features import original_sizes
from ..data.records import load_images, load_records
from ..evaluation import comparison, intervals, result
from ..evaluation.predictions import read
from .steps import StepError

ROUNDING = 1e-9  # relative: order of summation
ANOTHER_PROCESSOR = 0.02  # of a probability: bf16 keeps three digits, and processors round differently
ANOTHER_TRAINING = 0.05  # of a score: with different rounding, training diverges
DIVERGED = "another processor, number of threads or package version: training diverges"
PARTS = {
    "scores": "recompute every score from the predictions beside it, and the table of runs from the scores",
    "predictions": "let the models that are here predict the test images again",
    "training": "make the records again, and train and evaluate the run with the shortest training again",
}
# parts of a result that depend on when and where it was made
VARYING = ("provenance", "seconds", "frozen_seconds", "images_per_second", "minutes")


class Check(NamedTuple):
    """One compared result: the count of numbers, the largest difference, and its tolerance."""

    what: str
    numbers: int = 0
    apart: float = 0.0  # the largest difference
    within: float = 0.0  # the tolerance
    why: str = ""  # the reason for the tolerance, or for not checking
    lost: tuple[str, ...] = ()  # keys that one of the two lacks, or whose text differs

    @property
    def verdict(self) -> str:
        if not self.numbers and not self.lost:
            return "not checked"
        if self.lost or not self.apart <= self.within:
            return "different"
        return "equal" if self.apart == 0 else "within tolerance"


def chosen(only: str = "") -> list[str]:
    """Return the parts that a comma-separated list names, or all; raise StepError for other names."""
    wanted = only.replace(",", " ").split() or list(PARTS)
    if unknown := set(wanted) - PARTS.keys():
        raise StepError(f"ONLY={only}: no part {', '.join(unknown)}: give some of {', '.join(PARTS)}")
    return [name for name in PARTS if name in wanted]


def plan(study: Study, parts: list[str]) -> list[str]:
    """Return what the parts will do, and how long the same took by the records of this study's results."""
    made = runs_with_results(study)
    seconds = sum(read_json(run.reports / "metrics.json")["provenance"]["seconds"] for run in made)
    longest = {"scores": seconds / 60, "predictions": seconds / 60, "training": 0.0}
    if made and "training" in parts:
        longest["training"] = training_minutes(shortest(made))
    return [f"{name}: {PARTS[name]}; about {longest[name]:.1f} min by the last records" for name in parts]


def runs_with_results(study: Study) -> list[Run]:
    """Return the study's runs that have been evaluated."""
    return [files.load_run(study.name, name) for name in comparison.load_results(study)[0]]


def verify(study: Study, parts: Iterable[str] = tuple(PARTS)) -> Iterator[Check]:
    """Checks of the results of a study that can be checked here, as they are made."""
    made = runs_with_results(study)
    if not made:
        yield Check("metrics.json", why=f"study {study.name} has no results yet: run make report first")
        return
    if "scores" in parts:
        yield from map(scores_again, made)
        yield table_again(study)
    if "predictions" in parts:
        yield from map(answers_again, made)
    if "training" in parts:
        with tempfile.TemporaryDirectory(prefix="xnn-verify-") as folder:
            yield from training_again(study, made, Path(folder))


def shortest(runs: list[Run]) -> Run:
    """Return the run with the shortest training of those that start from no other run."""
    return min((run for run in runs if not run.model.start_from), key=training_minutes)


def training_minutes(run: Run) -> float:
    return comparison.minutes(read_json(run.reports / "training.json"))


# ---- the checks ---------------------------------------------------------------------------------


def scores_again(run: Run) -> Check:
    """Check of metrics.json, recomputed from predictions.csv and validation.csv."""
    committed = read_json(run.reports / "metrics.json")
    test, validation = (read(run.reports / f"{name}.csv") for name in ("predictions", "validation"))
    sizes = original_sizes(run.study) if (run.study.artifacts / "records.csv").exists() else None
    if sizes is None:  # not recorded, or not here
        for each in (committed, committed["validation"]):
            each |= {"worst_group_accuracy": None, "auroc_misleading": None}
    again = {"study": run.study.name, "run": run.name}
    again |= intervals.metrics(test, run.study.classes, "test", run.evaluation.resamples, run.seed)
    again |= result.further(run, test, validation, sizes)
    return compare(f"{run.name}: metrics.json", committed, again, ROUNDING, "order of summation")


def table_again(study: Study) -> Check:
    """Check of results.csv, recomputed from the results of the runs."""
    committed = pd.read_csv(study.reports / "results.csv").set_index("run")
    metrics, training = comparison.load_results(study)
    made = comparison.result_table(metrics, training).to_csv(index=False)
    again = pd.read_csv(io.StringIO(made)).set_index("run")  # 0.070 is a number there, too
    tables = (each.astype(str).to_dict("index") for each in (committed, again))
    return compare("results.csv", *tables)


def answers_again(run: Run) -> Check:
    """Check of predictions.csv against new predictions of the run's model, if it is here."""
    what = f"{run.name}: predictions.csv"
    record = run.artifacts / "training.json"
    if not record.exists() or read_json(record)["key"] != read_json(run.reports / "training.json")["key"]:
        return Check(what, why="the model of this training is not here")
    from ..models.classifier import answers, load_model  # takes seconds to import

    committed = read(run.reports / "predictions.csv").set_index("path")
    records = load_records(run.study).set_index("path")
    images = load_images(run.study)[records.row[committed.index].to_numpy()]
    again = answers(load_model(run), images, run.evaluation.flip)
    apart = float(np.abs(again - committed[run.study.classes].to_numpy()).max())
    return Check(what, again.size, apart, ANOTHER_PROCESSOR, "another processor rounds differently")


def training_again(study: Study, runs: list[Run], folder: Path) -> Iterator[Check]:
    """Checks of the records and of the run with the shortest training, made again in an empty folder."""
    run = shortest(runs)
    if not study.synthetic and not os.environ.get("ARCHIVE"):
        why = "the radiographs are not here: set ARCHIVE"
        yield from (Check(what, why=why) for what in ("records", f"{run.name}, trained again"))
        return
    for name in ("params", "notebooks"):
        shutil.copytree(root() / name, folder / name)
    here = {**os.environ, "XNN_ROOT": str(folder)}
    made = folder / "reports" / study.name / run.name
    page = f"reports/{study.name}/{run.name}/4-evaluate.ipynb"  # and those that it follows
    if subprocess.run([sys.executable, "-m", "xnn", "page", page], env=here, stdout=sys.stderr).returncode:
        yield Check(f"{run.name}, trained again", lost=("it failed: see above",))
        return
    pairs = {
        name: (read_json(run.reports / name), read_json(made / name))
        for name in ("training.json", "metrics.json")
    }
    records = file_sha256(folder / "artifacts" / study.name / "records.csv")
    same = records == pairs["metrics.json"][0]["provenance"]["records_sha256"]
    yield Check("records", numbers=1, lost=() if same else ("records.csv differs",))
    yield from trained_again(f"{run.name}, trained again", pairs)


def trained_again(what: str, results: dict[str, tuple[dict, dict]]) -> Iterator[Check]:
    """Checks of a run's results: exact if processor, threads, packages and parameters are the same.

    Otherwise only scores are compared, within a tolerance: training diverges with different rounding.
    """
    places = ("versions", "device", "params_sha256")
    same = all(
        one["provenance"][each] == two["provenance"][each] for one, two in results.values() for each in places
    )
    for name, pair in results.items():
        how = pair if same else (*map(_only_scores, pair), ANOTHER_TRAINING, DIVERGED)
        yield compare(f"{what}: {name}", *how)


def _only_scores(result: dict) -> dict:
    """The scores of a result, without its epochs."""
    if "scores" in result:
        return {name: each["value"] for name, each in result["scores"].items()}
    return {"val_f1": max(row["val_f1"] for row in result["history"])}


# ---- comparing ----------------------------------------------------------------------------------


def compare(what: str, committed, again, within: float = 0.0, why: str = "") -> Check:
    """Check of two results, number by number; text must be equal, keys in VARYING are ignored.

    ``within`` is absolute for numbers up to 1 and relative above.
    """
    one, two = dict(leaves(committed)), dict(leaves(again))
    lost = tuple(sorted(set(one) ^ set(two)))
    apart, numbers = 0.0, 0
    for name in one.keys() & two.keys():
        left, right = one[name], two[name]
        if isinstance(left, str | bool | None) or isinstance(right, str | bool | None):
            lost += (name,) if left != right else ()
        elif math.isnan(left) != math.isnan(right):
            apart = math.inf
        elif not math.isnan(left):
            apart = max(apart, abs(left - right) / max(1.0, abs(left)))
        numbers += 1
    return Check(what, numbers, apart, within, why, lost)


def leaves(value, name: str = "") -> Iterator[tuple[str, object]]:
    """Numbers and texts of nested lists and mappings by their path, without keys in VARYING."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key not in VARYING:
                yield from leaves(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from leaves(each, f"{name}[{number}]")
    else:
        yield name, value


def report(study: str, only: str = "") -> int:
    """Say what will be done, print the table of checks as they are made, and keep it for the site.

    Returns 1 where a result is different, else 0.
    """
    parts, subject = chosen(only), files.load_study(study)
    print("\n".join(plan(subject, parts)), end="\n\n")
    lines = ["| result | numbers | largest difference | verdict | |", "|---|---|---|---|---|"]
    print("\n".join(lines))
    checks = []
    for check in verify(subject, parts):
        checks.append(check)
        lines.append(row(check))
        print(lines[-1], flush=True)
    failed = sum(check.verdict == "different" for check in checks)
    words = f"{failed or 'no'} result{'s' * (failed != 1)} of {study} different"
    print(f"\n{words}", flush=True)
    here = stamp(subject)
    where = f"Parts {', '.join(parts)} at commit {here['commit']}, {here['started'][:10]}, {here['device']}"
    with whole(subject.reports / "_verified.md") as partial:
        partial.write_text("\n".join(lines) + f"\n\n{where}: {words}.\n")
    return 1 if failed else 0


def row(check: Check) -> str:
    """Return a check as a row of the table."""
    why = "; ".join(check.lost[:5]) or (check.why if check.verdict != "equal" else "")
    number = f"{check.numbers} | {check.apart:.2g}" if check.numbers else "| "
    return f"| {check.what} | {number} | {check.verdict} | {why} |"
