"""Images of one patient: what names a patient, and what siblings in training are worth."""

import itertools

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from ..config.schema import Study
from ..evaluation.comparison import with_interval
from ..evaluation.intervals import patient_weights, summary, with_intervals
from ..evaluation.scoring import scores

RESAMPLES = 1000
SHUFFLES = 200
FOLDS = 5
COMPONENTS = 100  # of the embedding: a linear head needs no more, and is fitted in seconds
HEADS = {
    "linear head": lambda: LogisticRegression(C=10, max_iter=1000),
    "nearest neighbour": lambda: KNeighborsClassifier(1, metric="cosine"),
}


def likeness(records: pd.DataFrame, embedding: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Return how alike two images are, by kind of pair: the cosine of what differs from their class.

    Rows: siblings of each class (the same patient number and class); the same number in two classes, if there
    are such; and chance, the same with numbers shuffled. Columns pair, numbers, value, low and high: means
    over numbers, with intervals by bootstrap over them. If images that share only their number are no more
    alike than chance, a number names a patient within its class alone.
    """
    means = pd.DataFrame(embedding).groupby(records.label.to_numpy()).transform("mean")
    vectors = embedding - means.to_numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9)
    sums = pd.DataFrame(vectors).groupby([records.label.to_numpy(), records.patient.to_numpy()]).sum()
    counts = records.groupby(["label", "patient"]).size().loc[sums.index]
    rows = []
    for label in records.label.unique():
        total, n = sums.loc[label].to_numpy(), counts.loc[label].to_numpy()
        several = n > 1
        alike = ((total**2).sum(axis=1) - n)[several] / (n * (n - 1))[several]
        rows.append({"pair": f"siblings, {label}", **_mean(alike, seed)})
    for one, other in _pairs_of_classes(records):
        both = sums.loc[one].index.intersection(sums.loc[other].index)
        first, second = (
            sums.loc[label].loc[both].to_numpy() / counts.loc[label].loc[both].to_numpy()[:, None]
            for label in (one, other)
        )
        rows.append({"pair": f"one number, {one} and {other}", **_mean((first * second).sum(axis=1), seed)})
        rng = np.random.default_rng(seed)
        shuffled = [(first * second[rng.permutation(len(both))]).sum(axis=1) for _ in range(SHUFFLES)]
        rows.append({"pair": "chance: numbers shuffled", **_mean(np.mean(shuffled, axis=0), seed)})
    return pd.DataFrame(rows)


def _pairs_of_classes(records: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the classes that share patient numbers."""
    numbers = records.groupby("label").patient.agg(set)
    labels = list(numbers.index)
    return [(one, two) for one, two in itertools.combinations(labels, 2) if numbers[one] & numbers[two]]


def _mean(values: np.ndarray, seed: int) -> dict:
    if not len(values):
        return {"numbers": 0, "value": np.nan, "low": np.nan, "high": np.nan}
    drawn = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    return {"numbers": len(values), **summary(np.append(values.mean(), values[drawn].mean(axis=1)))}


def worth(study: Study, records: pd.DataFrame, embedding: np.ndarray) -> pd.DataFrame:
    """Return the weighted F1 on the same images, predicted with and without siblings in training.

    Every image is predicted out of fold from the embedding: once with folds that tear patients apart, once
    with folds that do not. Columns head, apart, siblings and gain, each {"value", "low", "high"} over
    patients; the gain is paired.
    """
    features = PCA(min(COMPONENTS, *embedding.shape), random_state=study.seed).fit_transform(embedding)
    labels = records.label.map(study.classes.index).to_numpy()
    ways = {
        "apart": (StratifiedGroupKFold(FOLDS, shuffle=True, random_state=study.seed), records.group),
        "siblings": (StratifiedKFold(FOLDS, shuffle=True, random_state=study.seed), None),
    }
    weights, rows = patient_weights(records.patient, RESAMPLES, study.seed), []
    for name, head in HEADS.items():
        found = {
            way: cross_val_predict(head(), features, labels, groups=groups, cv=folds, method="predict_proba")
            for way, (folds, groups) in ways.items()
        }

        def f1(weights, found=found):
            by_way = {
                way: scores(labels, each, study.classes, weights)["f1_weighted"]
                for way, each in found.items()
            }
            return by_way | {"gain": by_way["siblings"] - by_way["apart"]}

        rows.append({"head": name, **with_intervals(f1, weights)})
    return pd.DataFrame(rows)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `worth` as it is read, with intervals."""
    names = {"apart": "patients apart", "siblings": "siblings in training"}
    return table.set_index("head").map(with_interval).rename(columns=names)
