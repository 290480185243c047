"""Execution of notebooks by papermill, whole or not at all, and the same whatever the caller's settings."""

import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import nbformat
from traitlets.config import Config

from .pictures import shrink
from .steps import StepError, Task, short, words

TRIES = 3  # of executing a notebook whose kernel dies
# whatever could change a page and comes from its caller; figures of any other backend would be lost
SETTINGS = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "LANG": "C.UTF-8",
    "COLUMNS": "110",
    "PYTHONHASHSEED": "0",
    "TQDM_MININTERVAL": "10",  # progress in a log: a line now and then
}
UNSET = ("PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONINSPECT", "PYTHONOPTIMIZE", "NO_COLOR", "FORCE_COLOR")
PICTURES = ("image/png", "image/jpeg", "image/svg+xml")
FIGURE = "#| fig-alt: "  # what a cell with a figure begins with
FOLD = "#| code-fold: true\n"


def execute(task: Task, made_from: dict, never_made: Iterable[str] = ()) -> None:
    """Execute a task's notebook into its page, whole or not at all.

    Sentences that only point to a page of `never_made` are left out. Raises StepError, with one line, where
    it fails, or where a figure has no picture.
    """
    import papermill

    notebook, target = _notebook(task.source, task.values), task.page
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.stem}.*.ipynb"):
        left.unlink()  # by a run that was killed: this one holds the lock
    failed = target.with_suffix(".failed.ipynb")
    partial = _partial(target)
    try:
        _papermill(notebook, partial, task)
        executed = nbformat.read(partial, as_version=4)
        _finish(executed, task.title, never_made)
        _check_figures(executed, target)
        for place in ("input_path", "output_path"):  # folders of this machine are nobody's business
            executed.metadata.papermill.pop(place, None)
        executed.metadata["xnn"] = {**made_from, "words": words(task)}
        shrink(executed)
        nbformat.write(executed, partial)
        partial.replace(target)
        failed.unlink(missing_ok=True)
    except papermill.PapermillExecutionError as error:
        partial.replace(failed)
        of = task.title.split(" / ")[-1] or "the methods"
        raise StepError(_failure(target.stem, of, error, failed)) from None
    finally:
        partial.unlink(missing_ok=True)


def refresh(task: Task, never_made: Iterable[str] = ()) -> bool:
    """Bring the words of an executed page up to those of its source, and keep its outputs.

    Prose, comments and the look of code decide no output. Returns whether anything was changed. Raises
    StepError where the page has other code cells than its source.
    """
    old = nbformat.read(task.page, as_version=4)
    new = _given(task)
    _finish(new, task.title, never_made)
    code = [[cell for cell in each.cells if cell.cell_type == "code"] for each in (old, new)]
    if len(code[0]) != len(code[1]):
        raise StepError(f"{task} has {len(code[0])} code cells, its source {len(code[1])}: delete the page")
    for before, after in zip(*code, strict=True):
        after.update(outputs=before.outputs, execution_count=before.execution_count, id=before.id)
        after.metadata = before.metadata | {"tags": after.metadata.get("tags", [])}
    prose = [[cell for cell in each.cells if cell.cell_type != "code"] for each in (old, new)]
    for before, after in zip(*prose, strict=False):
        after.update(id=before.id, metadata=before.metadata)
    changed = [(c.cell_type, c.source) for c in old.cells] != [(c.cell_type, c.source) for c in new.cells]
    new.metadata = old.metadata
    new.metadata.papermill["parameters"] = task.values
    new.metadata["xnn"]["words"] = words(task)
    nbformat.write(new, _partial(task.page))
    _partial(task.page).replace(task.page)
    return changed


def _given(task: Task) -> nbformat.NotebookNode:
    """A task's notebook with its parameters injected, as papermill would execute it."""
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    with tempfile.TemporaryDirectory(prefix="xnn-") as folder:
        file = Path(folder) / "notebook.ipynb"
        nbformat.write(_notebook(task.source, task.values), file)
        notebook = load_notebook_node(str(file))
    return parameterize_notebook(notebook, task.values) if task.values else notebook


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.stem}.{os.getpid()}.ipynb")


def _papermill(notebook: nbformat.NotebookNode, output: Path, task: Task) -> None:
    """Execute a notebook; try again where its kernel does not start, as happens on a busy machine."""
    import papermill

    for attempt in range(TRIES):
        with tempfile.TemporaryDirectory(prefix="xnn-") as folder, _settings(Path(folder)):
            # A kernel is spoken to through files where the system can: ports are raced for by others,
            # and open to them.
            way = {"transport": "ipc", "ip": f"{folder}/kernel"} if os.name == "posix" else {}
            try:
                papermill.execute_notebook(
                    notebook,
                    output,
                    task.values,
                    cwd=task.source.parent,  # as in JupyterLab: the pages on methods have helpers beside them
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


@contextmanager
def _settings(folder: Path) -> Iterator[None]:
    """The environment that a kernel starts in: no setting of the caller's that could change a page."""
    rc = folder / "matplotlibrc"
    rc.touch()
    own = {**SETTINGS, "MATPLOTLIBRC": str(rc), "IPYTHONDIR": str(folder / "ipython")}
    with mock.patch.dict(os.environ, own):
        for name in UNSET:
            os.environ.pop(name, None)
        yield


def _notebook(source: Path, values: dict) -> nbformat.NotebookNode:
    """The notebook's text as a notebook; refuse parameters that it does not have."""
    import jupytext

    notebook = jupytext.read(source)
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise StepError(f"{short(source)}: expected one cell tagged parameters, found {len(cells)}")
    known = re.findall(r"^(\w+) *=", cells[0].source, re.MULTILINE)
    if unknown := set(values) - set(known):
        raise StepError(f"{short(source)}: no parameter {', '.join(unknown)} in its parameters cell")
    notebook.metadata.setdefault("kernelspec", {"name": "python3", "display_name": "Python 3"})
    return notebook


def _finish(notebook, name: str, never_made: Iterable[str]) -> None:
    """Name the page after its study or run, fold its code, drop progress bars."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for page in never_made:
                cell.source = without_pointer(cell.source, page)
        if cell.cell_type == "raw" and name:
            cell.source = cell.source.replace("\ntitle: ", f"\ntitle: {name} · ", 1)
        if cell.cell_type == "code":
            if "injected-parameters" not in cell.metadata.get("tags", []):
                cell.source = f"{FOLD}{cell.source}"
            cell.outputs = _joined(o for o in cell.outputs if not _is_progress(o))


def _check_figures(notebook, target: Path) -> None:
    """Raise StepError where a cell with a figure shows neither a picture nor words in its place."""
    for cell in notebook.cells:
        source = cell.source.removeprefix(FOLD)
        if cell.cell_type == "code" and source.startswith(FIGURE):
            shown = {kind for output in cell.outputs for kind in output.get("data", {})}
            if not shown & {*PICTURES, "text/markdown", "text/html"}:
                figure = source.splitlines()[0].removeprefix(FIGURE)
                raise StepError(
                    f"{short(target)} was not made: a figure has no picture ({figure}) "
                    "Does its cell end with the figure, and is no other matplotlib backend set in it?"
                )


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
    return f"{step} of {of} failed: {kind}{message} (see {short(failed)})"
