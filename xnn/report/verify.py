"""Whether a report can be made again: its numbers beside those computed now, from fewest to most inputs.

``python -m xnn.report.verify kermany`` recomputes every score from the predictions beside it, asks the
models that are there anew, makes the records again where their source is there, and retrains the run that
took least.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..config import files, provenance, schema
from ..config.schema import ROOT, Run, Study
from ..data.records import load_images, load_records
from ..data.sources import DataError
from ..evaluation import calibration, comparison, intervals
from ..evaluation.predictions import read

ROUNDING = 1e-9  # relative: sums in another order
ANOTHER_PROCESSOR = 0.02  # of a probability: bf16 keeps three digits, and processors round on their own
ANOTHER_TRAINING = 0.05  # of a score: where rounding differs, a training takes another way
ANOTHER_WAY = "another processor or number of threads, other packages: a training takes another way"
# what a result says of the time and place that it was made at, and what is no number
PASSING = ("provenance", "seconds", "frozen_seconds", "images_per_second", "minutes")


class Check(NamedTuple):
    """One result compared: how many numbers, how far off the worst is, and how far it may be."""

    what: str
    numbers: int = 0
    apart: float = 0.0  # the largest difference
    within: float = 0.0  # what is let through
    why: str = ""  # the reason for a tolerance, or for not having checked
    lost: tuple[str, ...] = ()  # what one of the two lacks, or where words differ

    @property
    def verdict(self) -> str:
        if not self.numbers and not self.lost:
            return "not checked"
        if self.lost or not self.apart <= self.within:
            return "different"
        return "equal" if self.apart == 0 else "within tolerance"


def verify(study: Study) -> Iterator[Check]:
    """Check every result of a study that can be checked here; each as soon as it is known."""
    made = [files.load_run(study.name, name) for name in comparison.load(study)[0]]
    if not made:
        yield Check("metrics.json", why=f"study {study.name} has no results yet: run make report first")
        return
    for run in made:
        yield scores_again(run)
    yield table_again(study)
    yield from (answers_again(run) for run in made)
    with tempfile.TemporaryDirectory(prefix="xnn-verify-") as folder:
        yield from training_again(study, made, Path(folder))


# ---- the checks ---------------------------------------------------------------------------------


def scores_again(run: Run) -> Check:
    """metrics.json of a run from its predictions.csv and validation.csv."""
    committed = _json(run.reports / "metrics.json")
    test, classes = read(run.reports / "predictions.csv"), run.study.classes
    how = run.evaluation.resamples, run.seed
    again = {"study": run.study.name, "run": run.name}
    again |= intervals.metrics(test, classes, committed["split"], *how)
    if (run.reports / "validation.csv").exists():
        validation = read(run.reports / "validation.csv")
        again["calibration"] = calibration.report(test, validation, classes, *how)
    return compare(f"{run.name}: metrics.json", committed, again, ROUNDING, "sums in another order")


def table_again(study: Study) -> Check:
    """results.csv from the results of the runs."""
    committed = pd.read_csv(study.reports / "results.csv").set_index("run")
    again = comparison.results(*comparison.load(study)).set_index("run")
    tables = (each.astype(str).to_dict("index") for each in (committed, again))
    return compare("results.csv", *tables)


def answers_again(run: Run) -> Check:
    """predictions.csv by asking the run's model anew, where it is there."""
    what = f"{run.name}: predictions.csv"
    record = run.artifacts / "training.json"
    if not record.exists() or _json(record)["key"] != _json(run.reports / "training.json")["key"]:
        return Check(what, why="the model of this very training is not here")
    from ..models.classifier import load_model, logits, probabilities  # takes seconds to import

    committed = read(run.reports / "predictions.csv").set_index("path")
    records = load_records(run.study).set_index("path")
    images = load_images(run.study)[records.row[committed.index].to_numpy()]
    again = probabilities(logits(load_model(run), images, run.evaluation.flip))
    apart = float(np.abs(again - committed[run.study.classes].to_numpy()).max())
    return Check(what, again.size, apart, ANOTHER_PROCESSOR, "another processor rounds otherwise")


def training_again(study: Study, runs: list[Run], folder: Path) -> Iterator[Check]:
    """The records, and the run that took least, made in an empty folder as a clone would make them."""
    first = [run for run in runs if not run.model.start_from]
    run = min(first, key=lambda run: comparison.minutes(_json(run.reports / "training.json")))
    if not study.synthetic and not os.environ.get("ARCHIVE"):
        why = "the radiographs are not here: set ARCHIVE"
        yield from (Check(what, why=why) for what in ("records", f"{run.name}, trained again"))
        return
    for name in ("params", "notebooks"):
        shutil.copytree(ROOT / name, folder / name)
    here = {**os.environ, "XNN_ROOT": str(folder)}
    for step, *which in ("1-wrangle",), ("3-train", run.name), ("4-evaluate", run.name):
        command = [sys.executable, "-m", "xnn.report.pipeline", step, study.name, *which]
        if subprocess.run(command, env=here, stdout=sys.stderr).returncode:
            yield Check(f"{run.name}, trained again", lost=(f"{step} failed: see above",))
            return
    wanted = _json(run.reports / "metrics.json")["provenance"]["records_sha256"]
    records = provenance.file_sha256(folder / "artifacts" / study.name / "records.csv")
    yield Check("records", numbers=1, lost=() if records == wanted else ("records.csv is another one",))
    made = folder / "reports" / study.name / run.name
    results = {
        name: (_json(run.reports / name), _json(made / name)) for name in ("training.json", "metrics.json")
    }
    yield from trained_again(f"{run.name}, trained again", results)


def trained_again(what: str, results: dict[str, tuple[dict, dict]]) -> Iterator[Check]:
    """Two results each of a run, committed and made again: exactly, where all was made in one place.

    Else their scores alone: weights that rounding moved by a little move an evaluation made elsewhere.
    """
    same = all(_place(one) == _place(two) for one, two in results.values())
    for name, (one, two) in results.items():
        if same:
            yield compare(f"{what}: {name}", one, two)
        else:
            scores = (_only_scores(one), _only_scores(two))
            yield compare(f"{what}: {name}", *scores, ANOTHER_TRAINING, ANOTHER_WAY)


def _place(result: dict) -> list:
    """What has to be the same for equal numbers: packages, processor with its threads, parameters."""
    return [result["provenance"][each] for each in ("versions", "device", "params_sha256")]


def _only_scores(result: dict) -> dict:
    """Of another training: the scores, not the epochs, which stand for nothing by themselves."""
    if "scores" in result:
        return {name: each["value"] for name, each in result["scores"].items()}
    return {"val_f1": max(row["val_f1"] for row in result["history"])}


# ---- comparing ----------------------------------------------------------------------------------


def compare(what: str, committed, again, within: float = 0.0, why: str = "") -> Check:
    """Compare two results number by number; times and places are passed over, words must be the same.

    ``within`` is absolute for numbers up to 1 and relative beyond.
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
    """Every number and word of nested lists and mappings, by its path, but what passes with time."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key not in PASSING:
                yield from leaves(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from leaves(each, f"{name}[{number}]")
    else:
        yield name, value


def _json(file: Path) -> dict:
    return json.loads(file.read_text())


def main(study: str) -> int:
    """Print the table of checks as they are made; 0 where nothing is different."""
    failed = 0
    print("| result | numbers | largest difference | verdict | |\n|---|---|---|---|---|")
    for check in verify(files.load_study(study)):
        why = "; ".join(check.lost[:5]) or (check.why if check.verdict != "equal" else "")
        number = f"{check.numbers} | {check.apart:.2g}" if check.numbers else "| "
        print(f"| {check.what} | {number} | {check.verdict} | {why} |", flush=True)
        failed += check.verdict == "different"
    print(f"\n{failed or 'no'} result{'s' * (failed != 1)} of {study} different", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except (schema.ParameterError, DataError) as error:
        sys.exit(f"xnn: {error}")
