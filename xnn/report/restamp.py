"""Renewal of the keys of committed results after a change of code that changes no number.

Only what was current in a commit gets a new key: a page that was stale then stays so. A key cannot say
whether a change leaves every number as it was: see that ``make verify`` is green, and say in the commit why
the change is neutral.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import nbformat

from ..config import files, freshness, provenance
from ..config.schema import root, short
from ..evaluation import predictions
from ..models import kept, prediction
from . import steps


def results(renew: Collection[str] = ()) -> Iterator[str]:
    """Names of all current results in reports/, after new keys for those in `renew`.

    Results are training records, tables of predictions, region tests and pages, each after those that it is
    made from.
    """
    for file in sorted((root() / "reports").rglob("training.json")):
        study, *name = file.relative_to(root() / "reports").parts[:-1]
        run = files.load_run(study, "/".join(name))
        if short(file) in renew:
            record = provenance.read_json(file)
            record["inputs"] = _renewed(record["inputs"], kept.inputs(run))
            provenance.write_json(record, file)
        if kept.record(run, kept.inputs(run)):
            yield short(file)
        for split in predictions.FILES:
            table, key = predictions.files(run, split)
            if short(key) in renew:
                vouched = {"key": prediction.key(run, split), "sha256": provenance.file_sha256(table)}
                provenance.write_json(vouched, key)
            if prediction.are_kept(run, split):
                yield short(key)
        tested = run.reports / prediction.REGIONS
        if short(tested) in renew:
            found = provenance.read_json(tested)
            provenance.write_json(found | {"key": prediction.regions_key(run)}, tested)
        if prediction.regions_are_kept(run):
            yield short(tested)
    for page in steps.pages():
        task = steps.task_of(page)
        if short(page) in renew:
            notebook = nbformat.read(page, as_version=4)
            notebook.metadata["xnn"] = _renewed(notebook.metadata["xnn"], steps.inputs(task))
            nbformat.write(notebook, page)
        if not steps.doubts(task):
            yield short(page)


def _renewed(then: dict, now: dict) -> dict:
    """`then` with the values of `now`; missing inputs (archive, weights, records) stay as recorded."""
    return {**then, **{name: part for name, part in freshness.recorded(now).items() if part is not None}}


def current_in(commit: str) -> set[str]:
    """Results that were current in a commit, by the rules of that commit, with the records at hand."""
    with tempfile.TemporaryDirectory(prefix="xnn-") as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", root(), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", tree, commit], check=True)
        try:
            if (root() / "artifacts").exists():
                (tree / "artifacts").symlink_to(root() / "artifacts")
            here = {**os.environ, "XNN_ROOT": str(tree), "PYTHONPATH": str(tree)}
            command = [sys.executable, "-m", "xnn", "restamp", "--current"]
            listed = subprocess.run(
                command, cwd=tree, env=here, check=True, stdout=subprocess.PIPE, text=True
            )
        finally:
            subprocess.run([*git, "remove", "--force", tree], check=True)
    return set(listed.stdout.split())
