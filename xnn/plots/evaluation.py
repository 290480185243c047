"""Figures of the evaluation of one run."""

import numpy as np
import pandas as pd
import seaborn as sns

from . import look


@look.styled
def precision_recall_curves(curves: pd.DataFrame):
    """A curve a class and one of all together, over faint lines of equal F1.

    ``curves`` has the columns curve, precision, recall and average_precision.
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
        dashes = "--" if name == "micro" else "-"
        axes.step(
            curve["recall"],
            curve["precision"],
            dashes,
            where="post",
            color=colours[name],
            label=label,
        )
    axes.set(title="Precision and recall", xlabel="recall", ylabel="precision")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
    axes.legend(loc="lower left")
    return figure


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
    """True positives, false positives and false negatives a class; ``table`` is indexed by class.

    True negatives would dwarf the rest and are left out.
    """
    figure, axes = look.subplots(5.5, 3)
    shown = {"TP": "true positives", "FP": "false positives", "FN": "false negatives"}
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
