"""Figures of runs: learning curves, scores side by side, and sweeps."""

import textwrap

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from . import look


@look.styled
def learning_curves(history: pd.DataFrame):
    """Return the losses, validation F1 and learning rate by epoch, with the best epoch marked.

    ``history`` has the columns epoch, sample_loss (of training images, measured like val_loss), val_loss,
    val_f1 and lr.
    """
    figure, (losses, f1, rate) = look.subplots(9, 2.7, columns=3)
    for axes, column, label, colour in (
        (losses, "sample_loss", "training", look.GREY),
        (losses, "val_loss", "validation", look.BLUE),
        (f1, "val_f1", None, look.BLUE),
        (rate, "lr", None, look.GREY),
    ):
        axes.plot(history["epoch"], history[column], marker=".", label=label, color=colour)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    losses.set(title="Loss of training and validation images", xlabel="epoch", ylabel="loss (nats)")
    losses.legend()
    f1.set(title="Validation F1", xlabel="epoch", ylabel="F1")
    rate.set(title="Learning rate", xlabel="epoch", ylabel="learning rate (log scale)", yscale="log")
    best = history.loc[history["val_f1"].idxmax()]
    f1.axvline(best["epoch"], color=look.GREY, linestyle=":", linewidth=1)
    f1.set_title(f"Validation F1, best {best['val_f1']:.3f} at epoch {best['epoch']:.0f}")
    return figure


@look.styled
def compare_scores(table: pd.DataFrame, score: str):
    """Return a score of each run with its interval, best first, from the columns run, value, low and high."""
    figure, axes = _intervals(table.sort_values("value", kind="stable"), "run")
    title = f"{score[0].upper()}{score[1:]}, with 95 % intervals"
    axes.set(title=title, xlabel=f"{score}; higher is better")
    return figure


@look.styled
def beside_published(table: pd.DataFrame, score: str):
    """Return a score with its interval, and those of others without one, from run, value, low and high."""
    figure, axes = _intervals(table.iloc[::-1], "run", width=6.5)
    others = table.low.iloc[::-1].isna().to_numpy()
    axes.plot(
        table.value.iloc[::-1][others], np.flatnonzero(others), "s", color="white", markeredgecolor=look.GREY
    )
    axes.set(
        xlabel=f"{score}; higher is better", title="Dots: this report. Squares: published, without intervals"
    )
    return figure


@look.styled
def panels_of_runs(panels: dict[str, pd.DataFrame]):
    """Return a panel for each measure, with the runs of the first one in rows, its first at the top.

    ``panels`` has by its title a table with the columns run, kind (which has a colour), value,
    low and high.
    """
    runs = list(dict.fromkeys(next(iter(panels.values())).run))[::-1]
    size = 3 + 2.4 * len(panels), 1.8 + 0.3 * len(runs)
    figure, axes = look.subplots(*size, columns=len(panels), squeeze=False)
    for place, (label, table) in enumerate(panels.items()):
        own = axes[0, place]
        for number, (kind, each) in enumerate(table.groupby("kind", sort=False)):
            rows = each.run.map(runs.index) + 0.2 * ((table.kind.nunique() - 1) / 2 - number)
            error = [each.value - each.low, each.high - each.value]
            own.errorbar(each.value, rows, xerr=error, fmt="o", markersize=4, label=kind)
        look.name_rows(own, [""] * len(runs) if place else runs)
        own.set_title("\n".join(line for part in label.split("; ") for line in textwrap.wrap(part, 26)))
        own.legend(loc="upper left", bbox_to_anchor=(0, -0.12), fontsize=7)
    return figure


@look.styled
def differences(table: pd.DataFrame, score: str = "score"):
    """Return differences with their intervals and a line at 0, from the columns pair, value, low and high."""
    figure, axes = _intervals(table.iloc[::-1], "pair")
    axes.axvline(0, color="black", linewidth=1)
    axes.set(title=f"Difference in {score}, with 95 % intervals", xlabel=f"difference in {score}")
    return figure


def _intervals(table, column, width=9):
    """A dot and its interval for each row, the first at the bottom."""
    figure, axes = look.subplots(width, 1.1 + 0.28 * len(table))
    places = np.arange(len(table))
    axes.hlines(places, table["low"], table["high"], color="0.6", linewidth=2.5)
    axes.plot(table["value"], places, "o", color=look.BLUE)
    look.name_rows(axes, table[column])
    return figure, axes


@look.styled
def score_by_size(table: pd.DataFrame, score: str):
    """Return a score with its interval over the size of each network: shapes are networks, colours weights.

    ``table`` has the columns backbone, value, low, high, parameters (count) and weights.
    """
    figure, axes = look.subplots(7.5, 3.6)
    colours = dict(zip(table.weights.unique(), sns.color_palette("colorblind"), strict=False))
    axes.vlines(table.parameters, table.low, table.high, table.weights.map(colours), linewidth=1, alpha=0.5)
    shown = {"palette": colours, "s": 45, "alpha": 0.7}
    sns.scatterplot(table, x="parameters", y="value", hue="weights", style="backbone", ax=axes, **shown)
    axes.set(xscale="log", xlabel="parameters of the network (log scale)")
    axes.margins(x=0.1)  # room for a round number beyond the smallest network
    axes.set(
        ylabel=f"{score}; higher is better", title=f"{score[0].upper()}{score[1:]} by size of the network"
    )
    axes.set_xticks(_round_sizes(*axes.get_xlim()))
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.xaxis.set_minor_formatter(NullFormatter())
    sns.move_legend(axes, "center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def _round_sizes(low, high):
    """As many round numbers from low to high as have a tenth of a logarithmic axis between them."""
    linear = (MaxNLocator(most, steps=[1, 2, 5, 10]) for most in (7, 5, 3))
    fitting = [[]]
    for locator in (*linear, LogLocator(subs=(1, 2, 5)), LogLocator(numticks=7)):
        found = [each for each in locator.tick_values(low, high) if low <= each <= high]
        if found and (np.diff(np.log(found)) > 0.1 * np.log(high / low)).all():
            fitting.append(found)
    return max(fitting, key=len)


@look.styled
def sweep_scores(table: pd.DataFrame, varied: list[str], score: str, title: str):
    """Return a score of a sweep's settings by their values, the mean over seeds.

    ``table`` has a row per run, a column for each varied value (without the seed), setting, and the score.
    Two values in every combination give a heat map, anything else gives a row of dots per setting.
    """
    means = table.groupby("setting", sort=False).agg({**dict.fromkeys(varied, "first"), score: "mean"})
    if len(varied) == 2 and len(means) == means[varied[0]].nunique() * means[varied[1]].nunique():
        return _heat_map(means, varied, score, title)
    return _settings(table, score, title)[0]


@look.styled
def seed_spread(table: pd.DataFrame):
    """Return validation F1, and test F1 with intervals, of each run in rows of settings, best first.

    ``table`` has the columns setting, validation_f1, value, low and high (of test).
    """
    figure, axes, rows = _settings(table, "validation_f1", "validation F1", above=0.12)
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
