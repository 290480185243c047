"""Figures of runs side by side."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import Patch

from . import look


@look.styled
def compare_scores(table: pd.DataFrame, score: str):
    """A score of every run with its interval, the best on top.

    ``table`` has the columns run, value, low and high; ``score`` is what the axis says.
    """
    figure, axes = _intervals(table.sort_values("value", kind="stable"), "run")
    axes.set(title=f"Runs by {score}, with their intervals", xlabel=score)
    return figure


@look.styled
def differences(table: pd.DataFrame, score: str = "score"):
    """Differences between runs with their intervals; an interval across zero may be chance.

    ``table`` has the columns pair, value, low and high; the first row comes on top.
    """
    figure, axes = _intervals(table.iloc[::-1], "pair")
    axes.axvline(0, color="black", linewidth=1)
    axes.set(title=f"Differences in {score}", xlabel=f"difference in {score}")
    return figure


@look.styled
def score_by_size(table: pd.DataFrame, score: str):
    """A score with its interval over the size of the network, a colour a starting point.

    ``table`` has the columns run, value, low, high, parameters (count) and weights (the colour).
    """
    figure, axes = look.subplots(6.5, 3.6)
    palette = dict(zip(table.weights.unique(), sns.color_palette("colorblind"), strict=False))
    for _, alike in table.sort_values("value", ascending=False).groupby("parameters"):
        for number, row in enumerate(alike.itertuples()):  # of one size: side by side, the best on the left
            place = row.parameters * 1.07 ** (number - (len(alike) - 1) / 2)
            error = [[row.value - row.low], [row.high - row.value]]
            axes.errorbar(place, row.value, error, fmt="o", color=palette[row.weights], capsize=2)
        names = "\n".join(alike.run)  # the best one on top, and on the left
        axes.annotate(names, (place, alike.high.max()), xytext=(5, 3), textcoords="offset points", fontsize=7)
    axes.set(xscale="log", xlabel="parameters of the network", ylabel=score)
    axes.set_title(f"{score[0].upper()}{score[1:]} by size of the network")
    axes.margins(x=0.25)
    handles = [Patch(color=colour, label=name) for name, colour in palette.items()]
    axes.legend(handles=handles, title="starting weights", loc="lower right")
    return figure


def _intervals(table, column):
    """A dot and its interval a row, the first row at the bottom."""
    figure, axes = look.subplots(6.5, 1.1 + 0.28 * len(table))
    places = np.arange(len(table))
    axes.hlines(places, table["low"], table["high"], color="0.6", linewidth=2.5)
    axes.plot(table["value"], places, "o", color="#0072B2")
    axes.set_yticks(places, table[column])
    axes.set_ylim(-0.6, len(table) - 0.4)
    axes.grid(axis="y", visible=False)
    return figure, axes
