"""Figures of the evaluation of one run."""

import numpy as np
import pandas as pd
import seaborn as sns

from . import look


@look.styled
def precision_recall_curves(curves: pd.DataFrame, bands: pd.DataFrame | None = None):
    """Return the curve of each class and of all together, over faint lines of equal F1.

    ``curves`` has the columns curve, precision, recall and average_precision; ``bands`` has curve, recall,
    low and high.
    """
    figure, axes = look.subplots(4.8, 4.2)
    recall = np.linspace(0.01, 1, 200)
    for f1 in (0.4, 0.6, 0.8):
        reached = recall[recall > f1 / (2 - f1)]  # below this recall no precision gives the F1
        axes.plot(reached, f1 * reached / (2 * reached - f1), color="0.85", linewidth=0.8, zorder=1)
        axes.text(f1, f1, f"F1 {f1}", ha="center", color="0.5", fontsize=7, backgroundcolor="white")
    names = [name for name in curves["curve"].unique() if name != "micro"]
    colours = look.class_colours(names) | {"micro": "black"}
    for name, curve in curves.groupby("curve", sort=False):
        label = f"{name}, AP {curve['average_precision'].iloc[0]:.3f}"
        line = {"color": colours[name], "label": label, "linestyle": "--" if name == "micro" else "-"}
        axes.step(curve["recall"], curve["precision"], where="post", **line)
    for name, band in [] if bands is None else bands.groupby("curve", sort=False):
        axes.fill_between(band.recall, band.low, band.high, color=colours[name], alpha=0.15, linewidth=0)
    axes.set(
        title="Precision and recall", xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02)
    )
    axes.legend(loc="lower left")
    return figure


@look.styled
def confusion_matrices(confusion, classes):
    """Return a confusion matrix (C, C), rows true, as counts and as shares of each true class."""
    confusion = np.asarray(confusion)
    shares = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure, axes = look.subplots(7.2, 3.2, columns=2)
    shared = {"cmap": "Blues", "xticklabels": classes, "yticklabels": classes, "square": True}
    shared |= {"linewidths": 1, "annot": True, "annot_kws": {"size": 10}, "vmin": 0, "cbar": False}
    sns.heatmap(confusion, ax=axes[0], fmt="d", **shared)
    sns.heatmap(shares, ax=axes[1], fmt=".1f", vmax=100, **shared)
    for each, title in zip(axes, ("Radiographs", "Share of the true class (%)"), strict=True):
        each.tick_params("y", rotation=0)
        each.set(title=title, xlabel="predicted class", ylabel="true class")
    return figure


@look.styled
def outcome_counts(table: pd.DataFrame):
    """Return bars of the columns TP, FP, FN and TN of a table indexed by class."""
    names = {"TP": "true positives", "FP": "false positives", "FN": "false negatives", "TN": "true negatives"}
    figure, axes = look.subplots(6.5, 3)
    look.grouped_bars(axes, table[list(names)].rename(columns=names).T)
    axes.set(title="Outcomes of each class against the rest", ylabel="radiographs")
    return figure


@look.styled
def f1_by_threshold(table: pd.DataFrame, thresholds: pd.Series):
    """Return the F1 of each class over the threshold from which it is predicted, with the chosen thresholds.

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
    """Return a reliability diagram for each table, from confidence, accuracy, low, high and images.

    The area of a dot is its share of the images; dots below the diagonal are overconfident.
    """
    figure, axes = look.subplots(3.6 * len(tables), 3.4, columns=len(tables), squeeze=False)
    for each, (title, table) in zip(axes[0], tables.items(), strict=True):
        areas = 400 * table["images"] / table["images"].sum() + 8
        each.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
        each.vlines(table["confidence"], table["low"], table["high"], color=look.BLUE, linewidth=1)
        each.scatter(table["confidence"], table["accuracy"], areas)
        each.set(title=title, xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    return figure


@look.styled
def risk_coverage(table: pd.DataFrame):
    """Return the risk with its band over the coverage, from the columns coverage, risk, low and high."""
    figure, axes = look.subplots(5.5, 3)
    axes.fill_between(table["coverage"], table["low"], table["high"], alpha=0.2, linewidth=0)
    axes.plot(table["coverage"], table["risk"])
    axes.set(title="Errors where the least confident answers are withheld", xlim=(0, 1), ylim=(0, None))
    axes.set(xlabel="share of radiographs answered", ylabel="share of the answers that is wrong")
    return figure
