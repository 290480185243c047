"""Files of results: hashes, writing completely or not at all, and the stamp that says where one is from."""

import hashlib
import importlib.metadata
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from . import schema
from .schema import Run, Study, root

__by_value__ = True  # the provenance of a result decides no number
STAMPED = ("torch", "torchvision", "lightning", "transformers", "captum", "scikit-learn", "numpy")


def file_sha256(path: Path) -> str:
    """Return the hash of a file's content, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def records_sha256(study: Study) -> str | None:
    """Return the hash of the study's records; None if there are none yet."""
    file = study.artifacts / "records.csv"
    return file_sha256(file) if file.exists() else None


def lungs_sha256(study: Study) -> str | None:
    """Return the hash of the study's lung masks and true sizes; None if it has none."""
    file = study.artifacts / "lungs.csv"
    return file_sha256(file) if file.exists() else None


class Stamp(dict):
    """Provenance, displayed as a table at the end of every page."""

    def _repr_markdown_(self) -> str:
        rows = {**self, "versions": ", ".join(f"{k} {v}" for k, v in self["versions"].items())}
        return "\n".join(["| provenance | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())])


def stamp(subject: Study | Run) -> Stamp:
    """Return the provenance of a result of a run or study, to be taken when its work starts.

    `timed` adds the seconds when it ends: by then the working tree may have changed.
    """
    parameters = (subject.study, subject) if isinstance(subject, Run) else (subject,)
    hashes = {"params_sha256": schema.sha256(*parameters), "records_sha256": records_sha256(parameters[0])}
    return stamp_of_page(subject.seed, **hashes)


def stamp_of_page(seed: int, **hashes: str | None) -> Stamp:
    """Return the provenance of a page that depends on its seed and the hashes alone."""
    return Stamp(
        **_git(),
        **hashes,
        seed=seed,
        versions={name: importlib.metadata.version(name) for name in STAMPED},
        device=device(),
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )


def timed(origin: Stamp, **changes) -> Stamp:
    """Return a stamp with the seconds since it was taken, and with other changes."""
    elapsed = datetime.now(UTC) - datetime.fromisoformat(origin["started"])
    return Stamp({**origin, **changes, "seconds": round(elapsed.total_seconds(), 1)})


def _git() -> dict:
    """Return the project's commit, and whether code, notebooks or parameters differ from it.

    Both are None if there is no commit; no_commit says why.
    """
    # an inherited GIT_DIR would lead to another repository, and the owner of the folder does not matter
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["LC_ALL"] = "C"  # for messages in English
    safe = f"safe.directory={root().resolve().as_posix()}"
    command = ["git", "-C", root(), "--no-optional-locks", "-c", safe]

    def git(*arguments):
        options = {"capture_output": True, "text": True, "check": True, "env": environment}
        return subprocess.run([*command, *arguments], **options).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).samefile(root()):
            changes = git("status", "--porcelain", "--", "xnn", "notebooks", "methods", "params")
            return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changes)}
        reason = "the project is inside another git repository"
    except FileNotFoundError:
        reason = "git is not installed"
    except subprocess.CalledProcessError as error:
        outside = "not a git repository" in error.stderr
        reason = "not a git repository" if outside else "git finds no commit that it can read"
    return {"commit": None, "dirty": None, "no_commit": reason}


def device() -> str:
    """Return the name of the processor that computes: a GPU that torch can use, or the CPU and its threads.

    It is the same whether or not torch is loaded, so that results of one machine can be compared exactly.
    """
    torch = sys.modules.get("torch")
    gpus = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    if gpus and (not torch or torch.cuda.is_available()):
        return _named(gpus[0], "Model") or "GPU"
    threads = os.environ.get("OMP_NUM_THREADS") or os.cpu_count()
    return f"{_named(Path('/proc/cpuinfo'), 'model name') or 'CPU'}, threads: {threads}"


def _named(file: Path, key: str) -> str:
    """Return the first value of a key in a file of the system; empty if there is none."""
    found = re.search(rf"^{key}\s*:\s*(.+)", file.read_text(), re.MULTILINE) if file.exists() else None
    return " ".join(found[1].split()) if found else ""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` if the block succeeds and is removed if it does not.

    Its name starts with a dot and keeps the suffix. The folder is created if it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_json(path: Path) -> dict | None:
    """Return the JSON result in a file; None if there is none."""
    return json.loads(path.read_text()) if path.exists() else None


def write_json(values: dict, path: Path) -> None:
    """Write a result as JSON, completely or not at all; numbers that are not finite become null."""
    with whole(path) as partial:
        partial.write_text(json.dumps(_finite(values), indent=1, allow_nan=False) + "\n")


def _finite(value):
    """Return a JSON value without NaN and infinity, for which JSON has no words."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
