"""Figures of training."""

import pandas as pd
from matplotlib.ticker import MaxNLocator

from . import look


@look.styled
def learning_curves(history: pd.DataFrame):
    """Losses, validation F1 and learning rate by epoch, the best epoch marked.

    ``history`` has the columns epoch, train_loss, val_loss, val_f1 and lr; cells may be empty.
    """
    figure, (losses, f1, rate) = look.subplots(9, 2.7, columns=3)
    _line(losses, history, "train_loss", label="training", color=look.GREY)
    _line(losses, history, "val_loss", label="validation", color="#0072B2")
    _line(f1, history, "val_f1", color="#0072B2")
    _line(rate, history, "lr", color=look.GREY)
    losses.legend()
    losses.set(title="Loss", ylabel="loss (nats)")
    f1.set(title="Validation F1", ylabel="F1")
    rate.set(title="Learning rate", ylabel="learning rate (log scale)", yscale="log")
    if history["val_f1"].notna().any():
        best = history.loc[history["val_f1"].idxmax()]
        f1.axvline(best["epoch"], color=look.GREY, linestyle=":", linewidth=1)
        f1.set_title(f"Validation F1, best {best['val_f1']:.3f} at epoch {best['epoch']:.0f}")
    for axes in (losses, f1, rate):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _line(axes, table, column, **options):
    drawn = table[["epoch", column]].dropna()
    axes.plot(drawn["epoch"], drawn[column], marker=".", **options)
