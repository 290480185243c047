"""A page on methods, executed for real, and left alone while it is current; the figures of these pages."""

import re
import subprocess

import matplotlib

matplotlib.use("Agg")

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT, ROOT

from xnn import pipeline, plots
from xnn.appendix import pages

PAGE = "optimiser"


@pytest.fixture(scope="module")
def text():
    """A page's text in the tests' project folder."""
    file = ROOT / "methods" / f"{PAGE}.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text((PROJECT / "methods" / f"{PAGE}.py").read_text())
    return file


def test_a_page_is_executed_once_and_answers(text, capfd):
    target = pages.make(PAGE)
    assert target == ROOT / "reports/methods" / f"{PAGE}.ipynb"
    page = nbformat.read(target, as_version=4)
    shown = [output for cell in page.cells for output in cell.get("outputs", [])]
    answers = [each.data["text/markdown"] for each in shown if "text/markdown" in each.get("data", {})]
    assert any(answer.startswith("**Answer.** No.") for answer in answers)
    assert any("| provenance | |" in answer for answer in answers)
    assert page.cells[0].source.startswith("---\ntitle: AdamW"), (
        "a page of no study is named by its title alone"
    )
    assert pipeline.metadata(target)["xnn"]["inputs"].keys() == pages.inputs(PAGE).keys()
    before = target.read_text()
    capfd.readouterr()
    pages.make(PAGE)
    assert capfd.readouterr().out == f"reports/methods/{PAGE}.ipynb is current\n"
    assert target.read_text() == before


def test_a_changed_page_or_module_is_not_current(text, monkeypatch):
    before = pages.inputs(PAGE)
    monkeypatch.setattr(pages.provenance, "content_sha256", lambda file: file.name)
    assert all(before[name] != value for name, value in pages.inputs(PAGE).items())


def test_a_page_that_does_not_exist_is_one_clear_line():
    with pytest.raises(pipeline.StepError, match="there is: integrated-gradients"):
        pages.make("resnext")


@pytest.mark.parametrize("page", pages.PAGES)
def test_a_page_lists_every_module_that_it_imports(page):
    text = (PROJECT / "methods" / f"{page}.py").read_text()
    (line,) = re.findall(r"^from xnn import (.*)$", text, re.MULTILINE)
    (own,) = re.findall(r"^from xnn\.appendix import (.*)$", text, re.MULTILINE)
    imported = {*line.split(", "), *(f"appendix/{module}" for module in own.split(", "))}
    assert imported - {"plots"} <= set(pages.PAGES[page])


def test_make_knows_every_page_and_its_modules():
    goals = [f"reports/methods/{page}.ipynb" for page in pages.PAGES]
    told = subprocess.run(["make", "-Bn", *goals], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert all(f"-m xnn.appendix.pages {page}\n" in told.stdout for page in pages.PAGES)
    rule = re.search(r"^reports/methods/%\.ipynb: .*$", (PROJECT / "Makefile").read_text(), re.MULTILINE)[0]
    modules = {module for page in pages.PAGES.values() for module in page}
    modules = {module for module in modules if not module.startswith("appendix/")}
    assert modules - {"models"} <= set(re.findall(r"[\w/]+", rule))
    assert "$(wildcard xnn/appendix/*.py)" in rule


class TestFigures:
    table = pd.DataFrame({"one": [1.0, 2.0], "two": [2.0, 4.0]}, index=[10, 100])

    def test_lines_have_one_panel_a_table_on_the_same_axes(self):
        figure = plots.lines({"a": self.table, "b": 10 * self.table, "c": self.table}, "x", "y", log="xy")
        axes = [axis for axis in figure.axes if axis.lines]
        assert [axis.get_title() for axis in axes] == ["a", "b", "c"]
        assert len({axis.get_ylim() for axis in axes}) == 1
        low, high = axes[0].get_ylim()
        assert low < 1 < 40 < high
        assert axes[0].get_xscale() == axes[0].get_yscale() == "log"
        np.testing.assert_array_equal(axes[1].lines[1].get_ydata(), [20, 40])

    def test_bars_are_in_their_units(self):
        left, right = plots.bars(self.table, {"one": (1, "ones"), "two": (2, "pairs")}).axes
        assert (
            [bar.get_width() for bar in left.patches] == [bar.get_width() for bar in right.patches] == [1, 2]
        )
        assert left.get_xlabel() == "ones"

    def test_paths_points_and_pictures_are_drawn(self):
        plots.path([0, 1], {"a": [1, 2]}, {"a": [0, 1]}).canvas.draw()
        points = np.array([[0, 0], [1, 2.0]])
        (axis,) = plots.scatters({"spiral": points}).axes
        np.testing.assert_array_equal(axis.collections[0].get_offsets(), points)
        (picture,) = plots.pictures({"phantom": np.eye(4)}).axes
        assert picture.images[0].get_clim() == (0, 1)
