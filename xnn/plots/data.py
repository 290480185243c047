"""Figures of the data: splits, patients, files, grey levels, similarity, and the radiographs themselves."""

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from . import look

SPLIT_COLOURS = {"train": "#BBBBBB", "val": "#E69F00", "test": "#009E73"}
BINS = 40  # of a histogram of file properties


@look.styled
def class_counts(records: pd.DataFrame):
    """Return bars of the radiographs in each split by class; ``records`` has the columns label and split."""
    counts = pd.crosstab(records["split"], records["label"])
    splits, classes = look.ordered(records["split"], SPLIT_COLOURS), look.ordered(records["label"])
    figure, axes = look.subplots(6.5, 3)
    look.grouped_bars(axes, counts.loc[splits, classes])
    axes.set(title="Radiographs by split and class", xlabel="split", ylabel="radiographs")
    return figure


@look.styled
def images_per_patient(records: pd.DataFrame):
    """Return a histogram of the number of radiographs per patient."""
    counts = records["patient"].value_counts()
    figure, axes = look.subplots(5.5, 2.8)
    axes.hist(counts, bins=np.arange(0.5, counts.max() + 1), color=look.GREY, log=True)
    axes.set_title(f"{len(records):,} radiographs of {len(counts):,} patients")
    axes.set(xlabel="radiographs of one patient", ylabel="patients (log scale)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


@look.styled
def sizes(table: pd.DataFrame, labels):
    """Return histograms by class of the columns width, height, aspect and bytes of a table, if they exist."""
    units = {"width": "pixels", "height": "pixels", "aspect": "width over height", "bytes": "bytes"}
    varied = [name for name in units if name in table]
    if not varied:
        return look.nothing()
    figure, axes = look.subplots(3 * len(varied) + 1.2, 2.6, columns=len(varied), squeeze=False)
    for each, name in zip(axes[0], varied, strict=True):
        edges = np.linspace(*table[name].quantile([0.001, 0.999]), BINS)
        for label, rows, colour in look.by_class(labels):
            each.hist(table[name].iloc[rows], edges, density=True, histtype="step", color=colour, label=label)
        each.set(title=f"{name.capitalize()} of the files", xlabel=units[name], yticks=[])
    axes[0, 0].set_ylabel("share of the class")
    figure.legend(*each.get_legend_handles_labels(), loc="outside right upper")
    return figure


@look.styled
def intensity_histograms(images, labels, bins: int = 64):
    """Return the mean share of pixels at each grey level by class; images (N, H, W) uint8."""
    figure, axes = look.subplots(5.5, 3)
    edges = np.linspace(0, 256, bins + 1)
    for name, rows, colour in look.by_class(labels):
        counts = sum(np.histogram(images[row], edges)[0] for row in rows)
        share = 100 * counts / counts.sum()
        axes.stairs(share, edges, color=colour, linewidth=1.5, label=f"{name} (n = {len(rows)})")
    axes.set(title="Grey levels by class", xlabel="grey level (0 black, 255 white)", xlim=(0, 256))
    axes.set_ylabel(f"pixels (% in each {256 / bins:g} levels)")
    axes.legend()
    return figure


@look.styled
def embedding_map(points, labels, splits):
    """Return two maps of points (N, 2), coloured by class and by split."""
    points, labels, splits = (np.asarray(each) for each in (points, labels, splits))
    by_class = look.class_colours(look.ordered(labels))
    panels = ("by class", labels, by_class), ("by split", splits, SPLIT_COLOURS)
    figure, axes = look.subplots(8, 3.8, columns=2)
    for each, (title, names, colours) in zip(axes, panels, strict=True):
        shown = np.flatnonzero(np.isin(names, list(colours)))
        shown = np.random.default_rng(0).permutation(shown)  # so that no group covers the others
        each.scatter(
            *points[shown].T, s=3, c=[colours[name] for name in names[shown]], alpha=0.6, linewidths=0
        )
        for name, colour in colours.items():
            each.plot([], [], "o", color=colour, label=name, markersize=4)
        each.set(title=title, xticks=[], yticks=[], xlabel="first component", ylabel="second component")
        each.legend(loc="best")
    return figure


@look.styled
def image_sheet(images, titles, columns: int = 6, outlines: dict | None = None):
    """Return radiographs side by side, each with a title; images (N, H, W), black 0, white 255.

    ``outlines`` are masks (N, H, W) by the colour that their outline is drawn in.
    """
    if not len(images):
        return look.nothing()
    figure, axes = look.sheet(len(images), columns, 1.2)
    for number, (each, image, title) in enumerate(zip(axes, images, titles, strict=True)):
        look.show(each, image, title)
        for colour, masks in (outlines or {}).items():
            each.contour(masks[number], [0.5], colors=colour, linewidths=0.8)
    return figure


@look.styled
def class_means(images, labels):
    """Return the mean radiograph of each class above its standard deviation; images (N, H, W) uint8."""
    groups = look.by_class(labels)
    spreads = [images[rows].std(axis=0) for _, rows, _ in groups]
    white = np.max(spreads) or 1
    figure, axes = look.sheet(2 * len(groups), len(groups), 1.6)
    above, below = axes.reshape(2, -1)
    for upper, lower, spread, (name, rows, _) in zip(above, below, spreads, groups, strict=True):
        look.show(upper, images[rows].mean(axis=0), f"{name} (n = {len(rows)})")
        look.show(lower, spread, white=white)
    above[0].set_ylabel("mean\n(white 255)")
    below[0].set_ylabel(f"standard deviation\n(white {white:.0f})")
    return figure
