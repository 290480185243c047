"""Figures of explanations: one scale for all maps, words below them, controls apart from methods."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from xnn import plots

IMAGES = np.full((2, 16, 16), 90, np.uint8)
MAPS = np.random.default_rng(0).normal(size=(2, 16, 16))
METHODS = ["integrated_gradients", "random", "sobel"]
CARD = pd.DataFrame(
    [
        {"method": method, "measure": name, "value": 0.5, "low": 0.4, "high": 0.6}
        for name in ("insertion_auc", "frame_share")
        for method in METHODS
    ]
)


@pytest.fixture(autouse=True)
def nothing_stays_open():
    yield
    assert not plt.get_fignums()


def test_opacity_is_in_units_of_the_mean_magnitude():
    one = np.full((10, 10), 0.5)
    one[0, 0] = -50  # mean 0.995
    cover = plots.opacity(one)
    assert cover[0, 0] == 1
    assert cover[5, 5] == pytest.approx(0.5 / 0.995 / 6)
    assert plots.opacity(1000 * one) == pytest.approx(cover)
    assert (plots.opacity(0 * one) == 0).all()


def test_a_table_of_overlays_has_a_column_a_method():
    figure = plots.overlay_table(IMAGES, {"grad_cam": MAPS, "own": (MAPS, ["+1 logits"] * 2)}, ["a", "b"])
    figure.canvas.draw()
    first = figure.axes[:3]
    assert [axes.get_title(loc="left") for axes in first] == ["", "grad cam", "own"]
    assert [axes.get_xlabel() for axes in first] == ["a", "", "+1 logits"]
    np.testing.assert_array_equal(first[1].images[0].get_array(), plots.overlay(IMAGES[0], MAPS[0]))


def test_without_a_case_the_figure_says_so():
    for figure in (plots.overlay_table(IMAGES[:0], {}, []), plots.overlays(IMAGES[:0], MAPS[:0], [])):
        assert figure.axes[0].texts[0].get_text() == "there is none"


def test_captions_tell_sum_gap_and_cost():
    table = pd.DataFrame({"difference": [-1.26], "gap": [0.004], "gradients": [23]})
    assert plots.captions(table).tolist() == ["-1.3 logits, gap 0.4%, 23 gradients"]


def test_the_card_has_a_panel_a_measure_and_a_dot_a_method():
    figure = plots.card(CARD)
    figure.canvas.draw()
    assert [axes.get_title() for axes in figure.axes] == ["insertion auc", "frame share"]
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(dots) == 3
    assert len({dot.get_color() for dot in dots}) == 2, "controls are grey"


def test_curves_and_randomisation_are_drawn():
    shares = np.array([0, 0.5, 1])
    curves = {name: (shares, np.ones((2, 3)) * 0.4, np.ones((2, 3)) * 0.2) for name in METHODS}
    left, right = plots.insertion_deletion(curves).axes
    assert [line.get_ydata()[0] for line in left.lines] == pytest.approx([0.4] * 3)
    assert len({line.get_linestyle() for line in right.lines}) == 3
    (axes,) = plots.randomisation({"signed": np.array([[0.2, 0.4], [0.0, 0.2]])}, [0, 1]).axes
    assert axes.lines[0].get_ydata() == pytest.approx([0.3, 0.1])


def test_a_photograph_is_a_jpeg():
    assert plots.photograph(plots.overlays(IMAGES, MAPS, ["a", "b"])).data[:2] == b"\xff\xd8"
