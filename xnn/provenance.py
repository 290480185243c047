"""Where a result comes from: hashes of what decides it, and the stamp that every result carries."""

import ast
import functools
import hashlib
import importlib.metadata
import io
import json
import subprocess
import sys
import tokenize
from datetime import UTC, datetime
from pathlib import Path

from . import params
from .params import ROOT, Run, Study

PACKAGE = Path(__file__).parent
STAMPED = ("torch", "torchvision", "lightning", "transformers", "captum", "scikit-learn", "numpy")


def file_sha256(path: Path) -> str:
    """Hash of a file's content, hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_sha256(path: Path) -> str:
    """Hash of what matters in a file: of xnn's modules the code, of keyed results the key."""
    path = Path(path)
    if path.is_relative_to(PACKAGE) and path.suffix == ".py":
        return code_sha256(path.relative_to(PACKAGE).with_suffix("").as_posix())
    if path.name == "training.json":
        return json.loads(path.read_text())["key"]
    return file_sha256(path)


def code_sha256(*modules: str) -> str:
    """Hash of the code of modules of xnn ("models", "plots/look"), without comments and docstrings."""
    digest = hashlib.sha256()
    for name in modules:
        digest.update(_code((PACKAGE / f"{name}.py").read_text()).encode())
    return digest.hexdigest()


@functools.cache
def _code(source: str) -> str:
    """Source code without comments, docstrings and blank lines."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            text = node.body[0]
            lines[text.lineno - 1 : text.end_lineno] = [""] * (text.end_lineno - text.lineno + 1)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def records_sha256(study: Study) -> str | None:
    """Hash of the study's records, None where there are none yet."""
    file = study.artifacts / "records.csv"
    return file_sha256(file) if file.exists() else None


class Stamp(dict):
    """Provenance, shown as a table at the end of every page."""

    def _repr_markdown_(self) -> str:
        rows = {**self, "versions": ", ".join(f"{k} {v}" for k, v in self["versions"].items())}
        return "\n".join(["| provenance | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())])


def stamp(subject: Study | Run) -> Stamp:
    """The provenance of a result of a run or study, taken when its work starts.

    `timed` adds the seconds when it ends: by then the working tree may have changed.
    """
    run = isinstance(subject, Run)
    study = subject.study if run else subject
    return _stamp(
        subject.seed,
        params_sha256=params.sha256(study, subject) if run else params.sha256(study),
        records_sha256=records_sha256(study),
    )


def stamp_of_page(seed: int) -> Stamp:
    """The provenance of a page that belongs to no study: nothing but its seed goes into it."""
    return _stamp(seed)


def _stamp(seed: int, **hashes: str | None) -> Stamp:
    return Stamp(
        **_git(),
        **hashes,
        seed=seed,
        versions={name: importlib.metadata.version(name) for name in STAMPED},
        device=device(),
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )


def timed(origin: Stamp, **changes) -> Stamp:
    """A stamp with the seconds since it was taken, and what has changed since then."""
    elapsed = datetime.now(UTC) - datetime.fromisoformat(origin["started"])
    return Stamp({**origin, **changes, "seconds": round(elapsed.total_seconds(), 1)})


def _git() -> dict:
    """The commit, and whether code, notebooks or parameters differ from it; None outside of git."""

    def git(*arguments):
        return subprocess.run(
            ["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changes = git("status", "--porcelain", "--", "xnn", "notebooks", "methods", "params")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changes)}
    except (subprocess.CalledProcessError, FileNotFoundError):
        return {"commit": None, "dirty": None}


def device() -> str:
    """The processor that computes, in words."""
    torch = sys.modules.get("torch")  # a step that computes without it need not load it
    if torch and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpu = "CPU"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1] for line in info.open() if line.startswith("model name")]
        cpu = " ".join(names[0].split()) if names else cpu
    return f"{cpu}, threads: {torch.get_num_threads()}" if torch else cpu


def write_json(values: dict, path: Path) -> None:
    """Write through a temporary file, so that a half-written result is never seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(values, indent=1) + "\n")
    partial.replace(path)
