"""Figures show the numbers they were given, survive dull input, and leave nothing open."""

import itertools

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from xnn import file_features, plots

CLASSES = ["bacteria", "normal", "virus"]
CURVES = pd.DataFrame(
    {
        "curve": ["bacteria"] * 3 + ["micro"] * 3,
        "precision": [0.5, 0.75, 1, 0.4, 0.8, 1],
        "recall": [1, 0.5, 0] * 2,
        "average_precision": [0.625] * 3 + [0.6] * 3,
    }
)
BANDS = pd.DataFrame({"curve": "micro", "recall": [0, 1], "low": [0.9, 0.3], "high": [1, 0.5]})
RECORDS = pd.DataFrame(
    {
        "path": [f"{i}.png" for i in range(9)],
        "label": ["virus", "bacteria", "normal"] * 3,
        "patient": ["a", "b", "c", "a", "b", "d", "a", "e", "f"],
        "split": ["train"] * 5 + ["test"] * 3 + ["example"],
    }
)
HISTORY = pd.DataFrame(
    {
        "epoch": [0, 1, 2],
        "sample_loss": [1.1, 0.8, 0.5],
        "val_loss": [1.0, 0.7, 0.6],
        "val_f1": [0.4, 0.9, 0.8],
        "lr": [1e-3, 1e-4, 1e-5],
    }
)
OUTCOMES = pd.DataFrame({"TP": [5, 4], "FP": [3, 2], "FN": [1, 0], "TN": [90, 91]}, ["normal", "virus"])
RUNS = pd.DataFrame(
    {
        "run": ["worst", "best", "middle"],
        "value": [0.2, 0.9, 0.5],
        "low": [0.1, 0.8, 0.4],
        "high": [0.3, 1, 0.6],
    }
)
BY_THRESHOLD = pd.DataFrame({"class": "virus", "threshold": [0.9, 0.5, 0.1], "f1": [0.2, 0.8, 0.6]})
RELIABILITY = pd.DataFrame(
    {
        "confidence": [0.5, 0.9],
        "accuracy": [0.6, 0.8],
        "low": [0.4, 0.7],
        "high": [0.7, 0.9],
        "images": [2, 8],
    }
)
RISK = pd.DataFrame({"coverage": [0.5, 1], "risk": [0, 0.2], "low": [0, 0.1], "high": [0.1, 0.3]})
IMAGES = np.random.default_rng(0).integers(0, 256, (9, 16, 16), dtype=np.uint8)
MAPS = np.random.default_rng(1).normal(size=(9, 16, 16))

FILES = RECORDS.assign(width=range(100, 109), height=200, bytes=range(5000, 5009))
POINTS = np.random.default_rng(2).normal(size=(9, 2))
SIZES = RUNS.assign(
    backbone=["ResNet-18", "ResNet-50", "ResNet-18"],
    parameters=[1e6, 2e6, 3e7],
    weights=["imagenet", "random", "imagenet"],
)
SWEEP = pd.DataFrame(
    {
        "setting": ["a", "a", "b", "c", "d"],
        "rate": [0.1, 0.1, 0.1, 0.2, 0.2],
        "decay": [0.0, 0.0, 0.5, 0.0, 0.5],
        "validation": [0.5, 0.6, 0.7, 0.8, 0.9],
        "validation_f1": [0.5, 0.6, 0.7, 0.8, 0.9],
        "value": [0.5, 0.6, 0.7, 0.8, 0.9],
        "low": 0.4,
        "high": 1.0,
    }
)
REGIONS = pd.DataFrame({"input": ["whole", "lungs_removed"], "value": [0.9, 0.6], "low": 0.5, "high": 1.0})
FIGURES = {  # how it is made, and how many axes it has
    "class_counts": (lambda: plots.class_counts(RECORDS), 1),
    "images_per_patient": (lambda: plots.images_per_patient(RECORDS), 1),
    "intensity_histograms": (lambda: plots.intensity_histograms(IMAGES, RECORDS.label), 1),
    "image_sheet": (lambda: plots.image_sheet(IMAGES, RECORDS.path), 9),
    "sizes": (lambda: plots.sizes(file_features(FILES), FILES.label), 3),
    "embedding_map": (lambda: plots.embedding_map(POINTS, RECORDS.label, RECORDS.split), 2),
    "class_means": (lambda: plots.class_means(IMAGES, RECORDS.label), 6),
    "learning_curves": (lambda: plots.learning_curves(HISTORY), 3),
    "precision_recall_curves": (lambda: plots.precision_recall_curves(CURVES, BANDS), 1),
    "confusion_matrices": (lambda: plots.confusion_matrices(np.eye(3, dtype=int), CLASSES), 2),
    "outcome_counts": (lambda: plots.outcome_counts(OUTCOMES), 1),
    "f1_by_threshold": (lambda: plots.f1_by_threshold(BY_THRESHOLD, pd.Series({"virus": 0.5})), 1),
    "reliability": (lambda: plots.reliability({"before": RELIABILITY, "after": RELIABILITY}), 2),
    "risk_coverage": (lambda: plots.risk_coverage(RISK), 1),
    "compare_scores": (lambda: plots.compare_scores(RUNS, "F1"), 1),
    "differences": (lambda: plots.differences(RUNS.rename(columns={"run": "pair"}), "F1"), 1),
    "region_scores": (lambda: plots.region_scores({"mean": REGIONS, "inpainted": REGIONS}, "AUROC"), 1),
    "score_by_size": (lambda: plots.score_by_size(SIZES, "F1"), 1),
    "beside_published": (lambda: plots.beside_published(RUNS.assign(low=[None] * len(RUNS)), "F1"), 1),
    "sweep_scores": (lambda: plots.sweep_scores(SWEEP, ["rate", "decay"], "validation", "F1"), 1),
    "panels_of_runs": (lambda: plots.panels_of_runs(dict.fromkeys("ab", RUNS.assign(kind=RUNS.run))), 2),
    "seed_spread": (lambda: plots.seed_spread(SWEEP), 1),
    "cases": (lambda: plots.cases(IMAGES, {"own": MAPS}, RECORDS.path, RECORDS.path), 18),
    "card": (lambda: plots.card(RUNS.assign(method=RUNS.run, measure="infidelity")), 1),
    "insertion_deletion": (lambda: plots.insertion_deletion({"sobel": (np.eye(2)[0], *[np.eye(2)] * 2)}), 2),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_labelled_and_belongs_to_its_caller(name):
    make, count = FIGURES[name]
    settings = dict(matplotlib.rcParams)
    figure = make()
    assert isinstance(figure, Figure)
    assert len(figure.axes) == count
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == settings
    figure.draw_without_rendering()
    for axes in figure.axes:
        if not axes.images:
            assert axes.get_title()
            assert axes.get_xlabel() or axes.get_xticklabels()[0].get_text()


def test_a_sheet_of_no_image_says_so():
    (axes,) = plots.image_sheet(IMAGES[:0], []).axes
    assert texts(axes.texts) == ["there is none"]


def test_files_of_one_size_have_no_histogram():
    table = file_features(RECORDS.assign(width=1, height=1, bytes=1))
    (axes,) = plots.sizes(table, RECORDS.label).axes
    assert texts(axes.texts) == ["there is none"]


def test_a_map_leaves_out_what_is_set_aside():
    by_class, by_split = plots.embedding_map(POINTS, RECORDS.label, RECORDS.split).axes
    assert len(by_class.collections[0].get_offsets()) == 9
    assert len(by_split.collections[0].get_offsets()) == 8, "no point for the example"


def test_figures_are_complete():
    drawn = {name for name, item in vars(plots).items() if hasattr(item, "__wrapped__")}
    assert drawn == set(FIGURES)


def test_a_region_without_a_score_beside_the_whole_image_and_chance():
    axes = plots.region_scores({"mean": REGIONS, "inpainted": REGIONS}, "AUROC").axes[0]
    assert [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1][-2:] == [0.9, 0.5]
    assert texts(axes.get_yticklabels()) == ["whole", "lungs removed"]


def heights(axes):
    return [[bar.get_height() for bar in bars] for bars in axes.containers]


def texts(items):
    return [item.get_text() for item in items]


def test_class_counts_are_the_heights_of_the_bars():
    axes = plots.class_counts(RECORDS).axes[0]
    assert texts(axes.get_xticklabels()) == ["train", "test", "example"]
    assert heights(axes) == [[2, 1, 0], [1, 1, 1], [2, 1, 0]]  # bacteria, normal, virus
    assert texts(axes.figure.legends[0].get_texts()) == CLASSES


def test_images_per_patient_counts_patients():
    axes = plots.images_per_patient(RECORDS).axes[0]
    assert heights(axes) == [[4, 1, 1]]
    assert axes.get_title() == "9 radiographs of 6 patients"


def test_intensity_histograms_are_shares():
    images = np.stack([np.zeros((4, 4)), np.full((4, 4), 255)]).astype(np.uint8)
    dark, bright = plots.intensity_histograms(images, ["normal", "virus"]).axes[0].patches
    assert dark.get_data().values[0] == bright.get_data().values[-1] == 100
    assert dark.get_data().values.sum() == bright.get_data().values.sum() == 100


def test_image_sheet_shows_each_image_under_its_title():
    figure = plots.image_sheet(IMAGES[:4], list("abcd"), columns=3)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list("abcd")
    for axes, image in zip(figure.axes, IMAGES, strict=False):
        np.testing.assert_array_equal(axes.images[0].get_array(), image)
    with pytest.raises(ValueError):
        plots.image_sheet(IMAGES[:4], list("abc"))
    assert plt.get_fignums() == []


def test_class_means_are_mean_and_deviation():
    figure = plots.class_means(IMAGES, RECORDS.label)
    virus = IMAGES[RECORDS.label == "virus"].astype(float)
    shown = [axes.images[0].get_array() for axes in figure.axes]
    np.testing.assert_allclose(shown[2], virus.mean(axis=0))
    np.testing.assert_allclose(shown[5], virus.std(axis=0), atol=1e-6)


def test_learning_curves_compare_losses_and_name_the_best_epoch():
    losses, f1, rate = plots.learning_curves(HISTORY).axes
    np.testing.assert_array_equal(losses.lines[0].get_xydata(), [[0, 1.1], [1, 0.8], [2, 0.5]])
    assert f1.get_title() == "Validation F1, best 0.900 at epoch 1"
    assert rate.get_yscale() == "log"


def test_precision_recall_curves_name_their_average_precision():
    axes = plots.precision_recall_curves(CURVES).axes[0]
    assert texts(axes.get_legend().get_texts()) == ["bacteria, AP 0.625", "micro, AP 0.600"]
    curve = next(line for line in axes.lines if line.get_label().startswith("bacteria"))
    # The area under the steps is the average precision: a precision holds down to the next recall.
    recall, precision = curve.get_xdata(), curve.get_ydata()
    assert curve.get_drawstyle() == "steps-post"
    assert -np.sum(np.diff(recall) * precision[:-1]) == pytest.approx(0.625)


def test_confusion_matrices_show_counts_and_shares():
    counts, shares = plots.confusion_matrices([[3, 1], [0, 0]], ["normal", "virus"]).axes
    assert texts(counts.texts) == ["3", "1", "0", "0"]
    assert texts(shares.texts) == ["75.0", "25.0", "0.0", "0.0"]
    assert texts(counts.get_yticklabels()) == ["normal", "virus"]


def test_outcomes_are_the_heights_of_the_bars():
    axes = plots.outcome_counts(OUTCOMES).axes[0]
    assert heights(axes) == [[5, 3, 1, 90], [4, 2, 0, 91]]
    names = ["true positives", "false positives", "false negatives", "true negatives"]
    assert texts(axes.get_xticklabels()) == names


def test_runs_are_sorted_by_their_score():
    axes = plots.compare_scores(RUNS, "F1").axes[0]
    assert texts(axes.get_yticklabels()) == ["worst", "middle", "best"]  # from the bottom
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [0.2, 0.5, 0.9])
    bars = [segment[:, 0].tolist() for segment in axes.collections[0].get_segments()]
    assert bars == [[0.1, 0.3], [0.4, 0.6], [0.8, 1]]


def test_differences_have_a_zero_line():
    axes = plots.differences(RUNS.rename(columns={"run": "pair"})).axes[0]
    assert texts(axes.get_yticklabels()) == ["middle", "best", "worst"]  # from the bottom
    assert list(axes.lines[1].get_xdata()) == [0, 0]


def test_starting_weights_have_a_colour_each():
    axes = plots.score_by_size(SIZES, "F1").axes[0]
    assert axes.get_xscale() == "log"
    assert {"imagenet", "random", *SIZES.backbone} <= {*texts(axes.get_legend().get_texts())}
    lines, dots = axes.collections
    np.testing.assert_allclose(dots.get_offsets(), SIZES[["parameters", "value"]])
    first, second, third = map(tuple, lines.get_colors())
    assert first == third != second


@pytest.mark.parametrize(
    "sizes",
    [
        [2.2e6, 2.21e6, 2.23e6],
        [2.2e6, 2.9e6, 3.4e6],
        [9.2e4, 1.1e5, 1.3e5],
        [7e5, 2.2e6, 1.1e7],
        [1.2e4, 2.2e6, 8.8e7],
        [3e2, 2.2e6, 9e9],
        [2.2e6, 2.2e6, 2.2e6],
    ],
    ids=lambda sizes: f"{sizes[0]:.3g} to {sizes[-1]:.3g}",
)
def test_labels_of_sizes_leave_room_between_them(sizes):
    figure = plots.score_by_size(SIZES.assign(parameters=sizes), "weighted F1")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    ticks = [*axes.xaxis.get_major_ticks(), *axes.xaxis.get_minor_ticks()]
    labels = [each.label1 for each in ticks if each.label1.get_text() and low <= each.get_loc() <= high]
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.x0)
    gaps = [right.x0 - left.x1 for left, right in itertools.pairwise(boxes)]
    assert len(boxes) > 1, "a reader needs two numbers for a scale"
    assert len({label.get_text() for label in labels}) == len(labels)
    assert min(gaps) > boxes[0].height / 2


def test_titles_of_panels_leave_room_between_them():
    titles = ["Accuracy; higher is better", "Share of answers changed; lower is better"]
    panels = dict.fromkeys([*titles, "Score with and without the lungs"], RUNS.assign(kind="test split"))
    longer = {"best": "MobileNetV2, all layers, class weights, robust views"}
    figure = plots.panels_of_runs({title: table.replace(longer) for title, table in panels.items()})
    figure.draw_without_rendering()
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert figure.axes[0].get_title() == "Accuracy\nhigher is better"


def test_overlay_is_orange_above_zero_purple_below_and_clear_at_zero():
    attribution = np.zeros((10, 10))
    attribution[0, :2] = 4, -4
    colours = plots.overlay(np.full((10, 10), 100), attribution)
    assert tuple(colours[0, 0]) == plots.RAISES
    assert tuple(colours[0, 1]) == plots.LOWERS
    assert (colours[1:] == 80).all()
    assert colours.dtype == np.uint8


def test_overlay_does_not_depend_on_the_unit_of_the_attribution():
    one, other = (plots.overlay(IMAGES[0], MAPS[0] * unit) for unit in (1, 2.0**-20))
    np.testing.assert_array_equal(one, other)


def test_blank_images_and_maps_are_drawn():
    blank, zero = np.zeros((2, 8, 8), dtype=np.uint8), np.zeros((2, 8, 8))
    plots.cases(blank, {"zero": zero}, ["one", "other"], ["", ""]).draw_without_rendering()
    plots.class_means(blank, ["normal", "virus"]).draw_without_rendering()
    plots.intensity_histograms(blank, ["normal", "virus"]).draw_without_rendering()
    plots.image_sheet(blank[:1], ["one"]).draw_without_rendering()
    assert (plots.overlay(blank[0], zero[0]) == 0).all()
    one = RUNS.iloc[:1].assign(low=0.2, high=0.2)
    plots.compare_scores(one, "F1").draw_without_rendering()
    plots.outcome_counts(OUTCOMES * 0).draw_without_rendering()


def test_colours_are_fixed_for_the_known_classes_and_distinct_for_others():
    axes = plots.class_counts(RECORDS[RECORDS.label != "bacteria"]).axes[0]
    colours = [to_hex(bars[0].get_facecolor()).upper() for bars in axes.containers]
    assert colours == [plots.CLASS_COLOURS["normal"], plots.CLASS_COLOURS["virus"]]
    assert len(set(plots.class_colours(["cat", "virus", "dog"]).values())) == 3


def test_style_gives_the_look_to_figures_drawn_elsewhere():
    with matplotlib.rc_context():
        plots.style()
        assert matplotlib.rcParams["figure.dpi"] == plots.STYLE["figure.dpi"]
