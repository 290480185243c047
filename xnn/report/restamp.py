"""Renewal of the keys of committed results after a change of code that changes no number.

Only what was current in a commit gets a new key: a page that was stale then stays so. A key cannot say
whether a change leaves every number as it was: see that ``make verify`` is green, and say in the commit why
the change is neutral.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat

from ..config import files, freshness, provenance
from ..config.schema import ROOT, Run, short
from ..evaluation import predictions
from ..models import kept, prediction
from . import steps


def current() -> Iterator[str]:
    """Names of all current results in reports/: pages, training records, tables of predictions."""
    for page in steps.pages():
        if not steps.doubts(steps.task_of(page)):
            yield short(page)
    for run in _runs():
        if kept.record(run, kept.inputs(run)):
            yield short(run.reports / "training.json")
        for split in predictions.FILES:
            if prediction.are_kept(run, split):
                yield short(predictions.files(run, split)[1])


def restamp(names: set[str]) -> int:
    """Renew the keys of some results; return how many."""
    renewed = 0
    for run in _runs():
        file = run.reports / "training.json"
        if short(file) in names:
            record = provenance.read_json(file)
            record["inputs"] = renewed_inputs(record["inputs"], kept.inputs(run))
            provenance.write_json(record, file)
            renewed += 1
        for split in predictions.FILES:
            table, key = predictions.files(run, split)
            if short(key) in names:
                vouched = {"key": prediction.key(run, split), "sha256": provenance.file_sha256(table)}
                provenance.write_json(vouched, key)
                renewed += 1
    for page in steps.pages():
        if short(page) in names:
            notebook = nbformat.read(page, as_version=4)
            now = steps.inputs(steps.task_of(page))
            notebook.metadata["xnn"] = renewed_inputs(notebook.metadata["xnn"], now)
            nbformat.write(notebook, page)
            renewed += 1
    return renewed


def renewed_inputs(then: dict, now: dict) -> dict:
    """`then` with the values of `now`; missing inputs (archive, weights, records) stay as recorded."""
    return {**then, **{name: part for name, part in freshness.recorded(now).items() if part is not None}}


def current_in(commit: str) -> set[str]:
    """Results that were current in a commit, by the rules of that commit, with the records at hand."""
    with tempfile.TemporaryDirectory(prefix="xnn-") as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", ROOT, "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", tree, commit], check=True)
        try:
            if (ROOT / "artifacts").exists():
                (tree / "artifacts").symlink_to(ROOT / "artifacts")
            here = {**os.environ, "XNN_ROOT": str(tree), "PYTHONPATH": str(tree)}
            command = [sys.executable, "-m", "xnn", "restamp", "--current"]
            told = subprocess.run(command, cwd=tree, env=here, check=True, stdout=subprocess.PIPE, text=True)
        finally:
            subprocess.run([*git, "remove", "--force", tree], check=True)
    return set(told.stdout.split())


def _runs() -> Iterator[Run]:
    """Every run, sweeps included, that has a training record in reports/."""
    for file in sorted((ROOT / "reports").rglob("training.json")):
        study, *run = file.relative_to(ROOT / "reports").parts[:-1]
        yield files.load_run(study, "/".join(run))
