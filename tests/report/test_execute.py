"""What is made of a notebook and of its outputs."""

import contextlib
import re

import nbformat
import pytest

from support.project import PROJECT
from xnn.report import execute, steps


def test_a_parameter_that_the_notebook_lacks_is_refused(root, tmp_path):
    source = tmp_path / "step.py"
    source.write_text('# %% tags=["parameters"]\nstudy = "phantom"\n')
    with pytest.raises(steps.StepError, match="no parameter run"):
        execute._notebook(source, {"study": "a", "run": "b"})


@pytest.mark.parametrize(
    ("shown", "fails"),
    [
        ({"image/png": "x"}, False),
        ({"text/markdown": ""}, False),
        ({"text/plain": "<Figure>"}, True),
        ({}, True),
    ],
)
def test_a_figure_without_a_picture_is_an_error(root, shown, fails):
    outputs = [nbformat.v4.new_output("display_data", shown)] if shown else []
    cell = nbformat.v4.new_code_cell("#| fig-alt: Bars.\nplots.bars()", outputs=outputs)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    with pytest.raises(steps.StepError, match="no picture") if fails else contextlib.nullcontext():
        execute._check_figures(notebook, root / "reports/a.ipynb")


def test_a_kernel_keeps_its_memory_unless_the_caller_says_otherwise(monkeypatch):
    for name in execute.MEMORY:
        monkeypatch.delenv(name, raising=False)
        assert int(execute.kernel_environment()[name]) > 2**30
        monkeypatch.setenv(name, "1")
        assert execute.kernel_environment()[name] == "1"


def test_make_and_what_it_did_not_start_keep_the_same_memory():
    told = re.findall(r"^export (MALLOC\w+) \?= (\d+)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert dict(told) == execute.MEMORY


def test_streams_are_joined_and_progress_is_dropped():
    out = nbformat.v4.new_output
    outputs = [
        out("stream", name="stdout", text="a\n"),
        out("stream", name="stderr", text="\r10%"),
        out("stream", name="stderr", text="\n\x1b[A"),
        out("stream", name="stderr", text="\n"),
        out("stream", name="stdout", text="b\n"),
        out("display_data", {execute.WIDGET: {}}),
        out("display_data"),
    ]
    assert [o.get("text") for o in execute._tidied(outputs)] == ["a\nb\n", None]
