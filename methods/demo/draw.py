"""Figures of the pages on methods."""

import textwrap

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import Patch

from xnn.plots import look
from xnn.plots.explanation import FULL, LOWERS, RAISES, overlay

WORDS = 19  # characters per line below a picture
MARKERS = "osD^vPX*"  # so that lines differ without colour as well


@look.styled
def lines(panels: dict[str, pd.DataFrame], x: str, y: str, log: str = "", bottom: float | None = None):
    """Return a figure with one panel per table and one line per column; all panels share their y axis.

    Parameters
    ----------
    panels : title to table; all have the same columns, and the index is the x axis.
    x, y : axis labels.
    log : the logarithmic axes, "x", "y" or "xy".
    bottom : lower limit of the y axis.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = look.subplots(1.5 + 3 * columns, 0.4 + 2.5 * rows, rows, columns)
    axes = np.atleast_1d(axes).flatten()
    for spare in axes[len(panels) :]:
        spare.remove()
    for axis, (title, table) in zip(axes, panels.items(), strict=False):
        colours = sns.color_palette("colorblind", len(table.columns))
        for name, colour, marker in zip(table, colours, MARKERS, strict=False):
            few = marker if len(table) <= 20 else None
            axis.plot(table.index, table[name], marker=few, markersize=4, color=colour, label=name)
        place = axis.get_subplotspec()
        axis.set(
            title=title, xlabel=x if place.is_last_row() else "", ylabel=y if place.is_first_col() else ""
        )
        axis.set(**{f"{name}scale": "log" for name in log})
        if "x" in log:
            axis.set_xticks(table.index, [f"{place:g}" for place in table.index])
            axis.minorticks_off()
        if axis is not axes[0]:
            axis.sharey(axes[0])
    axes[0].autoscale(axis="y")  # to the points of all panels
    if bottom is not None:
        axes[0].set_ylim(bottom=bottom)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
    return figure


@look.styled
def path(places, logits, slopes: dict):
    """Return a figure of the logit on the path from baseline to image and of its slope, one line per network.

    `logits` and `slopes` map the network's name to (n,) values at `places` (n,).
    """
    figure, (left, right) = look.subplots(7.5, 2.8, 1, 2)
    for name, colour in zip(logits, sns.color_palette("colorblind"), strict=False):
        left.plot(places, logits[name], color=colour, label=name)
        right.plot(places, slopes[name], color=colour, linewidth=0.8)
    left.set(title="The logit", ylabel="logit")
    right.set(title="Its slope, gradient · (x − x′)", ylabel="logits a unit of the way")
    for axis in (left, right):
        axis.set_xlabel("way from baseline (0) to image (1)")
    left.legend()
    return figure


@look.styled
def bars(table: pd.DataFrame, units: dict[str, tuple[float, str]]):
    """Return horizontal bars, first row on top, one panel per column in `units` (unit and axis label)."""
    figure, axes = look.subplots(9, 0.8 + 0.22 * len(table), 1, len(units))
    for axis, (name, (unit, text)), colour in zip(axes, units.items(), ("#0072B2", "#D55E00"), strict=False):
        drawn = axis.barh(range(len(table)), table[name] / unit, color=colour, height=0.7)
        axis.bar_label(drawn, fmt="%.2f", fontsize=7, padding=2)
        axis.set_yticks(range(len(table)), table.index if axis is axes[0] else [""] * len(table))
        axis.invert_yaxis()
        axis.set(xlabel=text)
        axis.margins(x=0.12)
        axis.grid(axis="y", visible=False)
    return figure


@look.styled
def scatters(panels: dict, columns: int = 3):
    """Return scatter plots of points (N, 2), one panel per entry, coloured by order."""
    figure, axes = look.sheet(len(panels), columns, 2.1)
    for axis, (title, points) in zip(axes, panels.items(), strict=True):
        axis.scatter(*points.T, c=range(len(points)), cmap="viridis", s=3)
        axis.set(xticks=[], yticks=[], title=title, frame_on=False)
        axis.set_aspect("equal", adjustable="datalim")
    return figure


@look.styled
def pictures(images: dict, columns: int = 4):
    """Return a sheet of titled images (H, W) or (H, W, 3), each from 0 to its own maximum."""
    figure, axes = look.sheet(len(images), columns, 2)
    for axis, (title, image) in zip(axes, images.items(), strict=True):
        look.show(axis, image, title, white=image.max())
    return figure


@look.styled
def overlay_table(images, maps: dict, titles):
    """Return a row for each radiograph (N, H, W) and title, with a column of overlays for each of ``maps``.

    ``maps`` has (N, H, W) attributions by name, or (attributions, N captions).
    """
    if not len(images):
        return look.nothing()
    columns = 1 + len(maps)
    figure, axes = look.sheet(columns * len(images), columns, 1.3)
    axes = axes.reshape(-1, columns)
    for cell, image, title in zip(axes[:, 0], images, titles, strict=True):
        look.show(cell, image, caption=textwrap.fill(title, WORDS))
    for column, (name, given) in zip(axes.T[1:], maps.items(), strict=True):
        attributions, captions = given if isinstance(given, tuple) else (given, [""] * len(images))
        for cell, image, each, caption in zip(column, images, attributions, captions, strict=True):
            title = name.replace("_", " ") if cell is column[0] else ""
            look.show(cell, overlay(image, each), title, textwrap.fill(caption, WORDS))
    _key(figure)
    return figure


def _key(figure):
    keys = {"raises the class's score": RAISES, "lowers it": LOWERS}
    patches = [Patch(color=np.divide(rgb, 255), label=text) for text, rgb in keys.items()]
    scale = Patch(color="white", label=f"opaque from {FULL:g} times the map's mean magnitude")
    figure.legend(handles=[*patches, scale], loc="outside lower center", ncols=3, frameon=False)
