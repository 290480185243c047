"""Figures of explanations."""

import io
import textwrap

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patches import Patch

from . import look

RAISES, LOWERS = (255, 150, 20), (140, 70, 255)  # RGB of attributions above and below zero
FULL = 4.0  # multiple of a map's mean magnitude that is opaque, in every map, method and run
WORDS = 19  # characters per line below a picture
CONTROLS = ("random", "sobel", "centre", "other_patient")  # whose maps do not depend on the network
PERCENT = 0.01  # of the image's area: the unit that a map's colours are read in
COVER = 0.75  # opacity at the end of the colour scale
CONTROL_COLOUR = "0.55"


def opacity(attribution) -> np.ndarray:
    """Return the opacity of each pixel of a map, 0 to 1: its magnitude over FULL times the mean magnitude.

    This unit makes maps of different methods and networks comparable pixel by pixel.
    """
    size = np.abs(np.asarray(attribution, float))
    return np.clip(size / (FULL * (size.mean() or 1.0)), 0, 1)


def overlay(image, attribution) -> np.ndarray:
    """Return an attribution over its radiograph, (H, W, 3) uint8: orange raises the score, purple lowers it.

    ``image`` (H, W) is grey, black 0, white 255; ``attribution`` (H, W) is signed, and clear at zero.
    """
    image, attribution = np.asarray(image, float), np.asarray(attribution, float)
    cover = opacity(attribution)[..., None]
    colour = np.where(attribution[..., None] > 0, RAISES, LOWERS)
    dimmed = 0.8 * image[..., None]  # so that colours stand out on white bone
    return np.clip((1 - cover) * dimmed + cover * colour, 0, 255).astype(np.uint8)


@look.styled
def cases(images, maps, titles, captions, lungs=None, zones: pd.DataFrame | None = None):
    """Return a row for each radiograph: with its lung outline, with its map, and its lung zones as bars.

    All maps share one symmetric scale, in log-odds for 1 % of the image's area.

    Parameters
    ----------
    images : (N, H, W) grey, 0 to 255.
    maps : (N, H, W) attributions in log-odds per pixel, smoothed.
    titles, captions : N texts, above and below a radiograph.
    lungs : (N, H, W) bool, if they are known.
    zones : (N, Z) contributions in log-odds, columns the names of the zones.
    """
    if not len(images):
        return look.nothing()
    columns = 2 if zones is None else 3
    figure, axes = look.subplots(3.5 * columns, 3.7 * len(images), len(images), columns, squeeze=False)
    maps = np.asarray(maps, float) * PERCENT * maps[0].size
    limit = np.quantile(np.abs(maps), 0.999) or 1.0
    colours = LinearSegmentedColormap.from_list("", [np.divide(c, 255) for c in (LOWERS, (255,) * 3, RAISES)])
    for row, (left, right, *bars) in enumerate(axes):
        look.show(left, images[row], titles[row], captions[row])
        look.show(right, 0.8 * images[row])
        cover = COVER * np.clip(2 * np.abs(maps[row]) / limit, 0, 1)
        right.imshow(np.where(maps[row] > 0, 1.0, -1.0), cmap=colours, vmin=-1, vmax=1, alpha=cover)
        if lungs is not None and lungs[row].any():
            left.contour(lungs[row], [0.5], colors="white", linewidths=0.8)
            right.contour(lungs[row], [0.5], colors="white", linewidths=0.5)
        if bars:
            _zones(bars[0], zones.iloc[row])
    scale = ScalarMappable(Normalize(-limit, limit), colours)
    bar = figure.colorbar(scale, ax=axes[-1, 1], location="bottom", shrink=0.8)
    bar.ax.set_title("log-odds for 1 % of the image", fontsize=8)
    return figure


def _zones(axes, contributions):
    """Draw what each lung zone adds to the evidence."""
    order = contributions[::-1]
    colours = [np.divide(RAISES if value > 0 else LOWERS, 255) for value in order]
    bars = axes.barh(order.index, order, color=colours)
    axes.bar_label(bars, fmt="%+.1f", padding=2, fontsize=8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.margins(x=0.25)
    axes.grid(axis="y", visible=False)
    axes.set_title(f"{contributions.sum():+.1f} log-odds from its blurred copy", fontsize=9)


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


def photograph(figure):
    """Return a figure of many radiographs as a JPEG for a page: noisy maps make a PNG four times as large."""
    from IPython.display import Image

    file = io.BytesIO()
    figure.savefig(file, format="jpeg", bbox_inches="tight", dpi=110, pil_kwargs={"quality": 80})
    return Image(file.getvalue(), format="jpeg")


@look.styled
def card(table: pd.DataFrame, columns: int = 4):
    """Return a panel for each measure: a dot with its interval for each method, controls and their band grey.

    ``table`` has the columns method, measure, value, low and high.
    """
    names, methods = list(dict.fromkeys(table.measure)), list(dict.fromkeys(table.method))[::-1]
    rows = -(-len(names) // columns)
    figure, axes = look.subplots(2.3 * columns, rows * (0.5 + 0.17 * len(methods)), rows, columns)
    for axis, name in zip(look.first(axes, len(names)), names, strict=True):
        part = table[table.measure == name]
        controls = part[part.method.isin(CONTROLS)]
        if len(controls):
            axis.axvspan(controls.low.min(), controls.high.max(), color="0.92")
        for row in part.itertuples():
            place, colour = methods.index(row.method), CONTROL_COLOUR if row.method in CONTROLS else look.BLUE
            axis.hlines(place, row.low, row.high, color=colour, linewidth=2)
            axis.plot(row.value, place, "o", color=colour, markersize=4)
        look.name_rows(axis, [method.replace("_", " ") for method in methods])
        axis.set_title(name.replace("_", " "), fontsize=9)
        axis.tick_params(labelleft=axis.get_subplotspec().is_first_col())
    return figure


@look.styled
def insertion_deletion(curves: dict):
    """Return the mean curves of insertion and deletion for each method, the controls grey.

    ``curves`` has shares (S,), insertion (N, S) and deletion (N, S) by method.
    """
    figure, axes = look.subplots(7.5, 3, columns=2)
    colours, dashes = iter(sns.color_palette("colorblind", len(curves))), iter(["--", ":", "-.", "-"])
    for name, (shares, *pair) in curves.items():
        control = name in CONTROLS
        line = {"color": CONTROL_COLOUR if control else next(colours), "ls": next(dashes) if control else "-"}
        for axis, found in zip(axes, pair, strict=True):
            axis.plot(100 * shares, found.mean(axis=0), label=name.replace("_", " "), **line)
    for axis, title in zip(axes, ("Insertion (into the blurred image)", "Deletion (to grey)"), strict=True):
        axis.set(title=title, xlabel="area (%)", ylabel="probability of the class", ylim=(0, 1))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")
    return figure
