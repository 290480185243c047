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
    assert cover[5, 5] == pytest.approx(0.5 / 0.995 / 4)
    assert plots.opacity(1000 * one) == pytest.approx(cover)
    assert (plots.opacity(0 * one) == 0).all()


def test_without_a_case_the_figure_says_so():
    figure = plots.cases(IMAGES[:0], {}, [], [])
    assert figure.axes[0].texts[0].get_text() == "there is none"


def test_a_case_has_its_outline_its_map_and_its_zones():
    zones = pd.DataFrame({"outside": [1.0, -1.0], "right": [0.5, 2.0]})
    lungs = np.zeros((2, 16, 16), bool)
    lungs[:, 4:10, 4:10] = True
    figure = plots.cases(IMAGES, {"own_map": MAPS}, ["a", "b"], ["x", "y"], lungs, zones)
    figure.draw_without_rendering()
    radiograph, shown, bars = figure.axes[:3]
    assert (radiograph.get_title(loc="left"), radiograph.get_xlabel()) == ("a", "x")
    assert shown.get_title(loc="left") == "own map"
    assert len(radiograph.collections) == len(shown.collections) == 1, "the outline"
    assert [bar.get_width() for bar in bars.patches] == [0.5, 1.0], "the first zone on top"
    assert "+1.5 log-odds" in bars.get_title()


def test_all_cases_share_one_symmetric_scale_for_each_map():
    scaled = MAPS * np.array([1, 9]).reshape(2, 1, 1)
    figure = plots.cases(IMAGES, {"own": scaled, "sobel": 1000 * scaled}, ["a", "b"], ["", ""])
    bars = [inner for axes in figure.axes for inner in axes.child_axes]
    assert [bar.get_xlabel() for bar in bars] == [
        "log-odds for 1 % of the image",
        "share of its largest value",
    ]
    ends = [bar.get_xlim() for bar in bars]
    assert all(low == -high for low, high in ends)
    assert ends[1] == (-1, 1), "another unit"
    assert figure.axes[2].get_title(loc="left") == "sobel (control)"
    faint, strong, edges = (figure.axes[n].images[1].get_alpha() for n in (1, 4, 5))
    assert faint.mean() < strong.mean()
    np.testing.assert_allclose(edges, strong)


def test_the_card_has_a_panel_a_measure_and_a_dot_a_method():
    figure = plots.card(CARD)
    figure.draw_without_rendering()
    assert [axes.get_title() for axes in figure.axes] == ["insertion auc", "frame share"]
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(dots) == 3
    assert len({dot.get_color() for dot in dots}) == 2, "controls are grey"


def test_curves_are_drawn():
    shares = np.array([0, 0.5, 1])
    curves = {name: (shares, np.ones((2, 3)) * 0.4, np.ones((2, 3)) * 0.2) for name in METHODS}
    left, right = plots.insertion_deletion(curves).axes
    assert [line.get_ydata()[0] for line in left.lines] == pytest.approx([0.4] * 3)
    assert len({line.get_linestyle() for line in right.lines}) == 3


def test_a_photograph_is_a_jpeg():
    assert plots.photograph(plots.cases(IMAGES, {"own": MAPS}, ["a", "b"], ["", ""])).data[:2] == b"\xff\xd8"
