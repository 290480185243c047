"""Figures of runs: learning curves, scores side by side, and sweeps."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import Normalize
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from . import look


@look.styled
def learning_curves(history: pd.DataFrame):
    """Return the losses, validation F1 and learning rate by epoch, with the best epoch marked.

    ``history`` has the columns epoch, train_loss, val_loss, val_f1 and lr; cells may be empty.
    """
    figure, (losses, f1, rate) = look.subplots(9, 2.7, columns=3)
    for axes, column, label, colour in (
        (losses, "train_loss", "training", look.GREY),
        (losses, "val_loss", "validation", look.BLUE),
        (f1, "val_f1", None, look.BLUE),
        (rate, "lr", None, look.GREY),
    ):
        drawn = history[["epoch", column]].dropna()
        axes.plot(drawn["epoch"], drawn[column], marker=".", label=label, color=colour)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    losses.set(title="Loss", xlabel="epoch", ylabel="loss (nats)")
    losses.legend()
    f1.set(title="Validation F1", xlabel="epoch", ylabel="F1")
    rate.set(title="Learning rate", xlabel="epoch", ylabel="learning rate (log scale)", yscale="log")
    if history["val_f1"].notna().any():
        best = history.loc[history["val_f1"].idxmax()]
        f1.axvline(best["epoch"], color=look.GREY, linestyle=":", linewidth=1)
        f1.set_title(f"Validation F1, best {best['val_f1']:.3f} at epoch {best['epoch']:.0f}")
    return figure


@look.styled
def compare_scores(table: pd.DataFrame, score: str):
    """Return a score of each run with its interval, best first, from the columns run, value, low and high."""
    figure, axes = _intervals(table.sort_values("value", kind="stable"), "run")
    axes.set(title=f"Runs by {score}, with their intervals", xlabel=score)
    return figure


@look.styled
def beside_published(table: pd.DataFrame, score: str):
    """Return a score with its interval, and those of others without one, from run, value, low and high."""
    figure, axes = _intervals(table.iloc[::-1], "run")
    others = table.low.iloc[::-1].isna().to_numpy()
    axes.plot(
        table.value.iloc[::-1][others], np.flatnonzero(others), "s", color="white", markeredgecolor=look.GREY
    )
    axes.set(
        xlabel=f"{score}; higher is better", title="Dots: this report. Squares: published, without intervals"
    )
    return figure


@look.styled
def differences(table: pd.DataFrame, score: str = "score"):
    """Return differences with their intervals and a line at 0, from the columns pair, value, low and high."""
    figure, axes = _intervals(table.iloc[::-1], "pair")
    axes.axvline(0, color="black", linewidth=1)
    axes.set(title=f"Differences in {score}", xlabel=f"difference in {score}")
    return figure


def _intervals(table, column):
    """A dot and its interval for each row, the first at the bottom."""
    figure, axes = look.subplots(6.5, 1.1 + 0.28 * len(table))
    places = np.arange(len(table))
    axes.hlines(places, table["low"], table["high"], color="0.6", linewidth=2.5)
    axes.plot(table["value"], places, "o", color=look.BLUE)
    look.name_rows(axes, table[column])
    return figure, axes


@look.styled
def score_by_size(table: pd.DataFrame, score: str):
    """Return a score with its interval over the size of each network, coloured by starting weights.

    ``table`` has the columns run, value, low, high, parameters (count) and weights.
    """
    figure, axes = look.subplots(6.5, 3.6)
    palette = dict(zip(table.weights.unique(), sns.color_palette("colorblind"), strict=False))
    for place, alike in table.sort_values("value", ascending=False).groupby("parameters"):
        for row in alike.itertuples():
            error = [[row.value - row.low], [row.high - row.value]]
            axes.errorbar(place, row.value, error, fmt="o", color=palette[row.weights], capsize=2, alpha=0.6)
        others = f"\nand {len(alike) - 1} more" if len(alike) > 1 else ""
        beside = {"xytext": (8, 0), "textcoords": "offset points", "fontsize": 7, "va": "center"}
        axes.annotate(f"{alike.run.iloc[0]}{others}", (place, alike.value.iloc[0]), **beside)
    axes.set(
        xscale="log", xlabel="parameters of the network (log scale)", ylabel=f"{score}; higher is better"
    )
    axes.set_title(f"{score[0].upper()}{score[1:]} by size of the network")
    axes.margins(x=0.3)
    handles = [Patch(color=colour, label=name) for name, colour in palette.items()]
    axes.legend(handles=handles, title="starting weights", loc="lower right")
    return figure


@look.styled
def sweep_scores(table: pd.DataFrame, varied: list[str], score: str, title: str):
    """Return a score of a sweep's settings by their values, the mean over seeds.

    ``table`` has a row per run, a column for each varied value (without the seed), setting, and the score.
    Two values in every combination give a heat map, more than two give parallel coordinates, and anything
    else gives a row of dots per setting.
    """
    means = table.groupby("setting", sort=False).agg({**dict.fromkeys(varied, "first"), score: "mean"})
    if len(varied) == 2 and len(means) == means[varied[0]].nunique() * means[varied[1]].nunique():
        return _heat_map(means, varied, score, title)
    return _parallel(means, varied, score, title) if len(varied) > 2 else _settings(table, score, title)[0]


@look.styled
def seed_spread(table: pd.DataFrame):
    """Return validation F1, and test F1 with intervals, of each run in rows of settings, best first.

    ``table`` has the columns setting, validation, value, low and high (of test).
    """
    figure, axes, rows = _settings(table, "validation", "validation F1", above=0.12)
    below = table.groupby("setting").cumcount() * 0.1 + 0.05  # seeds side by side
    error = [table.value - table.low, table.high - table.value]
    dots = {"fmt": "D", "color": "#D55E00", "markersize": 3.5, "alpha": 0.8}
    axes.errorbar(table.value, rows - below, xerr=error, label="weighted F1, test", **dots)
    axes.set_xlabel("F1, weighted by class")
    figure.legend(loc="outside right upper")
    return figure


def _settings(table, score, title, above=0.0):
    """A row of dots for each setting, the best at the top; the figure, its axes, and the row of each run."""
    order = table.groupby("setting", sort=False)[score].mean().sort_values(kind="stable").index
    figure, axes = look.subplots(6.5, 1.2 + 0.36 * len(order))
    rows = table.setting.map({name: place for place, name in enumerate(order)})
    axes.plot(table[score], rows + above, "o", color=look.BLUE, label=title)
    axes.set_yticks(range(len(order)), order)
    axes.set(xlabel=title, title="Settings and their runs")
    axes.grid(axis="y", visible=False)
    return figure, axes, rows


def _heat_map(means, varied, score, title):
    square = means.pivot(index=varied[0], columns=varied[1], values=score)
    figure, axes = look.subplots(1.6 + 1.1 * square.shape[1], 1.2 + 0.5 * square.shape[0])
    sns.heatmap(square, annot=True, fmt=".3f", cmap="viridis", ax=axes, cbar=False)
    axes.set(title=f"{title[0].upper()}{title[1:]}, mean over seeds", xlabel=varied[1], ylabel=varied[0])
    axes.tick_params(axis="y", rotation=0)
    return figure


def _parallel(means, varied, score, title):
    """A line for each setting across an axis for each value; its colour and the last axis are the score."""
    figure, axes = look.subplots(2 + 1.4 * len(varied), 3.6)
    places = {name: _axis(means[name]) for name in varied} | {score: _axis(means[score], scaled=True)}
    norm = Normalize(means[score].min(), means[score].max())
    colours = sns.color_palette("viridis", as_cmap=True)
    heights = np.column_stack([height for height, _ in places.values()])
    for line, value in zip(heights, means[score], strict=True):
        axes.plot(line, color=colours(norm(value)), marker="o", markersize=3)
    for x, (_, ticks) in enumerate(places.values()):
        for height, text in ticks:
            axes.annotate(text, (x, height), xytext=(4, 3), textcoords="offset points", fontsize=7)
    axes.set_xticks(range(len(places)), [*varied, title])
    axes.set(yticks=[], xlim=(-0.2, len(places) - 0.4), title=f"Settings and their {title}, mean over seeds")
    return figure


def _axis(values, scaled=False):
    """Heights from 0 to 1 of values, in proportion if there are many and else in equal steps, and ticks."""
    if scaled or (values.nunique() > 6 and pd.api.types.is_numeric_dtype(values)):
        low, span = values.min(), np.ptp(values) or 1
        ticks = np.linspace(low, low + span, 4)
        return (values - low) / span, [((tick - low) / span, f"{tick:.3g}") for tick in ticks]
    distinct = sorted(set(values), key=lambda each: (isinstance(each, str), each))
    steps = {value: number / max(1, len(distinct) - 1) for number, value in enumerate(distinct)}
    return values.map(steps), [(height, str(value)) for value, height in steps.items()]
