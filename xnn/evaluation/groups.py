"""Scores of the images whose size misleads: worst-group accuracy, and AUROC where size and class disagree.

Healthy images of small originals and ill images of large ones are where a network that reads the size is
wrong. They are few, so ordinary scores do not show it (Sagawa et al. 2020, arXiv 1911.08731).
"""

import numpy as np
import pandas as pd

from ..config.schema import Study
from .comparison import with_interval
from .intervals import all_and_resampled, summary
from .scoring import auroc, mean

SMALLEST = 10  # images of a group that counts
QUARTERS = np.array(["smallest", "second", "third", "largest"])
COLUMNS = ["split", "kind", "quarter", "patient", "right", "score"]


def quartered(study: Study, tables: dict[str, pd.DataFrame], sizes) -> pd.DataFrame:
    """Return the images of known size with the quarter of their size among the healthy or the ill images.

    ``tables`` are predictions by split, with "val"; ``sizes`` (pixels) is indexed by path, NaN where unknown.
    The limits of the quarters are those of validation, of each kind by itself: hardly any healthy image is in
    the smallest quarter of all. Columns split, kind (the healthy class or pneumonia), quarter, patient, right
    (normal against pneumonia) and score (1 - p(normal)). No rows without sizes or a healthy class.
    """
    if sizes is None or study.healthy not in study.classes:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.concat([each.assign(split=split) for split, each in tables.items()], ignore_index=True)
    table["size"], table["score"] = table.path.map(sizes), 1 - table[study.healthy]
    ill = table.label != study.healthy
    table["right"] = (table[study.classes].idxmax(axis=1) != study.healthy) == ill
    table["kind"] = np.where(ill, "pneumonia", study.healthy)
    table = table.dropna(subset="size")
    for _, each in table.groupby("kind"):
        limits = np.quantile(each["size"][each.split == "val"], (0.25, 0.5, 0.75))
        table.loc[each.index, "quarter"] = QUARTERS[np.searchsorted(limits, each["size"])]
    return table[COLUMNS]


def by_size(images: pd.DataFrame, resamples=2000, seed=0) -> pd.DataFrame:
    """Return the accuracy of each kind and quarter, from the table of `quartered`.

    Columns split, group, n, patients, value, low and high (95 %, bootstrap over patients).
    """
    rows = []
    for (split, kind, quarter), each in images.groupby(["split", "kind", "quarter"]):
        group = {"split": split, "group": f"{kind}, {quarter} quarter", "n": len(each)}
        score = summary(mean(each.right.to_numpy(), all_and_resampled(each.patient, resamples, seed)))
        rows.append(group | {"patients": each.patient.nunique()} | score)
    return pd.DataFrame(rows, columns=["split", "group", "n", "patients", "value", "low", "high"])


def worst(groups: pd.DataFrame, split: str) -> dict | None:
    """Return the group of `by_size` with the lowest accuracy in a split: value, low, high, group and n.

    The interval is that of this group. Groups with fewer than `SMALLEST` images do not count; None if all do.
    """
    counted = groups[(groups.split == split) & (groups.n >= SMALLEST)]
    rows = counted.sort_values("value", kind="stable")[["value", "low", "high", "group", "n"]]
    return rows.to_dict("records")[0] if len(rows) else None


def misleading(images: pd.DataFrame, split: str, resamples=2000, seed=0) -> dict | None:
    """Return the AUROC of pneumonia between the smallest healthy and the largest ill quarter, and limits.

    No threshold has a part in it. None without images of both, from the table of `quartered`.
    """
    own = images[images.split == split]
    ill = own.kind == "pneumonia"
    own = own[own.quarter == np.where(ill, QUARTERS[-1], QUARTERS[0])]
    if own.kind.nunique() < 2:
        return None
    weights = all_and_resampled(own.patient, resamples, seed)
    return summary(auroc((own.kind == "pneumonia").to_numpy(), own.score.to_numpy(), weights)) | {
        "n": len(own)
    }


def shown(groups: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `by_size` as it is read: a row per group, a column per split."""
    cells = groups.apply(with_interval, axis=1) + " of " + groups.n.astype(str)
    table = groups.assign(found=cells).pivot(index="group", columns="split", values="found")
    return table.rename(columns={"val": "validation"})
