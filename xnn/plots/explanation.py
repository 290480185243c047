"""Figures of explanations."""

import io

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize

from . import look

RAISES, LOWERS = (255, 150, 20), (140, 70, 255)  # RGB of attributions above and below zero
FULL = 4.0  # multiple of a map's mean magnitude that is opaque, in every map, method and run
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
def cases(images, maps: dict, titles, captions, lungs=None, zones: pd.DataFrame | None = None):
    """Return a row for each radiograph: with its lung outline, with each of its maps, its lung zones as bars.

    All rows share one symmetric scale for each column of maps: of the first in log-odds for 1 % of the
    image's area, of the others in shares of their largest value, since their units differ.

    Parameters
    ----------
    images : (N, H, W) grey, 0 to 255.
    maps : (N, H, W) attributions by name, smoothed; the first in log-odds per pixel.
    titles, captions : N texts, above and below a radiograph.
    lungs : (N, H, W) bool, if they are known.
    zones : (N, Z) contributions in log-odds, columns the names of the zones.
    """
    if not len(images):
        return look.nothing()
    columns = 1 + len(maps) + (zones is not None)
    figure, axes = look.subplots(3.4 * columns, 3.7 * len(images) + 0.5, len(images), columns, squeeze=False)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.1, wspace=0.01, hspace=0.02)
    for row, axis in enumerate(axes[:, 0]):
        look.show(axis, images[row], titles[row], captions[row])
    for number, (name, each) in enumerate(maps.items(), 1):
        unit = "log-odds for 1 % of the image" if number == 1 else "share of its largest value"
        title = name.replace("_", " ") + " (control)" * (name in CONTROLS)
        _maps(axes[:, number], images, np.asarray(each, float), title, unit)
    for row, column in np.ndindex(len(images), 1 + len(maps)):
        if lungs is not None and lungs[row].any():
            axes[row, column].contour(lungs[row], [0.5], colors="white", linewidths=0.7)
    if zones is not None:
        for row, axis in enumerate(axes[:, -1]):
            _zones(axis, zones.iloc[row])
    return figure


def _maps(axes, images, maps, name, unit):
    """Draw a column of maps over their images, with one scale for all of them below."""
    maps = maps * PERCENT * maps[0].size
    limit = np.quantile(np.abs(maps), 0.999) or 1.0
    colours = LinearSegmentedColormap.from_list("", [np.divide(c, 255) for c in (LOWERS, (255,) * 3, RAISES)])
    for axis, image, each in zip(axes, images, maps, strict=True):
        look.show(axis, 0.8 * np.asarray(image), name)
        cover = COVER * np.clip(2 * np.abs(each) / limit, 0, 1)
        axis.imshow(np.where(each > 0, 1.0, -1.0), cmap=colours, vmin=-1, vmax=1, alpha=cover)
    end = limit if unit.startswith("log-odds") else 1
    place = axes[-1].inset_axes([0.1, -0.1, 0.8, 0.04])
    scale = ScalarMappable(Normalize(-end, end), colours)
    axes[0].figure.colorbar(scale, cax=place, orientation="horizontal").set_label(unit, fontsize=8)


def _zones(axes, contributions):
    """Draw what each lung zone adds to the evidence."""
    order = contributions[::-1]
    colours = [np.divide(RAISES if value > 0 else LOWERS, 255) for value in order]
    bars = axes.barh(order.index, order, color=colours)
    axes.bar_label(bars, fmt="%+.1f", padding=2, fontsize=8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.margins(x=0.25)
    axes.grid(axis="y", visible=False)
    axes.set_title(f"{contributions.sum():+.1f} log-odds from the baseline", fontsize=9)


def save_photograph(figure, file, dpi: int = 75) -> None:
    """Save a figure of many radiographs as a small JPEG: a PNG of as few bytes has bands of colour."""
    small = {"quality": 50, "optimize": True, "progressive": True}
    figure.savefig(file, format="jpeg", bbox_inches="tight", dpi=dpi, pil_kwargs=small)


def photograph(figure):
    """Return a figure of many radiographs as a JPEG for a page: noisy maps make a PNG four times as large."""
    from IPython.display import Image

    file = io.BytesIO()
    save_photograph(figure, file, dpi=100)
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

    ``curves`` has shares (S,), insertion (N, S) and deletion (N, S) by method, the blurred image as fill.
    """
    figure, axes = look.subplots(7.5, 3, columns=2)
    colours, dashes = iter(sns.color_palette("colorblind", len(curves))), iter(["--", ":", "-.", "-"])
    for name, (shares, *pair) in curves.items():
        control = name in CONTROLS
        line = {"color": CONTROL_COLOUR if control else next(colours), "ls": next(dashes) if control else "-"}
        for axis, found in zip(axes, pair, strict=True):
            axis.plot(100 * shares, found.mean(axis=0), label=name.replace("_", " "), **line)
    for axis, title in zip(
        axes, ("Insertion (into the blurred image)", "Deletion (into the blurred image)"), strict=True
    ):
        axis.set(title=title, xlabel="area (%)", ylabel="probability of the class", ylim=(0, 1))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")
    return figure
