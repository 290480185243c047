"""Curves behind the scores: precision and recall, F1 by threshold, risk and coverage, reliability.

Bands are 95 %, from the same resamples of patients as the intervals of the scores
(``intervals.patient_weights``): the percentile interval at each place of a curve.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, confusion_matrix_at_thresholds, precision_recall_curve

from .intervals import interval
from .predictions import KEYS
from .scoring import BINS, checked, checked_weights, in_parts, mean, ranked, ratio

GRID = np.linspace(0, 1, 101)  # places along a curve at which a band is computed


def precision_recall(labels, probabilities, classes) -> pd.DataFrame:
    """Return the precision-recall curves of each class and of all together ("micro").

    Columns curve, threshold, precision, recall (falling) and average_precision (the same along a curve).
    A class without images has no curve.
    """
    tables = []
    for name, pair in _one_against_rest(*checked(labels, probabilities, classes), classes).items():
        precision, recall, threshold = precision_recall_curve(*pair, drop_intermediate=True)
        columns = {"curve": name, "threshold": np.append(threshold, np.inf)}  # at the end nothing is positive
        columns |= {"precision": precision, "recall": recall}
        tables.append(pd.DataFrame({**columns, "average_precision": average_precision_score(*pair)}))
    return pd.concat(tables, ignore_index=True)


def precision_recall_bands(labels, probabilities, weights, classes) -> pd.DataFrame:
    """Return the bands of those curves: columns curve, recall (a grid), low and high (of precision).

    ``weights`` (B, N): how often each image counts in each resample.
    """
    labels, probabilities = checked(labels, probabilities, classes)
    weights, tables = checked_weights(weights, len(labels)), []
    for name, (positive, score) in _one_against_rest(labels, probabilities, classes).items():
        repeated = np.repeat(weights, len(positive) // len(labels), axis=1)
        band = _band(positive, score, repeated, by_recall=True)
        tables.append(pd.DataFrame({"curve": name, "recall": GRID, **band}))
    return pd.concat(tables, ignore_index=True)


def f1_by_threshold(labels, probabilities, classes) -> pd.DataFrame:
    """Return the F1 of each class against the rest, predicted from a threshold of its probability on.

    Columns class, threshold (each distinct probability, falling) and f1. A class without images is left out.
    """
    pairs = _one_against_rest(*checked(labels, probabilities, classes), classes)
    del pairs["micro"]
    tables = []
    for name, pair in pairs.items():
        _, false, missed, true, threshold = confusion_matrix_at_thresholds(*pair)
        f1 = 2 * true / (2 * true + false + missed)
        tables.append(pd.DataFrame({"class": name, "threshold": threshold, "f1": f1}))
    return pd.concat(tables, ignore_index=True)


def best_thresholds(table: pd.DataFrame) -> pd.Series:
    """Return the threshold with the highest F1 of each class, from a table of ``f1_by_threshold``."""
    return table.loc[table.groupby("class", sort=False).f1.idxmax()].set_index("class").threshold


def f1_at(table: pd.DataFrame, thresholds: pd.Series) -> pd.Series:
    """Return the F1 of each class at its threshold, from a table of ``f1_by_threshold``; 0 above all."""
    found = {}
    for name, curve in table.groupby("class", sort=False):
        predicted = curve[curve.threshold >= thresholds[name]]
        found[name] = predicted.f1.iloc[-1] if len(predicted) else 0.0
    return pd.Series(found)


def risk_coverage(labels, probabilities, weights, classes) -> pd.DataFrame:
    """Return the share of errors among the most confident predictions, by the share of images they cover.

    Columns coverage (a grid above 0), risk, low and high. Confidence is the highest probability; images of
    equal confidence are covered together (El-Yaniv and Wiener 2010).
    """
    labels, probabilities = checked(labels, probabilities, classes)
    wrong, confidence = probabilities.argmax(axis=1) != labels, probabilities.max(axis=1)
    (risk,) = _shares(wrong, confidence, np.ones((1, len(labels))), by_recall=False)
    band = _band(wrong, confidence, checked_weights(weights, len(labels)), by_recall=False)
    return pd.DataFrame({"coverage": GRID, "risk": risk, **band}).iloc[1:]


def reliability(labels, probabilities, weights, classes) -> pd.DataFrame:
    """Return how often predictions are correct in each bin of confidence, those of the calibration error.

    Columns confidence (mean), accuracy, low, high (of accuracy) and images, one row per bin with images.
    """
    labels, probabilities = checked(labels, probabilities, classes)
    weights = checked_weights(weights, len(labels))
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = []
    for member in (bins == number for number in np.unique(bins)):
        row = {"confidence": confidence[member].mean(), "accuracy": correct[member].mean()}
        resampled = mean(correct[member], weights[:, member])
        rows.append(row | interval(resampled) | {"images": int(member.sum())})
    return pd.DataFrame(rows)


def mistakes(predictions: pd.DataFrame, classes, count: int = 3) -> pd.DataFrame:
    """Return the ``count`` most confident errors of each kind (true class, predicted class).

    Columns path, label, patient, predicted and probability (of the predicted class).
    """
    probabilities = predictions[list(classes)]
    table = predictions[KEYS].assign(
        predicted=probabilities.idxmax(axis=1), probability=probabilities.max(axis=1)
    )
    order = {"label": True, "predicted": True, "probability": False, "path": True}  # ascending
    wrong = table[table.predicted != table.label].sort_values(list(order), ascending=list(order.values()))
    return wrong.groupby(["label", "predicted"]).head(count).reset_index(drop=True)


def _one_against_rest(labels, probabilities, classes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Truth and score of each class that has images, and of all together."""
    truth = np.eye(len(classes), dtype=bool)[labels]
    pairs = {name: (truth[:, c], probabilities[:, c]) for c, name in enumerate(classes)}
    pairs["micro"] = (truth.ravel(), probabilities.ravel())
    return {name: pair for name, pair in pairs.items() if pair[0].any()}


def _band(positive, score, weights, by_recall):
    """The edges low and high, (grid,) each, of the share of positives under many weightings."""
    parts = [_shares(positive, score, part, by_recall) for part in in_parts(weights, len(score))]
    return pd.DataFrame([interval(place) for place in np.concatenate(parts).T])


def _shares(positive, score, weights, by_recall):
    """Share of positives among the highest scores (B, grid), at the recall or the coverage of the grid.

    The highest threshold that reaches a place of the grid counts.
    """
    true, false = ranked(positive, score, weights)
    counted = true + false
    reached = ratio(true, true[:, -1:]) if by_recall else ratio(counted, counted[:, -1:])
    first = np.stack([(reached < place - 1e-12).sum(axis=1) for place in GRID], axis=1)
    return np.take_along_axis(ratio(true, counted), np.minimum(first, reached.shape[1] - 1), axis=1)
