"""Every figure: arrays and tables in, a matplotlib figure out.

A figure belongs to its caller: pyplot forgets it at once, so that a notebook shows it once and none
stays in memory. All share one look; ``style`` gives it to figures drawn elsewhere.
"""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's palette, told apart by colour-blind readers.
CLASS_COLOURS = {"bacteria": "#D55E00", "normal": "#0072B2", "virus": "#CC79A7"}
OTHER_COLOURS = ["#009E73", "#E69F00", "#56B4E9", "#7A5195"]  # of classes with other names, in turn
GREY = "#555555"
RAISES, LOWERS = (0, 200, 60), (235, 30, 30)  # RGB of attributions above and below zero
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
_styled = mpl.rc_context(STYLE)  # as a decorator: the look, and afterwards the settings from before


def style() -> None:
    """Give figures drawn from now on the look of those here."""
    mpl.rcParams.update(STYLE)


def class_colours(names) -> dict[str, str]:
    """Name to colour, the same in every figure for the classes of ``CLASS_COLOURS``."""
    others = [name for name in names if name not in CLASS_COLOURS]
    spare = {name: OTHER_COLOURS[i % len(OTHER_COLOURS)] for i, name in enumerate(others)}
    return {name: CLASS_COLOURS.get(name) or spare[name] for name in names}


# ---- data ---------------------------------------------------------------------------------------


@_styled
def class_counts(records: pd.DataFrame):
    """Radiographs in each split, a bar a class; ``records`` has the columns label and split."""
    known = [name for name in ("train", "val", "test") if name in set(records["split"])]
    splits = known + sorted(set(records["split"]) - set(known))
    counts = pd.crosstab(records["split"], records["label"])
    figure, axes = _axes(6.5, 3)
    _grouped_bars(axes, counts.loc[splits, _ordered(records["label"])], "%d")
    axes.set(title="Radiographs by split and class", xlabel="split", ylabel="radiographs")
    return figure


@_styled
def images_per_patient(records: pd.DataFrame):
    """Histogram of how many radiographs a patient has; ``records`` has the column patient."""
    counts = records["patient"].value_counts()
    figure, axes = _axes(5.5, 2.8)
    axes.hist(counts, bins=np.arange(0.5, counts.max() + 1), color=GREY, log=True)
    axes.set(
        title=f"{len(records):,} radiographs of {len(counts):,} patients",
        xlabel="radiographs of one patient",
        ylabel="patients (log scale)",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


@_styled
def intensity_histograms(images, labels, bins: int = 64):
    """Share of pixels at each grey level, the mean of each class; images (N, H, W) uint8."""
    figure, axes = _axes(5.5, 3)
    edges = np.linspace(0, 256, bins + 1)
    for name, rows, colour in _by_class(labels):
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


@_styled
def image_sheet(images, titles, columns: int = 6):
    """Radiographs side by side with a title each; images (N, H, W), black 0, white 255."""
    figure, axes = _sheet(len(images), columns, 1.2)
    for each, image, title in zip(axes, images, titles, strict=True):
        _show(each, image, title)
    return figure


@_styled
def class_means(images, labels):
    """Mean radiograph of each class above its standard deviation; images (N, H, W) uint8."""
    groups = _by_class(labels)
    moments = [_moments(images, rows) for _, rows, _ in groups]
    white = max(spread.max() for _, spread in moments) or 1
    figure, axes = _grid(2, len(groups), 1.6)
    for (above, below), (mean, spread), (name, rows, _) in zip(axes.T, moments, groups, strict=True):
        _show(above, mean, f"{name} (n = {len(rows)})")
        _show(below, spread, white=white)
    axes[0, 0].set_ylabel("mean\n(white 255)")
    axes[1, 0].set_ylabel(f"standard deviation\n(white {white:.0f})")
    return figure


# ---- training -----------------------------------------------------------------------------------


@_styled
def learning_curves(history: pd.DataFrame):
    """Losses, validation F1 and learning rate by epoch, the best epoch marked.

    ``history`` has the columns epoch, train_loss, val_loss, val_f1 and lr; cells may be empty.
    """
    figure, (losses, f1, rate) = _axes(9, 2.7, columns=3)
    _line(losses, history, "train_loss", label="training", color=GREY)
    _line(losses, history, "val_loss", label="validation", color="#0072B2")
    _line(f1, history, "val_f1", color="#0072B2")
    _line(rate, history, "lr", color=GREY)
    losses.legend()
    losses.set(title="Loss", ylabel="loss (nats)")
    f1.set(title="Validation F1", ylabel="F1")
    rate.set(title="Learning rate", ylabel="learning rate (log scale)", yscale="log")
    if history["val_f1"].notna().any():
        best = history.loc[history["val_f1"].idxmax()]
        f1.axvline(best["epoch"], color=GREY, linestyle=":", linewidth=1)
        f1.set_title(f"Validation F1, best {best['val_f1']:.3f} at epoch {best['epoch']:.0f}")
    for axes in (losses, f1, rate):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


# ---- evaluation ---------------------------------------------------------------------------------


@_styled
def precision_recall_curves(curves: pd.DataFrame):
    """A curve a class and one of all together, over faint lines of equal F1.

    ``curves`` has the columns curve, precision, recall and average_precision.
    """
    figure, axes = _axes(4.8, 4.2)
    recall = np.linspace(0.01, 1, 200)
    for f1 in (0.4, 0.6, 0.8):
        reached = recall[recall > f1 / (2 - f1)]  # below this recall no precision gives the F1
        axes.plot(reached, f1 * reached / (2 * reached - f1), color="0.85", linewidth=0.8, zorder=1)
        axes.text(f1, f1, f"F1 {f1}", ha="center", color="0.5", fontsize=7, backgroundcolor="white")
    names = [name for name in curves["curve"].unique() if name != "micro"]
    colours = class_colours(names) | {"micro": "black"}
    for name, curve in curves.groupby("curve", sort=False):
        label = f"{name}, AP {curve['average_precision'].iloc[0]:.3f}"
        dashes = "--" if name == "micro" else "-"
        axes.step(
            curve["recall"],
            curve["precision"],
            dashes,
            where="post",
            color=colours[name],
            label=label,
        )
    axes.set(title="Precision and recall", xlabel="recall", ylabel="precision")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
    axes.legend(loc="lower left")
    return figure


@_styled
def confusion_matrices(confusion, classes):
    """Counts, and shares of each true class; ``confusion`` (C, C), rows true."""
    confusion = np.asarray(confusion)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure, (left, right) = _axes(7.2, 3.2, columns=2)
    look = {"cmap": "Blues", "xticklabels": classes, "yticklabels": classes, "square": True}
    look |= {"linewidths": 1, "annot_kws": {"size": 10}}
    sns.heatmap(confusion, ax=left, annot=True, fmt="d", vmin=0, cbar=False, **look)
    sns.heatmap(100 * shares, ax=right, annot=True, fmt=".1f", vmin=0, vmax=100, cbar=False, **look)
    left.tick_params("y", rotation=0)
    right.tick_params("y", rotation=0)
    left.set(title="Radiographs", xlabel="predicted class", ylabel="true class")
    right.set(title="Share of the true class (%)", xlabel="predicted class", ylabel="true class")
    return figure


@_styled
def outcome_counts(table: pd.DataFrame):
    """True positives, false positives and false negatives a class; ``table`` is indexed by class.

    True negatives would dwarf the rest and are left out.
    """
    figure, axes = _axes(5.5, 3)
    shown = {"TP": "true positives", "FP": "false positives", "FN": "false negatives"}
    _grouped_bars(axes, table[list(shown)].rename(columns=shown).T, "%d")
    axes.set(title="Outcomes of each class against the rest", ylabel="radiographs")
    return figure


@_styled
def per_class_scores(table: pd.DataFrame):
    """Precision, recall, F1 and average precision a class; ``table`` is indexed by class."""
    shown = {"precision": "precision", "recall": "recall", "f1": "F1"}
    shown |= {"average_precision": "average precision"}
    figure, axes = _axes(6.5, 3)
    _grouped_bars(axes, table[list(shown)].rename(columns=shown).T, "%.2f")
    axes.set(title="Scores of each class", ylabel="score", ylim=(0, 1.08))
    return figure


@_styled
def compare_scores(table: pd.DataFrame, score: str):
    """A score of every run with its interval, the best on top.

    ``table`` has the columns run, value, low and high; ``score`` is what the axis says.
    """
    figure, axes = _intervals(table.sort_values("value", kind="stable"), "run")
    axes.set(title=f"Runs by {score}, with their intervals", xlabel=score)
    return figure


@_styled
def differences(table: pd.DataFrame, score: str = "score"):
    """Differences between runs with their intervals; an interval across zero may be chance.

    ``table`` has the columns pair, value, low and high; the first row comes on top.
    """
    figure, axes = _intervals(table.iloc[::-1], "pair")
    axes.axvline(0, color="black", linewidth=1)
    axes.set(title=f"Differences in {score}", xlabel=f"difference in {score}")
    return figure


@_styled
def score_by_size(table: pd.DataFrame, score: str):
    """A score with its interval over the size of the network, a colour a starting point.

    ``table`` has the columns run, value, low, high, parameters (count) and weights (the colour).
    """
    figure, axes = _axes(6.5, 3.6)
    palette = dict(zip(table.weights.unique(), sns.color_palette("colorblind"), strict=False))
    for row in table.itertuples():
        error = [[row.value - row.low], [row.high - row.value]]
        axes.errorbar(row.parameters, row.value, error, fmt="o", color=palette[row.weights], capsize=2)
        axes.annotate(row.run, (row.parameters, row.value), xytext=(5, 3), textcoords="offset points")
    axes.set(xscale="log", xlabel="parameters of the network", ylabel=score)
    axes.set_title(f"{score[0].upper()}{score[1:]} by size of the network")
    axes.margins(x=0.25)
    handles = [Patch(color=colour, label=name) for name, colour in palette.items()]
    axes.legend(handles=handles, title="starting weights", loc="lower right")
    return figure


# ---- explanations -------------------------------------------------------------------------------


def overlay(image, attribution) -> np.ndarray:
    """An attribution over its radiograph: green raises the class's score, red lowers it.

    Parameters
    ----------
    image : (H, W) grey, black 0, white 255.
    attribution : (H, W) signed. The 99th percentile of its magnitude is opaque, zero is clear.

    Returns
    -------
    (H, W, 3) uint8.
    """
    image, attribution = np.asarray(image, float), np.asarray(attribution, float)
    size = np.abs(attribution)
    scale = np.percentile(size, 99) or size.max() or 1.0  # a sparse map may have a percentile of 0
    opacity = np.clip(size / scale, 0, 1)[..., None]
    colour = np.where(attribution[..., None] > 0, RAISES, LOWERS)
    dimmed = 0.8 * image[..., None]  # so that colours stand out on white bone
    return np.clip((1 - opacity) * dimmed + opacity * colour, 0, 255).astype(np.uint8)


@_styled
def overlays(images, attributions, titles, columns: int = 3):
    """Pairs of a radiograph and its attribution; images and attributions (N, H, W), N titles.

    Of no pair at all, a figure that says so: a good network may have no wrong answer to show.
    """
    if not len(images):
        figure, axes = _axes(3, 0.5)
        axes.axis("off")
        axes.text(0, 0.5, "there is none")
        return figure
    figure, axes = _sheet(2 * len(images), 2 * columns, 1.3)
    pairs = zip(images, attributions, titles, strict=True)
    for (left, right), (image, attribution, title) in zip(axes.reshape(-1, 2), pairs, strict=False):
        _show(left, image, title)
        _show(right, overlay(image, attribution))
    keys = {"raises the class's score": RAISES, "lowers it": LOWERS}
    patches = [Patch(color=np.divide(rgb, 255), label=text) for text, rgb in keys.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=2, frameon=False)
    return figure


# ---- parts --------------------------------------------------------------------------------------


def _axes(width, height, rows=1, columns=1):
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained")
    plt.close(figure)
    return figure, axes


def _grid(rows, columns, side):
    """Axes of ``side`` inches for images, (rows, columns)."""
    size = (columns * side, rows * (side + 0.2))
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="compressed")
    plt.close(figure)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    return figure, axes


def _sheet(count, columns, side):
    """As many axes for images as asked, (count,), row by row."""
    columns = min(columns, count)
    figure, axes = _grid(-(-count // columns), columns, side)
    for spare in axes.flat[count:]:
        spare.remove()
    return figure, axes.flatten()[:count]


def _show(axes, image, title="", white=255):
    axes.set(xticks=[], yticks=[], frame_on=False)
    axes.set_title(title, fontsize=8, loc="left")
    axes.imshow(image, vmin=0, vmax=white)


def _line(axes, table, column, **look):
    drawn = table[["epoch", column]].dropna()
    axes.plot(drawn["epoch"], drawn[column], marker=".", **look)


def _grouped_bars(axes, table, form):
    """A group of bars a row, a bar a column, coloured as the columns' classes; numbers on top."""
    places, width = np.arange(len(table)), 0.8 / len(table.columns)
    for i, (name, colour) in enumerate(class_colours(table.columns).items()):
        shift = (i - (len(table.columns) - 1) / 2) * width
        bars = axes.bar(places + shift, table[name], width, color=colour, label=name)
        axes.bar_label(bars, fmt=form, fontsize=7)
    axes.set_xticks(places, table.index)
    axes.grid(axis="x", visible=False)
    axes.figure.legend(loc="outside right upper")


def _intervals(table, column):
    """A dot and its interval a row, the first row at the bottom."""
    figure, axes = _axes(6.5, 1.1 + 0.28 * len(table))
    places = np.arange(len(table))
    axes.hlines(places, table["low"], table["high"], color="0.6", linewidth=2.5)
    axes.plot(table["value"], places, "o", color="#0072B2")
    axes.set_yticks(places, table[column])
    axes.set_ylim(-0.6, len(table) - 0.4)
    axes.grid(axis="y", visible=False)
    return figure, axes


def _ordered(labels):
    """The classes among ``labels``: the known in their order, then others by name."""
    found = set(np.asarray(labels).tolist())
    return [name for name in CLASS_COLOURS if name in found] + sorted(found - set(CLASS_COLOURS))


def _by_class(labels):
    """Name, rows and colour of each class among ``labels``."""
    names = _ordered(labels)
    colours = class_colours(names)
    return [(name, np.flatnonzero(np.asarray(labels) == name), colours[name]) for name in names]


def _moments(images, rows):
    """Mean and standard deviation of each pixel, image by image: a store may not fit in memory."""
    total = squares = 0.0
    for row in rows:
        image = np.asarray(images[row], dtype=float)
        total, squares = total + image, squares + image**2
    mean = total / len(rows)
    return mean, np.sqrt(np.maximum(squares / len(rows) - mean**2, 0))
