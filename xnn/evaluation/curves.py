"""Curves behind the scores: precision and recall, F1 by threshold, risk and coverage, reliability.

Bands are 95 %, from the same resamples of patients as the intervals of the scores
(``evaluation.patient_weights``): at each place of a curve, where the middle of the resampled ones lies.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, precision_recall_curve

from .intervals import interval
from .scoring import BINS, CELLS, CLASSES, checked, checked_weights, ranked, ratio

GRID = np.linspace(0, 1, 101)  # places along a curve at which a band is computed


def precision_recall(labels, probabilities, classes=CLASSES) -> pd.DataFrame:
    """Precision-recall curves of each class and of all together ("micro").

    Parameters
    ----------
    labels : (N,) int, positions in ``classes``.
    probabilities : (N, C).

    Returns
    -------
    Columns curve, threshold, precision, recall, average_precision (the same along a curve), recall
    falling. A class without images has no curve.
    """
    pairs = _one_against_rest(*checked(labels, probabilities, classes), classes)
    return pd.concat([_curve(name, *pair) for name, pair in pairs.items()], ignore_index=True)


def precision_recall_bands(labels, probabilities, weights, classes=CLASSES) -> pd.DataFrame:
    """Bands of those curves: columns curve, recall (a grid), low, high (of precision).

    ``weights`` (B, N): how often each image counts in each resample. At a recall, the precision is that of
    the highest threshold which reaches it.
    """
    labels, probabilities = checked(labels, probabilities, classes)
    weights, tables = checked_weights(weights, len(labels)), []
    for name, (positive, score) in _one_against_rest(labels, probabilities, classes).items():
        each = np.repeat(weights, len(positive) // len(labels), axis=1)
        low, high = _band(_precision_at, positive, score, each)
        tables.append(pd.DataFrame({"curve": name, "recall": GRID, "low": low, "high": high}))
    return pd.concat(tables, ignore_index=True)


def f1_by_threshold(labels, probabilities, classes=CLASSES) -> pd.DataFrame:
    """F1 of each class against the rest, where the class is called from a threshold of its probability on.

    Returns
    -------
    Columns class, threshold (each probability that occurs, falling), f1. None of a class without images.
    """
    rows = []
    pairs = _one_against_rest(*checked(labels, probabilities, classes), classes)
    for name, (positive, score) in pairs.items():
        if name != "micro":
            (true,), (false,) = ranked(positive, score, np.ones((1, len(score))))
            f1 = 2 * true / (true + false + positive.sum())
            rows.append(pd.DataFrame({"class": name, "threshold": np.unique(score)[::-1], "f1": f1}))
    return pd.concat(rows, ignore_index=True)


def best_thresholds(table: pd.DataFrame) -> pd.Series:
    """The threshold of the highest F1, by class, of a table of ``f1_by_threshold``."""
    return table.loc[table.groupby("class", sort=False).f1.idxmax()].set_index("class").threshold


def f1_at(table: pd.DataFrame, thresholds: pd.Series) -> pd.Series:
    """The F1 at one threshold a class: that of the lowest probability which still reaches it."""
    found = {}
    for name, curve in table.groupby("class", sort=False):
        called = curve[curve.threshold >= thresholds[name]]
        found[name] = called.f1.iloc[-1] if len(called) else 0.0
    return pd.Series(found)


def risk_coverage(labels, probabilities, weights, classes=CLASSES) -> pd.DataFrame:
    """Share of errors among the images answered, where the least confident answers are withheld.

    El-Yaniv and Wiener 2010. Confidence is the highest probability; images of equal confidence are answered
    together.

    Returns
    -------
    Columns coverage (a grid above 0: share of the images answered), risk, low, high.
    """
    labels, probabilities = checked(labels, probabilities, classes)
    weights = checked_weights(weights, len(labels))
    wrong, confidence = probabilities.argmax(axis=1) != labels, probabilities.max(axis=1)
    plain = _risk_at(wrong, confidence, np.ones((1, len(labels))))[0]
    low, high = _band(_risk_at, wrong, confidence, weights)
    return pd.DataFrame({"coverage": GRID, "risk": plain, "low": low, "high": high}).iloc[1:]


def reliability(labels, probabilities, weights, classes=CLASSES) -> pd.DataFrame:
    """How often the answers of each confidence are right: the bins of the calibration error.

    Returns
    -------
    One row a bin with images: confidence (mean), accuracy, low, high (of accuracy), images.
    """
    labels, probabilities = checked(labels, probabilities, classes)
    weights = checked_weights(weights, len(labels)).astype(float)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = []
    for number in np.unique(bins):
        member = bins == number
        resampled = ratio(weights[:, member] @ right[member], weights[:, member].sum(axis=1))
        row = {"confidence": confidence[member].mean(), "accuracy": right[member].mean()}
        rows.append(row | interval(resampled) | {"images": int(member.sum())})
    return pd.DataFrame(rows)


def mistakes(predictions: pd.DataFrame, classes=CLASSES, count: int = 3) -> pd.DataFrame:
    """The most confident mistakes of each kind: (true class, class called), at most ``count`` of each.

    Returns
    -------
    Columns path, label, patient, predicted, probability (of the class called).
    """
    probabilities = predictions[list(classes)].to_numpy()
    table = predictions[["path", "label", "patient"]].assign(
        predicted=np.array(classes)[probabilities.argmax(axis=1)], probability=probabilities.max(axis=1)
    )
    wrong = table[table.predicted != table.label].sort_values(
        ["probability", "path"], ascending=[False, True]
    )
    found = wrong.groupby(["label", "predicted"]).head(count)
    return found.sort_values(
        ["label", "predicted", "probability"], ascending=[True, True, False]
    ).reset_index(drop=True)


def _one_against_rest(labels, probabilities, classes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Truth and score of each class that has images, and of all together."""
    truth = np.eye(len(classes), dtype=bool)[labels]
    pairs = {name: (truth[:, c], probabilities[:, c]) for c, name in enumerate(classes)}
    pairs["micro"] = (truth.ravel(), probabilities.ravel())
    return {name: pair for name, pair in pairs.items() if pair[0].any()}


def _curve(name, positive, score):
    precision, recall, threshold = precision_recall_curve(positive, score, drop_intermediate=True)
    return pd.DataFrame(
        {
            "curve": name,
            "threshold": np.append(threshold, np.inf),  # the end: nothing is called positive
            "precision": precision,
            "recall": recall,
            "average_precision": average_precision_score(positive, score),
        }
    )


def _precision_at(positive, score, weights):
    true, false = ranked(positive, score, weights)
    return _at_grid(ratio(true, true[:, -1:]), ratio(true, true + false))


def _risk_at(wrong, confidence, weights):
    errors, right = ranked(wrong, confidence, weights)
    answered = errors + right
    return _at_grid(ratio(answered, answered[:, -1:]), ratio(errors, answered))


def _at_grid(x, y):
    """(B, grid): y where x, rising along a row, first reaches each place of the grid; both (B, K)."""
    last = x.shape[1] - 1
    first = np.stack([(x < place - 1e-12).sum(axis=1) for place in GRID], axis=1)
    return np.take_along_axis(y, np.minimum(first, last), axis=1)


def _band(curve, positive, score, weights):
    """Lower and upper edge, each (grid,), of a curve of many weightings."""
    size = max(1, CELLS // weights.shape[1])
    parts = [curve(positive, score, weights[i : i + size]) for i in range(0, len(weights), size)]
    edges = [interval(place) for place in np.concatenate(parts).T]
    return np.array([edge["low"] for edge in edges]), np.array([edge["high"] for edge in edges])
