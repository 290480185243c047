"""Figures of the data: splits, patients, grey levels, the radiographs themselves."""

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from . import look


@look.styled
def class_counts(records: pd.DataFrame):
    """Radiographs in each split, a bar a class; ``records`` has the columns label and split."""
    known = [name for name in ("train", "val", "test") if name in set(records["split"])]
    splits = known + sorted(set(records["split"]) - set(known))
    counts = pd.crosstab(records["split"], records["label"])
    figure, axes = look.subplots(6.5, 3)
    look.grouped_bars(axes, counts.loc[splits, look.ordered(records["label"])], "%d")
    axes.set(title="Radiographs by split and class", xlabel="split", ylabel="radiographs")
    return figure


@look.styled
def images_per_patient(records: pd.DataFrame):
    """Histogram of how many radiographs a patient has; ``records`` has the column patient."""
    counts = records["patient"].value_counts()
    figure, axes = look.subplots(5.5, 2.8)
    axes.hist(counts, bins=np.arange(0.5, counts.max() + 1), color=look.GREY, log=True)
    axes.set(
        title=f"{len(records):,} radiographs of {len(counts):,} patients",
        xlabel="radiographs of one patient",
        ylabel="patients (log scale)",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


@look.styled
def intensity_histograms(images, labels, bins: int = 64):
    """Share of pixels at each grey level, the mean of each class; images (N, H, W) uint8."""
    figure, axes = look.subplots(5.5, 3)
    edges = np.linspace(0, 256, bins + 1)
    for name, rows, colour in look.by_class(labels):
        counts = sum(np.histogram(images[row], edges)[0] for row in rows)
        share = 100 * counts / counts.sum()
        axes.stairs(share, edges, color=colour, linewidth=1.5, label=f"{name} (n = {len(rows)})")
    axes.set(
        title="Grey levels by class",
        xlabel="grey level (0 black, 255 white)",
        ylabel=f"pixels (% in each {256 / bins:g} levels)",
        xlim=(0, 256),
    )
    axes.legend()
    return figure


@look.styled
def image_sheet(images, titles, columns: int = 6):
    """Radiographs side by side with a title each; images (N, H, W), black 0, white 255."""
    if not len(images):
        return look.nothing()
    figure, axes = look.sheet(len(images), columns, 1.2)
    for each, image, title in zip(axes, images, titles, strict=True):
        look.show(each, image, title)
    return figure


@look.styled
def class_means(images, labels):
    """Mean radiograph of each class above its standard deviation; images (N, H, W) uint8."""
    groups = look.by_class(labels)
    moments = [_moments(images, rows) for _, rows, _ in groups]
    white = max(spread.max() for _, spread in moments) or 1
    figure, axes = look.grid(2, len(groups), 1.6)
    for (above, below), (mean, spread), (name, rows, _) in zip(axes.T, moments, groups, strict=True):
        look.show(above, mean, f"{name} (n = {len(rows)})")
        look.show(below, spread, white=white)
    axes[0, 0].set_ylabel("mean\n(white 255)")
    axes[1, 0].set_ylabel(f"standard deviation\n(white {white:.0f})")
    return figure


def _moments(images, rows):
    """Mean and standard deviation of each pixel, image by image: a store may not fit in memory."""
    total = squares = 0.0
    for row in rows:
        image = np.asarray(images[row], dtype=float)
        total, squares = total + image, squares + image**2
    mean = total / len(rows)
    return mean, np.sqrt(np.maximum(squares / len(rows) - mean**2, 0))
