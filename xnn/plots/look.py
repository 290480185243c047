"""The look and the parts that all figures share."""

import itertools
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

# Okabe and Ito's palette, which colour-blind readers can tell apart
CLASS_COLOURS = {"bacteria": "#D55E00", "normal": "#0072B2", "virus": "#CC79A7"}
OTHER_COLOURS = ["#009E73", "#E69F00", "#56B4E9", "#7A5195"]  # of classes with other names, in turn
BLUE, GREY = "#0072B2", "#555555"
STYLE = {
    **sns.axes_style("whitegrid"),
    **sns.plotting_context("paper"),
    "figure.dpi": 90,  # notebooks draw twice as many, and the site shows 120: 9 inches fill its pages
    "savefig.dpi": "figure",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.edgecolor": "0.7",
    "grid.color": "0.9",
    "grid.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "image.cmap": "gray",
}
styled = mpl.rc_context(STYLE)  # a decorator: a figure has this look, and the settings are restored


def style() -> None:
    """Give this look to all figures drawn from now on; in notebooks, sharp on dense screens too."""
    mpl.rcParams.update(STYLE)
    if "ipykernel" in sys.modules:
        from matplotlib_inline.config import InlineBackend

        InlineBackend.instance().figure_formats = {"retina"}


def class_colours(names) -> dict[str, str]:
    """Return a colour for each name, the same in every figure for the classes of ``CLASS_COLOURS``."""
    others = itertools.cycle(OTHER_COLOURS)
    return {name: CLASS_COLOURS.get(name) or next(others) for name in names}


def ordered(names, known=CLASS_COLOURS) -> list[str]:
    """Return the distinct names: those that are known in their order, then the others sorted."""
    found = set(np.asarray(names).tolist())
    return [name for name in known if name in found] + sorted(found - set(known))


def by_class(labels) -> list[tuple[str, np.ndarray, str]]:
    """Return the name, rows and colour of each class among the labels."""
    colours = class_colours(ordered(labels))
    return [(name, np.flatnonzero(np.asarray(labels) == name), colour) for name, colour in colours.items()]


def subplots(width, height, rows=1, columns=1, layout="constrained", squeeze=True):
    """Return a figure of ``width`` by ``height`` inches, which pyplot does not keep, and its axes."""
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), layout=layout, squeeze=squeeze)
    plt.close(figure)
    return figure, axes


def sheet(count, columns, side):
    """Return a figure and ``count`` axes for images of ``side`` inches, row by row."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, axes = subplots(columns * side, rows * (side + 0.2), rows, columns, "compressed", squeeze=False)
    figure.set_dpi(72)  # photographs are large
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    return figure, first(axes, count)


def first(axes, count):
    """Return the first ``count`` axes, row by row, and remove the others from their figure."""
    for spare in axes.flat[count:]:
        spare.remove()
    return axes.flatten()[:count]


def nothing():
    """Return a figure that says that it has nothing to show."""
    figure, axes = subplots(3, 0.5)
    axes.axis("off")
    axes.text(0, 0.5, "there is none")
    return figure


def show(axes, image, title="", caption="", white=255):
    """Draw an image from black (0) to ``white`` between its title and its caption."""
    axes.set(xticks=[], yticks=[], frame_on=False)
    axes.set_title(title, fontsize=8, loc="left")
    axes.set_xlabel(caption, fontsize=7, loc="left")
    axes.imshow(image, vmin=0, vmax=white)


def name_rows(axes, names):
    """Label the rows of a figure, from the bottom, and limit it to them."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="y", visible=False)


def grouped_bars(axes, table):
    """Draw a group of bars for each row, in the colours of the columns' classes, with numbers on top."""
    table.plot.bar(ax=axes, width=0.8, rot=0, color=class_colours(table.columns), legend=False)
    for bars in axes.containers:
        axes.bar_label(bars, fmt="%d", fontsize=7)
    axes.autoscale(axis="x")
    axes.grid(axis="x", visible=False)
    axes.figure.legend(loc="outside right upper")
