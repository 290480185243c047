"""Execution of notebooks by papermill, independent of the caller's settings."""

import base64
import io
import os
import re
import sys
import tempfile
from pathlib import Path
from unittest import mock

import nbformat
from PIL import Image
from traitlets.config import Config

from ..config import freshness
from ..config.provenance import whole
from ..config.schema import short
from . import steps
from .steps import StepError, Task

TRIES = 3  # if the kernel dies
# the caller's environment must not change a page; another backend would lose the figures
SETTINGS = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "MATPLOTLIBRC": os.devnull,
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "LANG": "C.UTF-8",
    "COLUMNS": "110",
    "PYTHONHASHSEED": "0",
    "TQDM_MININTERVAL": "10",  # fewer lines of progress in logs
}
# by default glibc returns the memory of each large tensor to the system and requests it again: a third of the
# time of a training at 224 pixels on a CPU; a caller may have other thresholds, as Make has
MEMORY = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(8 * 2**30))  # bytes
UNSET = ("PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONINSPECT", "PYTHONOPTIMIZE", "NO_COLOR", "FORCE_COLOR")
PICTURES = ("image/png", "image/jpeg", "image/svg+xml")
WIDGET = "application/vnd.jupyter.widget-view+json"
FIGURE = "#| fig-alt: "  # first line of a cell with a figure
COLOURS, QUALITY = 128, 60  # of palettes, of JPEG
PHOTOGRAPH = 1.1  # a palette picture this many times as large as the JPEG is a photograph


def execute(task: Task) -> None:
    """Execute a task's notebook into its page, which is replaced only on success.

    Raises StepError, with one line, if the notebook fails or a figure has no picture.
    """
    import papermill

    made_from = freshness.recorded(steps.inputs(task))  # before execution: files may change meanwhile
    notebook, target = _notebook(task.source, task.values), task.page
    for left in target.parent.glob(f".{target.stem}.*.ipynb"):
        left.unlink()  # of a killed execution: this one holds the lock
    failed = target.with_suffix(".failed.ipynb")
    with whole(target) as partial:
        partial.touch()  # fails before the work if the folder cannot be written to
        try:
            executed = _papermill(notebook, partial, task)
        except papermill.PapermillExecutionError as error:
            partial.replace(failed)
            raise StepError(_failure(task, error, failed)) from None
        for cell in executed.cells:
            if cell.cell_type == "code":
                cell.outputs = _tidied(cell.outputs)
        _check_figures(executed, target)
        for place in ("input_path", "output_path"):  # paths of this machine
            executed.metadata.papermill.pop(place, None)
        executed.metadata.pop("widgets", None)  # of progress bars
        executed.metadata["xnn"] = {**made_from, "words": steps.words(task)}
        shrink(executed)
        nbformat.write(executed, partial)
    failed.unlink(missing_ok=True)


def refresh(task: Task) -> bool:
    """Update the prose of an executed page from its source and keep its outputs; return whether it changed.

    Raises StepError if page and source differ in their number of code cells.
    """
    import papermill

    source = _notebook(task.source, task.values)
    old = nbformat.read(task.page, as_version=4)
    new = papermill.execute_notebook(source, None, task.values, prepare_only=True)
    for is_code in (True, False):
        before, after = (
            [cell for cell in each.cells if (cell.cell_type == "code") == is_code] for each in (old, new)
        )
        if is_code and len(before) != len(after):
            raise StepError(f"{task} has {len(before)} code cells, its source {len(after)}: delete the page")
        for one, other in zip(before, after, strict=False):
            other.update({key: one[key] for key in ("id", "outputs", "execution_count") if key in one})
            other.metadata = one.metadata | {"tags": other.metadata.get("tags", [])}
            if "answer" in other.metadata.tags:
                other.outputs = [_answer_again(other, task)]
    changed = _shown(old) != _shown(new)
    new.metadata = old.metadata
    new.metadata.papermill["parameters"] = task.values
    new.metadata["xnn"]["words"] = steps.words(task)
    with whole(task.page) as partial:
        nbformat.write(new, partial)
    return changed


def _answer_again(cell: nbformat.NotebookNode, task: Task) -> nbformat.NotebookNode:
    """The output of a cell tagged `answer`, which reads nothing but result files: no kernel, no network."""
    from IPython.display import Markdown

    from ..explain import answers

    shown = eval(cell.source, {"Markdown": Markdown, "answers": answers, "settings": task.subject})
    data = {"text/markdown": shown.data, "text/plain": repr(shown)}
    return nbformat.v4.new_output("execute_result", data, execution_count=cell.execution_count)


def _shown(notebook: nbformat.NotebookNode) -> list:
    """What of a page a refresh may change: sources, and the outputs of cells tagged `answer`."""
    return [
        (cell.cell_type, cell.source, cell.outputs if "answer" in cell.metadata.get("tags", []) else None)
        for cell in notebook.cells
    ]


def kernel_environment() -> dict[str, str]:
    """The environment of this process as notebooks get it."""
    return MEMORY | {name: value for name, value in os.environ.items() if name not in UNSET} | SETTINGS


def _papermill(notebook: nbformat.NotebookNode, output: Path, task: Task) -> nbformat.NotebookNode:
    """Execute a notebook; retry if its kernel does not start, which happens on busy machines."""
    import papermill

    for _ in range(TRIES):
        with tempfile.TemporaryDirectory(prefix="xnn-") as folder:
            own = kernel_environment() | {"IPYTHONDIR": f"{folder}/ipython"}
            # sockets in files: ports are raced for by other processes, and open to other users
            socket = {"transport": "ipc", "ip": f"{folder}/kernel"} if os.name == "posix" else {}
            try:
                with mock.patch.dict(os.environ, own, clear=True):
                    return papermill.execute_notebook(
                        notebook,
                        output,
                        task.values,
                        cwd=task.source.parent,  # as in JupyterLab; pages on methods have helpers there
                        progress_bar=False,
                        request_save_on_cell_execute=False,  # only at the end
                        stdout_file=sys.stdout,
                        stderr_file=sys.stderr,
                        config=Config(KernelManager=socket),
                    )
            except RuntimeError as error:  # nbclient has no specific class
                reason = error
    raise StepError(f"the kernel died {TRIES} times: {reason}")


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


def _check_figures(notebook, target: Path) -> None:
    """Raise StepError if a cell with a figure shows neither a picture nor text in its place."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.startswith(FIGURE):
            shown = {kind for output in cell.outputs for kind in output.get("data", {})}
            if not shown & {*PICTURES, "text/markdown", "text/html"}:
                figure = cell.source.splitlines()[0].removeprefix(FIGURE)
                raise StepError(
                    f"{short(target)} was not made: a figure has no picture ({figure}) "
                    "Does its cell end with the figure, and is no other matplotlib backend set in it?"
                )


def _tidied(outputs) -> list:
    """Outputs without progress bars, and with consecutive pieces of one stream joined."""
    kept = []
    for output in outputs:
        if WIDGET in output.get("data", {}):
            continue
        if output.output_type == "stream":
            # a nested bar moves down a line and up again
            is_bar = re.search("\r|\x1b\\[A", output.text) or not output.text.strip()
            if output.name == "stderr" and is_bar:
                continue
            if kept and kept[-1].get("name") == output.name:
                kept[-1].text += output.text
                continue
        kept.append(output)
    return kept


def _failure(task: Task, error, failed: Path) -> str:
    """One line on a failed notebook: its error and the file to look into."""
    of = task.subject.name if task.subject else "the methods"
    message = (str(error.evalue) or error.ename).splitlines()[0]
    known = error.ename.removeprefix("xnn.") in ("DataError", "WeightsError", "ParameterError", "OSError")
    kind = "" if known else f"{error.ename}: "
    return f"{task.step} of {of} failed: {kind}{message} (see {short(failed)})"


# ---- pictures ------------------------------------------------------------------------------------


def shrink(notebook: nbformat.NotebookNode) -> None:
    """Reduce every PNG picture of a notebook to a palette, photographs to JPEG."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                kind, data = smaller(base64.b64decode(output.data.pop("image/png")))
                output.data[kind] = base64.b64encode(data).decode()
                if size := output.metadata.pop("image/png", None):  # that it is shown in
                    output.metadata[kind] = size


def smaller(png: bytes) -> tuple[str, bytes]:
    """MIME type and bytes of the smallest of a picture's PNG, palette PNG and JPEG."""
    with Image.open(io.BytesIO(png)) as picture:
        flat = Image.new("RGB", picture.size, "white")
        flat.paste(picture, mask=picture.getchannel("A") if "A" in picture.getbands() else None)
    palette, photograph = io.BytesIO(), io.BytesIO()
    flat.quantize(COLOURS, dither=Image.Dither.NONE).save(palette, "PNG", optimize=True)
    flat.save(photograph, "JPEG", quality=QUALITY, optimize=True, progressive=True)
    if palette.tell() > PHOTOGRAPH * photograph.tell():
        return "image/jpeg", photograph.getvalue()
    return "image/png", min(png, palette.getvalue(), key=len)
