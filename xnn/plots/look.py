"""The look that all figures share, and the parts that they are put together from."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

# Okabe and Ito's palette, told apart by colour-blind readers.
CLASS_COLOURS = {"bacteria": "#D55E00", "normal": "#0072B2", "virus": "#CC79A7"}
OTHER_COLOURS = ["#009E73", "#E69F00", "#56B4E9", "#7A5195"]  # of classes with other names, in turn
GREY = "#555555"
STYLE = {
    **sns.axes_style("whitegrid"),
    **sns.plotting_context("paper"),
    "figure.dpi": 90,
    "savefig.dpi": "figure",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "figure.titlesize": 11,
    "axes.edgecolor": "0.7",
    "grid.color": "0.9",
    "grid.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "image.cmap": "gray",
}
styled = mpl.rc_context(STYLE)  # as a decorator: the look, and afterwards the settings from before


def style() -> None:
    """Give figures drawn from now on the look of those here."""
    mpl.rcParams.update(STYLE)


def class_colours(names) -> dict[str, str]:
    """Name to colour, the same in every figure for the classes of ``CLASS_COLOURS``."""
    others = [name for name in names if name not in CLASS_COLOURS]
    spare = {name: OTHER_COLOURS[i % len(OTHER_COLOURS)] for i, name in enumerate(others)}
    return {name: CLASS_COLOURS.get(name) or spare[name] for name in names}


def subplots(width, height, rows=1, columns=1):
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained")
    plt.close(figure)
    return figure, axes


def grid(rows, columns, side):
    """Axes of ``side`` inches for images, (rows, columns)."""
    size = (columns * side, rows * (side + 0.2))
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="compressed")
    plt.close(figure)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    return figure, axes


def sheet(count, columns, side):
    """As many axes for images as asked, (count,), row by row."""
    columns = min(columns, count)
    figure, axes = grid(-(-count // columns), columns, side)
    for spare in axes.flat[count:]:
        spare.remove()
    return figure, axes.flatten()[:count]


def nothing():
    """A figure that says that there is nothing to show: a good network may have made no mistake."""
    figure, axes = subplots(3, 0.5)
    axes.axis("off")
    axes.text(0, 0.5, "there is none")
    return figure


def show(axes, image, title="", white=255):
    axes.set(xticks=[], yticks=[], frame_on=False)
    axes.set_title(title, fontsize=8, loc="left")
    axes.imshow(image, vmin=0, vmax=white)


def grouped_bars(axes, table, form):
    """A group of bars a row, a bar a column, coloured as the columns' classes; numbers on top."""
    places, width = np.arange(len(table)), 0.8 / len(table.columns)
    for i, (name, colour) in enumerate(class_colours(table.columns).items()):
        shift = (i - (len(table.columns) - 1) / 2) * width
        bars = axes.bar(places + shift, table[name], width, color=colour, label=name)
        axes.bar_label(bars, fmt=form, fontsize=7)
    axes.set_xticks(places, table.index)
    axes.grid(axis="x", visible=False)
    axes.figure.legend(loc="outside right upper")


def ordered(labels):
    """The classes among ``labels``: the known in their order, then others by name."""
    found = set(np.asarray(labels).tolist())
    return [name for name in CLASS_COLOURS if name in found] + sorted(found - set(CLASS_COLOURS))


def by_class(labels):
    """Name, rows and colour of each class among ``labels``."""
    names = ordered(labels)
    colours = class_colours(names)
    return [(name, np.flatnonzero(np.asarray(labels) == name), colours[name]) for name in names]
