"""Figures of explanations."""

import io
import textwrap

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import Patch

from . import look

RAISES, LOWERS = (0, 200, 60), (235, 30, 30)  # RGB of attributions above and below zero
FULL = 6.0  # times a map's mean magnitude: opaque from here, in every map, method and run
WORDS = 19  # letters below a picture
FLOOR_COLOUR, OWN_COLOUR = "0.55", "#0072B2"


def opacity(attribution) -> np.ndarray:
    """Opacity, 0 to 1, of a map's pixels: their magnitude in units of FULL times the map's mean magnitude.

    The unit makes maps of different methods and networks, logits or not, comparable pixel by pixel; how
    many logits a map sums to is told beside it.
    """
    size = np.abs(np.asarray(attribution, float))
    return np.clip(size / (FULL * (size.mean() or 1.0)), 0, 1)


def overlay(image, attribution) -> np.ndarray:
    """An attribution over its radiograph: green raises the class's score, red lowers it.

    Parameters
    ----------
    image : (H, W) grey, black 0, white 255.
    attribution : (H, W) signed; zero is clear, see ``opacity``.

    Returns
    -------
    (H, W, 3) uint8.
    """
    image, attribution = np.asarray(image, float), np.asarray(attribution, float)
    cover = opacity(attribution)[..., None]
    colour = np.where(attribution[..., None] > 0, RAISES, LOWERS)
    dimmed = 0.8 * image[..., None]  # so that colours stand out on white bone
    return np.clip((1 - cover) * dimmed + cover * colour, 0, 255).astype(np.uint8)


@look.styled
def overlays(images, attributions, titles, captions=None, columns: int = 3):
    """Pairs of a radiograph and its attribution; images and attributions (N, H, W), N titles and captions.

    Of no pair at all, a figure that says so.
    """
    if not len(images):
        return look.nothing()
    captions = [""] * len(images) if captions is None else captions
    figure, axes = look.sheet(2 * len(images), 2 * columns, 1.3)
    pairs = zip(images, attributions, titles, captions, strict=True)
    for (left, right), (image, attribution, title, caption) in zip(axes.reshape(-1, 2), pairs, strict=False):
        look.show(left, image, title)
        look.show(right, overlay(image, attribution))
        left.set_xlabel(caption, fontsize=7, loc="left")
    _key(figure)
    return figure


def captions(table: pd.DataFrame) -> np.ndarray:
    """(N,) words for below a map, from the columns difference (logits), gap and gradients."""
    return np.array(
        [
            f"{row.difference:+.1f} logits, gap {row.gap:.1%}, {row.gradients} gradients"
            for row in table.itertuples()
        ],
        dtype=object,
    )


@look.styled
def overlay_table(images, maps: dict, titles):
    """A row an image, a column a name of ``maps``: radiograph first, then each overlay.

    Parameters
    ----------
    images : (N, H, W).
    maps : column title to (N, H, W) attributions, or to (attributions, N captions) for words below each.
    titles : N, of the rows.
    """
    if not len(images):
        return look.nothing()
    figure, axes = look.grid(len(images), 1 + len(maps), 1.3)
    for row, image, title in zip(axes, images, titles, strict=True):
        look.show(row[0], image)
        row[0].set_xlabel(textwrap.fill(title, WORDS), fontsize=7, loc="left")
    for column, (name, given) in zip(axes.T[1:], maps.items(), strict=True):
        attributions, captions = given if isinstance(given, tuple) else (given, [""] * len(images))
        for cell, image, each, caption in zip(column, images, attributions, captions, strict=True):
            look.show(cell, overlay(image, each), name.replace("_", " ") if cell is column[0] else "")
            cell.set_xlabel(textwrap.fill(caption, WORDS), fontsize=7, loc="left")
    _key(figure)
    return figure


def photograph(figure):
    """A figure of many radiographs as a JPEG for a page: noisy maps make a PNG four times as large."""
    from IPython.display import Image

    file = io.BytesIO()
    figure.savefig(file, format="jpeg", bbox_inches="tight", dpi=110, pil_kwargs={"quality": 80})
    return Image(file.getvalue(), format="jpeg")


@look.styled
def card(table: pd.DataFrame, floors=("random", "sobel"), columns: int = 4):
    """A panel a measure, a dot with its interval a method, the floors grey; the band spans the floors.

    ``table`` has the columns method, measure, value, low and high.
    """
    names, methods = list(dict.fromkeys(table.measure)), list(dict.fromkeys(table.method))[::-1]
    rows = -(-len(names) // columns)
    figure, axes = look.subplots(2.3 * columns, rows * (0.5 + 0.17 * len(methods)), rows, columns)
    for spare in axes.flat[len(names) :]:
        spare.remove()
    for axis, name in zip(axes.flat, names, strict=False):
        part = table[table.measure == name].set_index("method")
        _dots(axis, part, methods, floors)
        axis.set_title(name.replace("_", " "), fontsize=9)
        axis.tick_params(labelleft=axis.get_subplotspec().is_first_col())
    return figure


def _dots(axis, part, methods, floors):
    known = [floor for floor in floors if floor in part.index]
    if known:
        axis.axvspan(part.loc[known].low.min(), part.loc[known].high.max(), color="0.92")
    for place, method in enumerate(methods):
        if method in part.index:
            row = part.loc[method]
            colour = FLOOR_COLOUR if method in floors else OWN_COLOUR
            axis.hlines(place, row.low, row.high, color=colour, linewidth=2)
            axis.plot(row.value, place, "o", color=colour, markersize=4)
    axis.set_yticks(range(len(methods)), [method.replace("_", " ") for method in methods])
    axis.set_ylim(-0.6, len(methods) - 0.4)
    axis.grid(axis="y", visible=False)


@look.styled
def randomisation(curves: dict, depths):
    """Spearman with the map of the network randomised down to each depth, a line a kind of map.

    ``curves`` has a name to (D, N); the line is the mean over images.
    """
    figure, axes = look.subplots(6.5, 2.8)
    for (name, values), colour in zip(curves.items(), sns.color_palette("colorblind"), strict=False):
        axes.plot(depths, np.mean(values, axis=1), "o-", label=name, color=colour, markersize=4)
    axes.axhline(0, color="black", linewidth=1)
    axes.set(
        title="Maps of the network and of randomised ones",
        xlabel="share of the backbone's blocks randomised (0: the head alone)",
        ylabel="Spearman",
    )
    figure.legend(loc="outside right upper")
    return figure


@look.styled
def insertion_deletion(curves: dict, floors=("random", "sobel")):
    """Mean curves of insertion and deletion, a line a method, the floors grey.

    ``curves`` has a method to (shares (S,), insertion (N, S), deletion (N, S)).
    """
    figure, axes = look.subplots(7.5, 3, 1, 2)
    palette = iter(sns.color_palette("colorblind", len(curves)))
    dashes = iter(["--", ":", "-."])  # tell the floors apart
    for name, (shares, *pair) in curves.items():
        floor = name in floors
        look_of = {"color": FLOOR_COLOUR if floor else next(palette), "ls": next(dashes) if floor else "-"}
        for axis, found in zip(axes, pair, strict=True):
            axis.plot(100 * shares, found.mean(axis=0), label=name.replace("_", " "), **look_of)
    for axis, title in zip(axes, ("Insertion (into the blurred image)", "Deletion (to grey)"), strict=True):
        axis.set(title=title, xlabel="pixels (%)", ylabel="probability of the class", ylim=(0, 1))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    return figure


def _key(figure):
    keys = {"raises the class's score": RAISES, "lowers it": LOWERS}
    patches = [Patch(color=np.divide(rgb, 255), label=text) for text, rgb in keys.items()]
    scale = Patch(color="white", label=f"opaque from {FULL:g} times the map's mean magnitude")
    figure.legend(handles=[*patches, scale], loc="outside lower center", ncols=3, frameon=False)
