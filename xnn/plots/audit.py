"""Figures of the data's traps: sizes that tell the class, and a map of what looks alike."""

import numpy as np
import pandas as pd

from . import look

SPLIT_COLOURS = {"train": "#BBBBBB", "val": "#E69F00", "test": "#009E73"}
BINS = 40


@look.styled
def sizes(table: pd.DataFrame, labels):
    """Draw histograms by class of the columns width, height, aspect and bytes of a table, if they exist."""
    units = {"width": "pixels", "height": "pixels", "aspect": "width over height", "bytes": "bytes"}
    varied = [name for name in units if name in table]
    if not varied:
        return look.nothing()
    figure, axes = look.subplots(3 * len(varied) + 1.2, 2.6, 1, len(varied))
    for each, name in zip(np.atleast_1d(axes), varied, strict=True):
        edges = np.linspace(*table[name].quantile([0.001, 0.999]), BINS)
        for label, rows, colour in look.by_class(labels):
            each.hist(table[name].iloc[rows], edges, density=True, histtype="step", color=colour, label=label)
        each.set(title=f"{name.capitalize()} of the files", xlabel=units[name], yticks=[])
    np.atleast_1d(axes)[0].set_ylabel("share of the class")
    figure.legend(*each.get_legend_handles_labels(), loc="outside right upper")
    return figure


@look.styled
def embedding_map(points, labels, splits):
    """The same map twice: points (N, 2) coloured by class, and by split."""
    points, labels, splits = (np.asarray(each) for each in (points, labels, splits))
    figure, axes = look.subplots(8, 3.8, 1, 2)
    by_split = [(name, np.flatnonzero(splits == name), c) for name, c in SPLIT_COLOURS.items()]
    for each, title, groups in zip(
        axes, ("by class", "by split"), (look.by_class(labels), by_split), strict=True
    ):
        colours = np.full((len(points), 4), np.nan)
        for name, rows, colour in groups:
            colours[rows] = look.mpl.colors.to_rgba(colour, 0.6)
            each.plot([], [], "o", color=colour, label=name, markersize=4)
        shown = np.random.default_rng(0).permutation(np.flatnonzero(~np.isnan(colours[:, 0])))
        each.scatter(*points[shown].T, s=3, c=colours[shown], linewidths=0)  # none always on top
        each.set(title=title, xticks=[], yticks=[], xlabel="first component", ylabel="second component")
        each.legend(loc="best")
    return figure
