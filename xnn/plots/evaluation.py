"""Figures of the evaluation of one run."""

import numpy as np
import pandas as pd
import seaborn as sns

from . import look


@look.styled
def precision_recall_curves(curves: pd.DataFrame, bands: pd.DataFrame | None = None):
    """A curve a class and one of all together, over faint lines of equal F1.

    ``curves`` has the columns curve, precision, recall and average_precision; ``bands``, of the same
    curves, curve, recall, low and high.
    """
    figure, axes = look.subplots(4.8, 4.2)
    _lines_of_equal_f1(axes)
    names = [name for name in curves["curve"].unique() if name != "micro"]
    colours = look.class_colours(names) | {"micro": "black"}
    for name, curve in curves.groupby("curve", sort=False):
        label = f"{name}, AP {curve['average_precision'].iloc[0]:.3f}"
        line = {"color": colours[name], "label": label, "linestyle": "--" if name == "micro" else "-"}
        axes.step(curve["recall"], curve["precision"], where="post", **line)
        if bands is not None:
            band = bands[bands["curve"] == name]
            axes.fill_between(band.recall, band.low, band.high, color=colours[name], alpha=0.15, linewidth=0)
    axes.set(title="Precision and recall", xlabel="recall", ylabel="precision")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
    axes.legend(loc="lower left")
    return figure


def _lines_of_equal_f1(axes):
    recall = np.linspace(0.01, 1, 200)
    for f1 in (0.4, 0.6, 0.8):
        reached = recall[recall > f1 / (2 - f1)]  # below this recall no precision gives the F1
        axes.plot(reached, f1 * reached / (2 * reached - f1), color="0.85", linewidth=0.8, zorder=1)
        axes.text(f1, f1, f"F1 {f1}", ha="center", color="0.5", fontsize=7, backgroundcolor="white")


@look.styled
def confusion_matrices(confusion, classes):
    """Counts, and shares of each true class; ``confusion`` (C, C), rows true."""
    confusion = np.asarray(confusion)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure, (left, right) = look.subplots(7.2, 3.2, columns=2)
    shared = {"cmap": "Blues", "xticklabels": classes, "yticklabels": classes, "square": True}
    shared |= {"linewidths": 1, "annot_kws": {"size": 10}}
    sns.heatmap(confusion, ax=left, annot=True, fmt="d", vmin=0, cbar=False, **shared)
    sns.heatmap(100 * shares, ax=right, annot=True, fmt=".1f", vmin=0, vmax=100, cbar=False, **shared)
    left.tick_params("y", rotation=0)
    right.tick_params("y", rotation=0)
    left.set(title="Radiographs", xlabel="predicted class", ylabel="true class")
    right.set(title="Share of the true class (%)", xlabel="predicted class", ylabel="true class")
    return figure


@look.styled
def outcome_counts(table: pd.DataFrame):
    """True and false positives and negatives a class; ``table`` is indexed by class."""
    figure, axes = look.subplots(6.5, 3)
    shown = {"TP": "true positives", "FP": "false positives", "FN": "false negatives", "TN": "true negatives"}
    look.grouped_bars(axes, table[list(shown)].rename(columns=shown).T, "%d")
    axes.set(title="Outcomes of each class against the rest", ylabel="radiographs")
    return figure


@look.styled
def per_class_scores(table: pd.DataFrame):
    """Precision, recall, F1 and average precision a class; ``table`` is indexed by class."""
    shown = {"precision": "precision", "recall": "recall", "f1": "F1"}
    shown |= {"average_precision": "average precision"}
    figure, axes = look.subplots(6.5, 3)
    look.grouped_bars(axes, table[list(shown)].rename(columns=shown).T, "%.2f")
    axes.set(title="Scores of each class", ylabel="score", ylim=(0, 1.08))
    return figure


@look.styled
def f1_by_threshold(table: pd.DataFrame, thresholds: pd.Series):
    """F1 of each class over the threshold from which it is called, chosen thresholds marked.

    ``table`` has the columns class, threshold and f1; ``thresholds`` is indexed by class.
    """
    figure, axes = look.subplots(5.5, 3)
    for name, colour in look.class_colours(table["class"].unique()).items():
        curve = table[table["class"] == name]
        axes.step(curve["threshold"], curve["f1"], where="pre", color=colour, label=name)
        axes.axvline(thresholds[name], color=colour, linestyle=":", linewidth=1.2)
    axes.set(title="F1 of each class against the rest, by threshold", xlim=(0, 1), ylim=(0, 1.02))
    axes.set(xlabel="the class is called from this probability on (dotted: best on validation)", ylabel="F1")
    axes.legend()
    return figure


@look.styled
def reliability(tables: dict[str, pd.DataFrame]):
    """How often answers of each confidence are right, a diagram for each of some sets of probabilities.

    The tables have the columns confidence, accuracy, low, high and images; a dot's area is its share of
    the images, and dots below the diagonal are too sure.
    """
    figure, axes = look.subplots(3.6 * len(tables), 3.4, columns=len(tables))
    for each, (title, table) in zip(np.atleast_1d(axes), tables.items(), strict=True):
        each.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
        each.vlines(table["confidence"], table["low"], table["high"], color="#0072B2", linewidth=1)
        each.scatter(
            table["confidence"], table["accuracy"], 400 * table["images"] / table["images"].sum() + 8
        )
        each.set(title=title, xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    return figure


@look.styled
def risk_coverage(table: pd.DataFrame):
    """Share of errors over the share of images answered, with its band.

    ``table`` has the columns coverage, risk, low and high.
    """
    figure, axes = look.subplots(5.5, 3)
    axes.fill_between(table["coverage"], table["low"], table["high"], alpha=0.2, linewidth=0)
    axes.plot(table["coverage"], table["risk"])
    axes.set(title="Errors where the least confident answers are withheld", xlim=(0, 1), ylim=(0, None))
    axes.set(xlabel="share of radiographs answered", ylabel="share of the answers that is wrong")
    return figure
