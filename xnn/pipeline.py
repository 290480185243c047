"""Runs a step of the report: a notebook, executed for a study or one of its runs, left alone while current.

``python -m xnn.pipeline 3-train phantom mobilenet_v2`` is what Make calls for one step; the summary of a
sweep is ``8-sweep phantom-rates``;
``python -m xnn.pipeline track phantom`` logs the finished runs of a study to MLflow;
``python -m xnn.pipeline fiftyone phantom`` opens a study's radiographs in FiftyOne;
``python -m xnn.pipeline site`` renders what there is, ``site smalldocs`` with that renderer.
"""

import contextlib
import errno
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
from traitlets.config import Config

from . import params, provenance
from .params import ROOT, ParameterError, Run, Study
from .pictures import shrink
from .sweep import Sweep, load_sweep

TRIES = 3  # of executing a notebook whose kernel dies


class Step(NamedTuple):
    """What a notebook reads, beside the study's parameters and its own source."""

    modules: tuple[str, ...]
    upstream: tuple[str, ...] = ()  # results of the same study or run that it reads
    per_run: bool = True
    per_sweep: bool = False
    parameters: tuple[str, ...] = ()  # those of the run's that it reads


WRANGLING = ("phantom", "images", "sources", "splits", "leakage", "wrangling")
EXPLORING = (
    *("splits", "data", "weights", "models", "embedding", "duplicates", "suspects", "exploration"),
    *("mongo", "fiftyone_dataset", "fiftyone_view"),
)
TRAINING = ("images", "data", "weights", "models", "batches", "recipe", "features", "distributed", "training")
SCORING, CURVES = ("scoring", "evaluation"), ("curves", "calibration")
COMPARISON = ("plots/look", "plots/comparison")
EXPLAINING = (
    *("data", "models", "inference", "prediction", *SCORING, "curves", "axioms"),
    *("integrated", "attribution", "methods", "sample", "localisation", "measures", "evidence"),
    *("card", "gallery"),
)
COMPARED = ("training.json", "metrics.json", "predictions.csv", "explanations.json")
STEPS = {
    "1-wrangle": Step(WRANGLING, per_run=False),
    "2-explore": Step((*EXPLORING, "comparison", "plots/look", "plots/data", "plots/audit"), per_run=False),
    "3-train": Step(
        (*TRAINING, "plots/look", "plots/training"),
        parameters=("model", "training", "augmentation", "hardware", "seed", "note"),
    ),
    "4-evaluate": Step(
        ("inference", "prediction", *SCORING, *CURVES, "plots/look", "plots/data", "plots/evaluation"),
        ("training.json",),
        parameters=("evaluation", "note"),
    ),
    "5-explain": Step(
        (*EXPLAINING, "plots/look", "plots/explanation"),
        ("training.json",),
        parameters=("evaluation", "explanation", "note"),
    ),
    "6-compare": Step(("leakage", "comparison", *SCORING, *COMPARISON), COMPARED, per_run=False),
    "7-protocol": Step(
        ("shortcut", "protocol", "comparison", "calibration", *SCORING, *COMPARISON),
        (*COMPARED, "validation.csv"),
        per_run=False,
    ),
    "8-sweep": Step(
        ("sweep", "comparison", *SCORING, "plots/look", "plots/sweep"),
        COMPARED,
        per_run=False,
        per_sweep=True,
    ),
}


class StepError(RuntimeError):
    """A step that could not be done; the message is for the person who called make."""


# ---- one step ------------------------------------------------------------------------------------


def run_step(step: str, study: str, run: str | None = None, force: bool = False) -> Path:
    """Execute a step unless its result is current; return the executed notebook.

    `study` is the sweep where the step is a sweep's.

    The notebook is executed into a temporary file and renamed when it has ended well, so what lies
    in reports/ is whole. Raises ParameterError or StepError with one clear line.
    """
    from filelock import FileLock

    if step not in STEPS:
        raise StepError(f"no step {step!r}; there is: {', '.join(STEPS)}")
    if STEPS[step].per_run and run is None:
        raise StepError(f"{step} belongs to a run: give one of {', '.join(params.runs(study))}")
    subject = _subject(step, study, run)
    target = subject.reports / f"{step}.ipynb"
    subject.artifacts.mkdir(parents=True, exist_ok=True)
    with FileLock(subject.artifacts / f".{step}.lock"):  # two makes at once: the second one waits
        if not force and is_current(step, subject):
            target.touch()
            print(f"{_short(target)} is current", flush=True)
            return target
        provide(step, subject)
        print(f"{_short(target)} ...", flush=True)
        _execute(step, subject, target)
    return target


def _subject(step: str, study: str, run: str | None) -> Study | Run | Sweep:
    """What a step is of; raise ParameterError where any file of its study is wrong, before all work."""
    if STEPS[step].per_sweep:
        return load_sweep(study)
    for name in params.runs(study):
        params.load_run(study, name)
    return params.load_run(study, run) if STEPS[step].per_run else params.load_study(study)


def is_current(step: str, subject: Study | Run | Sweep) -> bool:
    """Whether the executed notebook was made from the very inputs that are there now.

    An input that is not there (records, models and the archive are not in git) is no reason to doubt a
    result.
    """
    recorded = metadata(subject.reports / f"{step}.ipynb").get("xnn", {}).get("inputs")
    if recorded is None:
        return False
    now = inputs(step, subject)
    return all(recorded.get(name) == value for name, value in now.items()) and all(
        name in now or name == "ARCHIVE" or name.startswith("artifacts/") for name in recorded
    )


def inputs(step: str, subject: Study | Run | Sweep) -> dict[str, str]:
    """Name and hash of all that decides a step's result and is there."""
    study = _study(subject)
    spec = STEPS[step]
    values = _parameters(step, study)
    files = [ROOT / "notebooks" / f"{step}.py"]
    files += [provenance.PACKAGE / f"{module}.py" for module in spec.modules]
    if isinstance(subject, Run):
        values |= {
            f"{_short(subject.file)}: {name}": params.sha256(getattr(subject, name))
            for name in spec.parameters
            if name in subject.model_dump()
        }
        files += [subject.reports / name for name in spec.upstream]
        if step == "3-train" and subject.model.start_from:
            files.append(study.reports / subject.model.start_from / "training.json")
    elif isinstance(subject, Sweep):
        values |= {_short(subject.file): params.sha256(subject, *subject.runs())}
        files += [run.reports / name for run in subject.runs() for name in spec.upstream]
    elif spec.upstream:
        compared = [study, *(map(params.load_study, study.compare_with) if step == "7-protocol" else ())]
        for each in compared:
            runs = [params.load_run(each.name, name) for name in params.runs(each.name)]
            values |= {_short(run.file): params.sha256(run) for run in runs}
            files += [run.reports / name for run in runs for name in spec.upstream]
        files += [other.reports / "siblings.json" for other in compared[1:]]
    if step != "1-wrangle":
        files.append(study.artifacts / "records.csv")
    found = values | {_short(file): provenance.content_sha256(file) for file in files if file.exists()}
    if step == "1-wrangle" and not study.synthetic and os.environ.get("ARCHIVE"):
        from .sources import archive

        found["ARCHIVE"] = archive(study).fingerprint()
    return found


def _parameters(step: str, study: Study) -> dict[str, str]:
    """The study's parameters; what it is compared with matters to one page only."""
    own = {} if step == "7-protocol" else {"compare_with": [], "published": []}
    values = {_short(study.file): params.sha256(study.model_copy(update=own))}
    if step == "2-explore":  # lists the splits of the others too
        for other in map(params.load_study, study.compare_with):
            values[f"{_short(other.file)}: split"] = params.sha256(other.model_copy(update=own))
    return values


def _study(subject: Study | Run | Sweep) -> Study:
    if isinstance(subject, Sweep):
        return subject.base_run.study
    return subject.study if isinstance(subject, Run) else subject


def provide(step: str, subject: Study | Run | Sweep) -> None:
    """Make what the step needs and a fresh clone lacks: records and models are not in git."""
    if step == "1-wrangle":
        return
    study = _study(subject)
    if not all((study.artifacts / name).exists() for name in ("records.csv", "images.npy")):
        run_step("1-wrangle", study.name, force=True)
    if step == "3-train" and subject.model.start_from:
        start = params.load_run(study.name, subject.model.start_from)
        if not (start.artifacts / "model").exists():
            run_step("3-train", study.name, start.name, force=True)
    if step in ("4-evaluate", "5-explain") and not (subject.artifacts / "model").exists():
        run_step("3-train", study.name, subject.name, force=True)


def _values(subject: Study | Run | Sweep) -> dict[str, str]:
    """What the notebook's parameters cell is given."""
    if isinstance(subject, Run):
        return {"study": subject.study.name, "run": subject.name}
    return {"sweep" if isinstance(subject, Sweep) else "study": subject.name}


def _execute(step: str, subject: Study | Run | Sweep, target: Path) -> None:
    values = _values(subject)
    before = inputs(step, subject)  # what it is made from, not what may be there when it ends
    name = f"{subject.study.name} / {subject.name}" if isinstance(subject, Run) else subject.name
    made_from = {"step": step, "inputs": before}
    execute(ROOT / "notebooks" / f"{step}.py", target, values, made_from, name, pages_never_made(subject))


def pages_never_made(subject: Study | Run | Sweep) -> list[str]:
    """The pages that other runs have and this one will not: a sweep need not explain its runs."""
    if not isinstance(subject, Run) or not subject.name.startswith("sweeps/"):
        return []
    made = load_sweep(subject.file.stem).steps
    return [f"{step}.ipynb" for step, spec in STEPS.items() if spec.per_run and step not in made]


def execute(
    source: Path, target: Path, values: dict, made_from: dict, name: str = "", never_made: Iterable[str] = ()
) -> None:
    """Execute a notebook with parameters into `target`, whole or not at all.

    `name` goes before its title; sentences that only point to a page of `never_made` are left out. Raises
    StepError, with one line, where it fails.
    """
    import papermill

    notebook = _notebook(source, values)
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.stem}.*.ipynb"):
        left.unlink()  # by a run that was killed: this one holds the lock
    partial = target.with_name(f".{target.stem}.{os.getpid()}.ipynb")
    failed = target.with_suffix(".failed.ipynb")
    try:
        _papermill(notebook, partial, values)
        executed = nbformat.read(partial, as_version=4)
        _finish(executed, name, made_from, never_made)
        shrink(executed)
        nbformat.write(executed, partial)
        partial.replace(target)
        failed.unlink(missing_ok=True)
    except papermill.PapermillExecutionError as error:
        partial.replace(failed)
        of = name.split(" / ")[-1] or "the methods"
        raise StepError(_failure(target.stem, of, error, failed)) from None
    finally:
        partial.unlink(missing_ok=True)


def _papermill(notebook: nbformat.NotebookNode, output: Path, values: dict) -> None:
    """Execute a notebook; try again where its kernel does not start, as happens on a busy machine."""
    import papermill

    os.environ.setdefault("TQDM_MININTERVAL", "10")  # progress in a log: a line now and then
    for attempt in range(TRIES):
        with tempfile.TemporaryDirectory(prefix="xnn-") as sockets:
            # A kernel is spoken to through files where the system can: ports are raced for by others,
            # and open to them.
            way = {"transport": "ipc", "ip": f"{sockets}/kernel"} if os.name == "posix" else {}
            try:
                papermill.execute_notebook(
                    notebook,
                    output,
                    values,
                    progress_bar=False,
                    stdout_file=sys.stdout,
                    stderr_file=sys.stderr,
                    config=Config(KernelManager=way),
                )
                return
            except papermill.PapermillExecutionError:
                raise
            except RuntimeError as error:  # nbclient has no class of its own for it
                if attempt == TRIES - 1:
                    raise StepError(f"the kernel died {TRIES} times: {error}") from None


def _notebook(source: Path, values: dict) -> nbformat.NotebookNode:
    """The notebook's text as a notebook; refuse parameters that it does not have."""
    import jupytext

    notebook = jupytext.read(source)
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise StepError(f"{_short(source)}: expected one cell tagged parameters, found {len(cells)}")
    known = [line.split("=")[0].strip() for line in cells[0].source.splitlines() if "=" in line]
    if unknown := set(values) - set(known):
        raise StepError(f"{_short(source)}: no parameter {', '.join(unknown)} in its parameters cell")
    notebook.metadata.setdefault("kernelspec", {"name": "python3", "display_name": "Python 3"})
    return notebook


def _finish(notebook, name: str, made_from: dict, never_made: Iterable[str]) -> None:
    """Name the page after its study or run, fold its code, drop progress bars, note what it was made from."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for page in never_made:
                cell.source = without_pointer(cell.source, page)
        if cell.cell_type == "raw" and name:
            cell.source = cell.source.replace("\ntitle: ", f"\ntitle: {name} · ", 1)
        if cell.cell_type == "code":
            if "injected-parameters" not in cell.metadata.get("tags", []):
                cell.source = f"#| code-fold: true\n{cell.source}"
            cell.outputs = _joined(o for o in cell.outputs if not _is_progress(o))
    for place in ("input_path", "output_path"):  # folders of this machine are nobody's business
        notebook.metadata.papermill.pop(place, None)
    notebook.metadata["xnn"] = made_from


def without_pointer(text: str, to: str) -> str:
    """Markdown without the sentences that are a link to a page and nothing else."""
    return re.sub(rf"(?<=\.)\s+\[[^][]*\]\({re.escape(to)}(?:#[^)]*)?\)\.", "", text)


def _joined(outputs) -> list:
    """Outputs with the pieces of one stream, which progress bars came between, put together again."""
    joined = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def _is_progress(output) -> bool:
    if output.output_type != "stream" or output.name != "stderr":
        return False
    # a bar within a bar moves down a line and up again
    return any(mark in output.text for mark in ("\r", "\x1b[A")) or not output.text.strip()


def _failure(step: str, of: str, error, failed: Path) -> str:
    """One line of a failed notebook: its error, and where to look."""
    message = (str(error.evalue) or error.ename).splitlines()[0]
    known = error.ename.removeprefix("xnn.") in ("DataError", "WeightsError", "ParameterError", "OSError")
    kind = "" if known else f"{error.ename}: "
    return f"{step} of {of} failed: {kind}{message} (see {_short(failed)})"


def metadata(file: Path) -> dict:
    """Metadata of an executed notebook that ended well, else nothing."""
    try:
        notebook = json.loads(file.read_text())
        metadata = notebook["metadata"]
        papermill = metadata["papermill"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    ended = papermill.get("end_time") and not papermill.get("exception")
    return metadata if ended else {}


def show(study: str) -> None:
    """Open a study's radiographs in FiftyOne; look at them first where that was not done since wrangling."""
    from . import exploration, fiftyone_view, mongo

    subject = params.load_study(study)
    provide("2-explore", subject)
    records, audit = (subject.artifacts / name for name in ("records.csv", "audit.csv"))
    if not audit.exists() or audit.stat().st_mtime < records.stat().st_mtime:
        exploration.explore(subject)
    address = os.environ.get("FIFTYONE_DEFAULT_APP_ADDRESS", "127.0.0.1")  # as FiftyOne names it
    try:
        sys.exit(fiftyone_view.open_app(subject, address=address))
    except mongo.NoDatabase as error:
        raise StepError(error) from None


# ---- command line --------------------------------------------------------------------------------


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Every expected error ends in one clear line and exit status 1, not in a traceback."""
    try:
        yield
    except (ParameterError, StepError) as error:
        sys.exit(f"xnn: {error}")
    except OSError as error:
        hints = {
            errno.ENOSPC: "free some space and run make again; nothing half-written is kept",
            errno.EACCES: "the folder cannot be written to",
            errno.EROFS: "the file system is read-only",
            errno.EBUSY: "end that program and run make again",
        }
        if error.errno not in hints:
            raise
        sys.exit(f"xnn: {error.filename or tempfile.gettempdir()}: {error.strerror}; {hints[error.errno]}")


def main(arguments: list[str]) -> None:
    """``site``, ``track`` and a study, or a step, a study and (for the steps of a run) a run."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` clears up
    with one_line():
        if arguments[:1] == ["site"] and arguments[1:] in ([], ["quarto"], ["smalldocs"]):
            from .site import render

            render(*arguments[1:])
        elif arguments[:1] == ["track"] and len(arguments) == 2:
            from .tracking import track

            for run in track(params.load_study(arguments[1])):
                print(f"{run}: logged to MLflow (make mlflow)")
        elif arguments[:1] == ["fiftyone"] and len(arguments) == 2:
            show(arguments[1])
        elif len(arguments) in (2, 3):
            run_step(*arguments)
        else:
            sys.exit(
                "usage: python -m xnn.pipeline site [RENDERER] | track STUDY | fiftyone STUDY | "
                "STEP STUDY [RUN] | 8-sweep SWEEP"
            )


def _short(path: Path) -> str:
    base = next(
        (each for each in (ROOT, provenance.PACKAGE.parent) if path.is_relative_to(each)), path.parent
    )
    return str(path.relative_to(base))


if __name__ == "__main__":
    main(sys.argv[1:])
