"""Worst-group accuracy: the score of the images whose size misleads.

Healthy images of small originals and ill images of large ones are where a network that reads the size is
wrong. They are few, so ordinary scores do not show it (Sagawa et al. 2020, arXiv 1911.08731).
"""

import numpy as np
import pandas as pd

from ..config.schema import Study
from .comparison import with_interval
from .intervals import all_and_resampled, summary
from .scoring import mean

SMALLEST = 10  # images of a group that counts
QUARTERS = ("smallest", "second", "third", "largest")


def by_size(study: Study, tables: dict[str, pd.DataFrame], sizes, resamples=2000, seed=0) -> pd.DataFrame:
    """Return the accuracy, normal against pneumonia, in each quarter of the originals' size of either.

    ``tables`` are predictions by split, with "val"; ``sizes`` (pixels) is indexed by path, NaN where unknown.
    The quarters are those of the healthy and of the ill images of validation, each by themselves: hardly any
    healthy image is in the smallest quarter of all. Columns split, group, n, patients, value, low and high
    (95 % over patients). No rows without sizes or without a healthy class.
    """
    columns = ["split", "group", "n", "patients", "value", "low", "high"]
    if sizes is None or study.healthy not in study.classes:
        return pd.DataFrame(columns=columns)
    found = {split: _judged(study, table, sizes) for split, table in tables.items()}
    rows = []
    for kind, validation in found["val"].groupby("kind"):
        edges = np.quantile(validation["size"], (0.25, 0.5, 0.75))
        for split, table in found.items():
            own = table[table.kind == kind]
            for place, each in own.groupby(np.searchsorted(edges, own["size"])):
                group = {"group": f"{kind}, {QUARTERS[place]} quarter", "n": len(each)}
                weights = all_and_resampled(each.patient, resamples, seed)
                score = summary(mean(each.right.to_numpy(), weights))
                rows.append({"split": split, **group, "patients": each.patient.nunique(), **score})
    return pd.DataFrame(rows, columns=columns)


def worst(groups: pd.DataFrame, split: str) -> dict | None:
    """Return the group with the lowest accuracy in a split, as value, low, high, group, n and patients.

    The interval is that of this group. Groups with fewer than `SMALLEST` images do not count; None if all do.
    """
    chosen = groups[(groups.split == split) & (groups.n >= SMALLEST)]
    if chosen.empty:
        return None
    row = chosen.loc[chosen.value.idxmin(), ["value", "low", "high", "group", "n", "patients"]]
    return {key: each.item() if hasattr(each, "item") else each for key, each in row.items()}


def shown(groups: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `by_size` as it is read: a row per group, a column per split."""
    cells = groups.apply(with_interval, axis=1) + " of " + groups.n.astype(str)
    table = groups.assign(found=cells).pivot(index="group", columns="split", values="found")
    return table.rename(columns={"val": "validation"})


def _judged(study: Study, table: pd.DataFrame, sizes: pd.Series) -> pd.DataFrame:
    """Patient, kind (healthy or not), size and whether the answer is right, of the images of known size."""
    ill = (table.label != study.healthy).to_numpy()
    called = table[study.classes].to_numpy().argmax(axis=1) != study.classes.index(study.healthy)
    kind = np.where(ill, "pneumonia", study.healthy)
    judged = {"patient": table.patient, "kind": kind, "size": table.path.map(sizes), "right": called == ill}
    return pd.DataFrame(judged).dropna(subset="size")
