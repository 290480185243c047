"""Execution of notebooks by papermill, independent of the caller's settings."""

import base64
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import nbformat
from PIL import Image
from traitlets.config import Config

from .steps import StepError, Task, short, words

TRIES = 3  # if the kernel dies
# the caller's environment must not change a page; another backend would lose the figures
SETTINGS = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "LANG": "C.UTF-8",
    "COLUMNS": "110",
    "PYTHONHASHSEED": "0",
    "TQDM_MININTERVAL": "10",  # fewer lines of progress in logs
}
UNSET = ("PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONINSPECT", "PYTHONOPTIMIZE", "NO_COLOR", "FORCE_COLOR")
PICTURES = ("image/png", "image/jpeg", "image/svg+xml")
FIGURE = "#| fig-alt: "  # first line of a cell with a figure
FOLD = "#| code-fold: true\n"
QUALITY = 80  # of JPEG
PHOTOGRAPH = 1.2  # a palette picture this many times as large as the JPEG is a photograph


def execute(task: Task, made_from: dict, never_made: Iterable[str] = ()) -> None:
    """Execute a task's notebook into its page, which is replaced only on success.

    Sentences that only link to a page of `never_made` are left out. Raises StepError, with one line, if the
    notebook fails or a figure has no picture.
    """
    import papermill

    notebook, target = _notebook(task.source, task.values), task.page
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.stem}.*.ipynb"):
        left.unlink()  # of a killed execution: this one holds the lock
    failed = target.with_suffix(".failed.ipynb")
    partial = _partial(target)
    try:
        partial.touch()  # fails before the work if the folder cannot be written to
        _papermill(notebook, partial, task)
        executed = nbformat.read(partial, as_version=4)
        _finish(executed, task.title, never_made)
        _check_figures(executed, target)
        for place in ("input_path", "output_path"):  # paths of this machine
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
    """Update the prose of an executed page from its source and keep its outputs; return whether it changed.

    Raises StepError if page and source differ in their number of code cells.
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
    """A task's notebook with its parameters injected by papermill."""
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
    """Execute a notebook; retry if its kernel does not start, which happens on busy machines."""
    import papermill

    for attempt in range(TRIES):
        with tempfile.TemporaryDirectory(prefix="xnn-") as folder, _settings(Path(folder)):
            # sockets in files: ports are raced for by other processes, and open to other users
            socket = {"transport": "ipc", "ip": f"{folder}/kernel"} if os.name == "posix" else {}
            try:
                papermill.execute_notebook(
                    notebook,
                    output,
                    task.values,
                    cwd=task.source.parent,  # as in JupyterLab; pages on methods import helpers from there
                    progress_bar=False,
                    request_save_on_cell_execute=False,  # only at the end
                    stdout_file=sys.stdout,
                    stderr_file=sys.stderr,
                    config=Config(KernelManager=socket),
                )
                return
            except papermill.PapermillExecutionError:
                raise
            except RuntimeError as error:  # nbclient has no specific class
                if attempt == TRIES - 1:
                    raise StepError(f"the kernel died {TRIES} times: {error}") from None


@contextmanager
def _settings(folder: Path) -> Iterator[None]:
    """The environment of a kernel: nothing of the caller's that could change a page."""
    rc = folder / "matplotlibrc"
    rc.touch()
    own = {**SETTINGS, "MATPLOTLIBRC": str(rc), "IPYTHONDIR": str(folder / "ipython")}
    with mock.patch.dict(os.environ, own):
        for name in UNSET:
            os.environ.pop(name, None)
        yield


def _notebook(source: Path, values: dict) -> nbformat.NotebookNode:
    """A notebook read from its text; raise StepError for parameters that it does not declare."""
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
    """Put the study or run into the title, fold code, drop progress bars."""
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
    """Raise StepError if a cell with a figure shows neither a picture nor text in its place."""
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
    """Markdown without the sentences that consist of a link to a page."""
    return re.sub(rf"(?<=\.)\s+\[[^][]*\]\({re.escape(to)}(?:#[^)]*)?\)\.", "", text)


def _joined(outputs) -> list:
    """Outputs with consecutive pieces of one stream joined."""
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
    # a nested bar moves down a line and up again
    return any(mark in output.text for mark in ("\r", "\x1b[A")) or not output.text.strip()


def _failure(step: str, of: str, error, failed: Path) -> str:
    """One line on a failed notebook: its error and the file to look into."""
    message = (str(error.evalue) or error.ename).splitlines()[0]
    known = error.ename.removeprefix("xnn.") in ("DataError", "WeightsError", "ParameterError", "OSError")
    kind = "" if known else f"{error.ename}: "
    return f"{step} of {of} failed: {kind}{message} (see {short(failed)})"


# ---- pictures ------------------------------------------------------------------------------------


def shrink(notebook: nbformat.NotebookNode) -> None:
    """Reduce every PNG picture of a notebook to a palette of 256 colours, photographs to JPEG."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                kind, data = smaller(base64.b64decode(output.data.pop("image/png")))
                output.data[kind] = base64.b64encode(data).decode()


def smaller(png: bytes) -> tuple[str, bytes]:
    """MIME type and bytes of the smallest of a picture's PNG, palette PNG and JPEG."""
    with Image.open(io.BytesIO(png)) as picture:
        flat = Image.new("RGB", picture.size, "white")
        flat.paste(picture, mask=picture.getchannel("A") if "A" in picture.getbands() else None)
    palette, photograph = io.BytesIO(), io.BytesIO()
    flat.quantize(256, dither=Image.Dither.NONE).save(palette, "PNG", optimize=True)
    flat.save(photograph, "JPEG", quality=QUALITY)
    if palette.tell() > PHOTOGRAPH * photograph.tell():
        return "image/jpeg", photograph.getvalue()
    return "image/png", min(png, palette.getvalue(), key=len)
