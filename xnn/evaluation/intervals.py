"""Scores with their intervals by bootstrap over patients, and the tables of metrics.json."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from .predictions import arrays
from .scoring import checked, rates, scores

UNLIMITED = ("ece",)  # resamples have fewer distinct patients, noisier bins and so a larger error


def patient_weights(patients, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Return how often the patient of each image (N,) is drawn in each resample: (B, N) int.

    A resample draws as many patients as there are, with replacement. Images of one patient are alike:
    resampling images instead would give intervals that are too narrow. The draw depends on the sorted names
    of the patients, not on the order of the images.
    """
    names, owner = np.unique(np.asarray(patients).astype(str), return_inverse=True)
    share = np.full(len(names), 1 / len(names))
    drawn = np.random.default_rng(seed).multinomial(len(names), share, size=resamples)
    return drawn[:, owner]


def all_and_resampled(patients, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Return the weights of images for `summary`, (1 + B, N): each once, then those of `patient_weights`."""
    return np.concatenate([np.ones((1, len(patients))), patient_weights(patients, resamples, seed)])


def interval(values, level: float = 0.95) -> dict[str, float]:
    """Return {"low", "high"}, the percentile interval of resampled values (B,); NaN is left out."""
    values = values[~np.isnan(values)]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2]) if len(values) else [np.nan] * 2
    return {"low": float(low), "high": float(high)}


def summary(values: np.ndarray) -> dict[str, float]:
    """Return {"value", "low", "high"} of a score on all images and on resamples of them, (1 + B,)."""
    return {"value": float(values[0])} | interval(values[1:])


def with_intervals(
    score: Callable[[np.ndarray | None], dict[str, np.ndarray]], weights, level: float = 0.95
) -> dict[str, dict[str, float]]:
    """Return {"value", "low", "high"} of each score: its value on all images, its interval from weights.

    ``score`` takes weights (B, N), or None for each image once, and returns (B,) by name. A resample in
    which a score is undefined, as one without a class, is left out of that score's interval. Scores in
    `UNLIMITED` have no limits (None): the percentiles of their resamples are biased.
    """
    plain, resampled = score(None), score(weights)
    none = {"low": None, "high": None}
    return {
        name: {"value": float(plain[name][0])}
        | (none if name in UNLIMITED else interval(resampled[name], level))
        for name in plain
    }


def confidence_intervals(
    labels, probabilities, classes, patients, resamples=2000, level=0.95, seed=0
) -> dict[str, dict[str, float]]:
    """Return every score with its percentile interval by bootstrap over patients.

    ``labels``, ``probabilities`` and ``classes`` as in ``scores``; ``patients`` (N,) of the images. Raises
    ValueError as ``scores`` does, and for patients of another length.
    """
    if len(patients) != len(labels):
        raise ValueError(f"{len(patients)} patients for {len(labels)} labels")
    weights = patient_weights(patients, resamples, seed)
    return with_intervals(lambda each: scores(labels, probabilities, classes, each), weights, level)


def paired_differences(
    labels, one, two, classes, patients, resamples=2000, seed=0
) -> dict[str, dict[str, float]]:
    """Return the scores and class rates of one set of predictions minus those of another, with intervals.

    ``one`` and ``two`` (N, C) are probabilities for the same images, and every resample draws the same
    patients for both: what is hard for both cancels out, so the interval is narrower than two separate ones
    would suggest.
    """

    def difference(weights):
        first, second = (
            scores(labels, each, classes, weights) | rates(labels, each, classes, weights)
            for each in (one, two)
        )
        return {name: first[name] - second[name] for name in first}

    return with_intervals(difference, patient_weights(patients, resamples, seed))


def outcome_counts(confusion, classes) -> pd.DataFrame:
    """Return TP, FP, FN and TN of each class against the rest, from a confusion matrix with true rows."""
    confusion = np.asarray(confusion)
    true = np.diagonal(confusion)
    false, missed = confusion.sum(axis=0) - true, confusion.sum(axis=1) - true
    counts = {"TP": true, "FP": false, "FN": missed, "TN": confusion.sum() - true - false - missed}
    return pd.DataFrame(counts, index=pd.Index(list(classes), name="class"))


def per_class(labels, probabilities, classes) -> pd.DataFrame:
    """Return precision, recall, f1, average_precision and support (images), one row per class."""
    labels, probabilities = checked(labels, probabilities, classes)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=range(len(classes)), zero_division=0
    )
    table = pd.DataFrame({"precision": precision, "recall": recall, "f1": f1})
    found = scores(labels, probabilities, classes)
    table["average_precision"] = [found[f"average_precision_{name}"][0] for name in classes]
    return table.assign(support=support).set_index(pd.Index(list(classes), name="class"))


def metrics(predictions: pd.DataFrame, classes, split="test", resamples=2000, seed=0) -> dict:
    """Return the content of metrics.json for the predictions of one split, rows in any order.

    split, n (images), patients, classes, confusion (true rows) and scores, each {"value", "low", "high"}
    with a 95 % interval by bootstrap over patients; None where undefined, since JSON has no NaN. Raises
    ValueError for a table that ``predictions.arrays`` refuses.
    """
    labels, probabilities = arrays(predictions, classes)
    order = np.argsort(predictions["path"].to_numpy(str))
    labels, probabilities = labels[order], probabilities[order]
    patients = predictions["patient"].to_numpy(str)[order]
    intervals = confidence_intervals(labels, probabilities, classes, patients, resamples, seed=seed)
    confusion = confusion_matrix(labels, probabilities.argmax(axis=1), labels=range(len(classes)))
    return {
        "split": split,
        "n": len(labels),
        "patients": len(np.unique(patients)),
        "classes": list(classes),
        "confusion": confusion.tolist(),
        "scores": {
            name: {key: None if pd.isna(number) else number for key, number in each.items()}
            for name, each in intervals.items()
        },
    }
