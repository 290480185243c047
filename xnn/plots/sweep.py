"""Figures of a sweep: a score by the values that its runs were given."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import Normalize

from . import look


@look.styled
def sweep_scores(table: pd.DataFrame, varied: list[str], score: str, title: str):
    """A score of a sweep's settings by their values, the mean over seeds.

    ``table`` has a row a run, with a column for each of the varied values (without the seed), setting, and
    the score's column. Two varied values, every pair of them met: a heat map; more: parallel coordinates;
    one, or pairs that are no grid: a row of dots a setting.
    """
    means = table.groupby("setting", sort=False).agg({**dict.fromkeys(varied, "first"), score: "mean"})
    if len(varied) == 2 and len(means) == means[varied[0]].nunique() * means[varied[1]].nunique():
        return _heat_map(means, varied, score, title)
    return _parallel(means, varied, score, title) if len(varied) > 2 else _dots(table, score, title)


def _heat_map(means, varied, score, title):
    square = means.pivot(index=varied[0], columns=varied[1], values=score)
    figure, axes = look.subplots(1.6 + 1.1 * square.shape[1], 1.2 + 0.5 * square.shape[0])
    sns.heatmap(square, annot=True, fmt=".3f", cmap="viridis", ax=axes, cbar=False)
    axes.set(title=f"{title[0].upper()}{title[1:]}, mean over seeds", xlabel=varied[1], ylabel=varied[0])
    axes.tick_params(axis="y", rotation=0)
    return figure


def _parallel(means, varied, score, title):
    """A line a setting across one axis a value; the colour and the last axis are the score."""
    figure, axes = look.subplots(2 + 1.4 * len(varied), 3.6)
    places = {name: _place(means[name]) for name in varied} | {score: _scale(means[score])}
    norm = Normalize(means[score].min(), means[score].max())
    colours = sns.color_palette("viridis", as_cmap=True)
    heights = np.column_stack([places[name][0] for name in places])
    for line, value in zip(heights, means[score], strict=True):
        axes.plot(line, color=colours(norm(value)), marker="o", markersize=3)
    for x, (_, ticks) in enumerate(places.values()):
        for height, text in ticks:
            axes.annotate(text, (x, height), xytext=(4, 3), textcoords="offset points", fontsize=7)
    axes.set_xticks(range(len(places)), [*varied, title])
    axes.set(yticks=[], xlim=(-0.2, len(places) - 0.4), title=f"Settings and their {title}, mean over seeds")
    return figure


def _place(values):
    """Heights from 0 to 1 on an axis, and its ticks; equal steps between the values that there are."""
    if values.nunique() > 6 and pd.api.types.is_numeric_dtype(values):
        return _scale(values)
    found = list(dict.fromkeys(sorted(values, key=lambda each: (isinstance(each, str), each))))
    steps = {value: number / max(1, len(found) - 1) for number, value in enumerate(found)}
    return values.map(steps), [(height, str(value)) for value, height in steps.items()]


def _scale(values):
    """Heights from 0 to 1 in proportion to the values, and four ticks."""
    low, span = values.min(), np.ptp(values) or 1
    ticks = np.linspace(low, low + span, 4)
    return (values - low) / span, [((tick - low) / span, f"{tick:.3g}") for tick in ticks]


@look.styled
def seed_spread(table: pd.DataFrame):
    """Validation and test F1 of every run, the latter with intervals; the best on validation on top.

    ``table`` has the columns setting, validation, value, low and high.
    """
    return _dots(table, "validation", "validation F1", test=True)


def _dots(table, score, title, test=False):
    order = table.groupby("setting", sort=False)[score].mean().sort_values(kind="stable").index
    figure, axes = look.subplots(6.5, 1.2 + 0.36 * len(order))
    rows = table.setting.map({name: place for place, name in enumerate(order)})
    axes.plot(table[score], rows + (0.12 if test else 0), "o", color="#0072B2", label=title)
    if test:
        shift = table.groupby("setting").cumcount() * 0.1 + 0.05  # of seeds: side by side
        error = [table.value - table.low, table.high - table.value]
        axes.errorbar(
            table.value,
            rows - shift,
            xerr=error,
            fmt="D",
            color="#D55E00",
            markersize=3.5,
            alpha=0.8,
            label="weighted F1, test",
        )
        figure.legend(loc="outside right upper")
    axes.set_yticks(range(len(order)), order)
    axes.set(xlabel="F1, weighted by class" if test else title, title="Settings and their runs")
    axes.grid(axis="y", visible=False)
    return figure
