"""Figures of what a network uses: scores with parts of the radiograph removed, and those parts."""

import numpy as np
import pandas as pd

from . import look

FILL_COLOURS = {"mean": "#0072B2", "inpainted": "#E69F00"}


@look.styled
def region_scores(tables: dict[str, pd.DataFrame], label: str):
    """Return a score by input with intervals, a colour for each way to fill the removed part.

    ``tables`` has columns input, value, low and high by the fill's name; the first input is the whole image,
    whose score is drawn as a line.
    """
    first = next(iter(tables.values()))
    figure, axes = look.subplots(6.5, 1.3 + 0.34 * len(first))
    places = pd.Series(np.arange(len(first))[::-1], first.input)
    for number, (fill, table) in enumerate(tables.items()):
        offset = 0.12 * (1 - 2 * number) if len(tables) > 1 else 0
        y = places[table.input].to_numpy() + offset
        bars = np.abs(table[["low", "high"]].to_numpy().T - table.value.to_numpy())
        axes.errorbar(table.value, y, xerr=bars, fmt="o", markersize=5, color=FILL_COLOURS[fill], label=fill)
    axes.axvline(first.value.iloc[0], color="black", linewidth=1, label="whole image")
    if "AUROC" in label:
        axes.axvline(0.5, color=look.GREY, linestyle=":", linewidth=1, label="chance")
    axes.set_yticks(places, [name.replace("_", " ") for name in places.index])
    axes.set(xlabel=f"{label}; higher is better", title="Scores with a part of the radiograph removed")
    axes.legend(title="removed part filled with", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
