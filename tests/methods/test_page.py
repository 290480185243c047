"""A page on methods, executed for real, and left alone while it is current; the figures of these pages."""

import matplotlib

matplotlib.use("Agg")

import nbformat
import numpy as np
import pandas as pd
import pytest

from demo import draw
from support.project import ROOT
from xnn import plots
from xnn.report import pipeline, steps

PAGE = "optimiser"


def test_a_page_is_executed_once_and_answers(capfd):
    target = pipeline.run_step(PAGE)
    assert target == ROOT / "reports/methods" / f"{PAGE}.ipynb"
    page = nbformat.read(target, as_version=4)
    shown = [output for cell in page.cells for output in cell.get("outputs", [])]
    answers = [each.data["text/markdown"] for each in shown if "text/markdown" in each.get("data", {})]
    assert any(answer.startswith("**Answer.** No,") for answer in answers)
    assert any("| provenance | |" in answer for answer in answers)
    assert page.cells[0].source.startswith("# AdamW")
    before = target.read_text()
    assert capfd.readouterr().out == f"reports/methods/{PAGE}.ipynb ...\n"
    pipeline.run_step(PAGE)
    assert capfd.readouterr().out == ""
    assert target.read_text() == before


def test_a_page_that_does_not_exist_is_one_clear_line():
    with pytest.raises(steps.StepError, match="integrated-gradients"):
        pipeline.run_step("resnext")


class TestFigures:
    table = pd.DataFrame({"one": [1.0, 2.0], "two": [2.0, 4.0]}, index=[10, 100])

    def test_lines_have_one_panel_a_table_on_the_same_axes(self):
        figure = draw.lines({"a": self.table, "b": 10 * self.table, "c": self.table}, "x", "y", log="xy")
        axes = [axis for axis in figure.axes if axis.lines]
        assert [axis.get_title() for axis in axes] == ["a", "b", "c"]
        assert len({axis.get_ylim() for axis in axes}) == 1
        low, high = axes[0].get_ylim()
        assert low < 1 < 40 < high
        assert axes[0].get_xscale() == axes[0].get_yscale() == "log"
        np.testing.assert_array_equal(axes[1].lines[1].get_ydata(), [20, 40])

    def test_bars_are_in_their_units(self):
        left, right = draw.bars(self.table, {"one": (1, "ones"), "two": (2, "pairs")}).axes
        assert (
            [bar.get_width() for bar in left.patches] == [bar.get_width() for bar in right.patches] == [1, 2]
        )
        assert left.get_xlabel() == "ones"

    def test_paths_points_and_pictures_are_drawn(self):
        draw.path([0, 1], {"a": [1, 2]}, {"a": [0, 1]}).draw_without_rendering()
        points = np.array([[0, 0], [1, 2.0]])
        (axis,) = draw.scatters({"spiral": points}).axes
        np.testing.assert_array_equal(axis.collections[0].get_offsets(), points)
        (picture,) = draw.pictures({"phantom": np.eye(4)}).axes
        assert picture.images[0].get_clim() == (0, 1)

    def test_a_table_of_overlays_has_a_column_a_method(self):
        images, maps = np.full((2, 16, 16), 90, np.uint8), np.random.default_rng(0).normal(size=(2, 16, 16))
        given = {"grad_cam": maps, "own": (maps, ["+1 logits"] * 2)}
        figure = draw.overlay_table(images, given, ["a", "b"])
        figure.draw_without_rendering()
        first = figure.axes[:3]
        assert [axes.get_title(loc="left") for axes in first] == ["", "grad cam", "own"]
        assert [axes.get_xlabel() for axes in first] == ["a", "", "+1 logits"]
        np.testing.assert_array_equal(first[1].images[0].get_array(), plots.overlay(images[0], maps[0]))
        assert draw.overlay_table(images[:0], {}, []).axes[0].texts[0].get_text() == "there is none"
