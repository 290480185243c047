"""Predictions of a split to what metrics.json says of them: scores with patient-bootstrap intervals.

``metrics`` puts rows in one order first: neither batch size nor row order can change a number.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from .scoring import CLASSES, checked, rates, scores

# ---- intervals ----------------------------------------------------------------------------------


def patient_weights(patients, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Bootstrap over patients: as many as there are, drawn with replacement.

    Images of one patient are alike, so that resampling images would give intervals too narrow.

    Parameters
    ----------
    patients : (N,) the patient of each image. Drawing goes by the sorted names, so that the
        order of images does not matter.
    resamples : B.

    Returns
    -------
    (B, N) int, how often the patient of each image was drawn.
    """
    names, owner = np.unique(np.asarray(patients).astype(str), return_inverse=True)
    share = np.full(len(names), 1 / len(names))
    drawn = np.random.default_rng(seed).multinomial(len(names), share, size=resamples)
    return drawn[:, owner]


def confidence_intervals(
    labels, probabilities, classes, patients, resamples=2000, level=0.95, seed=0
) -> dict[str, dict[str, float]]:
    """Each score with its percentile interval by bootstrap over patients.

    Parameters
    ----------
    labels, probabilities, classes : as in ``scores``.
    patients : (N,) the patient of each image.
    level : coverage of the interval.

    Returns
    -------
    name to {"value", "low", "high"}; the value is that of all images. A resample in which a score
    is undefined, as one without a class, is left out of that score's interval.

    Raises
    ------
    ValueError : as ``scores``, and patients of another length.
    """
    if len(patients) != len(labels):
        raise ValueError(f"{len(patients)} patients for {len(labels)} labels")
    values = scores(labels, probabilities, classes)
    weights = patient_weights(patients, resamples, seed)
    resampled = scores(labels, probabilities, classes, weights)
    return {
        name: {"value": float(value[0])} | interval(resampled[name], level) for name, value in values.items()
    }


def differences(
    labels, one, two, classes, patients, resamples=2000, level=0.95, seed=0
) -> dict[str, dict[str, float]]:
    """How far the scores and class rates of one set of predictions lie above those of another.

    Both are of the same images, and every resample draws the same patients for both: what is hard for
    either is in both, so the interval is narrower than two separate ones would suggest.

    Parameters
    ----------
    labels : (N,) int, positions in ``classes``.
    one, two : (N, C) probabilities.
    patients : (N,) the patient of each image.

    Returns
    -------
    name to {"value", "low", "high"} of one - two; the names are those of ``scores`` and ``rates``.
    """
    draws = patient_weights(patients, resamples, seed)
    found = []
    for weights in (None, draws):
        each = [scores(labels, p, classes, weights) | rates(labels, p, classes, weights) for p in (one, two)]
        found.append({name: each[0][name] - each[1][name] for name in each[0]})
    plain, resampled = found
    return {name: {"value": float(plain[name][0])} | interval(resampled[name], level) for name in plain}


def interval(values, level: float = 0.95) -> dict[str, float]:
    """{"low", "high"}: where the middle of resampled values (B,) lies; those undefined (NaN) are left out."""
    values = values[~np.isnan(values)]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2]) if len(values) else [np.nan] * 2
    return {"low": float(low), "high": float(high)}


# ---- tables -------------------------------------------------------------------------------------


def confusion(labels, predicted, classes=CLASSES) -> np.ndarray:
    """Counts of images, (C, C) int, rows true, columns predicted; both given as positions (N,)."""
    return confusion_matrix(labels, predicted, labels=range(len(classes)))


def outcome_counts(confusion, classes=CLASSES) -> pd.DataFrame:
    """True and false positives and negatives of each class against the rest.

    Parameters
    ----------
    confusion : (C, C) counts, rows true.

    Returns
    -------
    One row a class, columns TP, FP, FN, TN.
    """
    confusion = np.asarray(confusion)
    true = np.diagonal(confusion)
    false, missed = confusion.sum(axis=0) - true, confusion.sum(axis=1) - true
    counts = {"TP": true, "FP": false, "FN": missed, "TN": confusion.sum() - true - false - missed}
    return pd.DataFrame(counts, index=pd.Index(list(classes), name="class"))


def per_class(labels, probabilities, classes=CLASSES) -> pd.DataFrame:
    """One row a class: precision, recall, f1, average_precision and support (images)."""
    labels, probabilities = checked(labels, probabilities, classes)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=range(len(classes)), zero_division=0
    )
    table = pd.DataFrame({"precision": precision, "recall": recall, "f1": f1})
    every = scores(labels, probabilities, classes)
    table["average_precision"] = [every[f"average_precision_{name}"][0] for name in classes]
    return table.assign(support=support).set_index(pd.Index(list(classes), name="class"))


def predictions_table(records: pd.DataFrame, probabilities, classes=CLASSES) -> pd.DataFrame:
    """Columns path, label, patient of the records (N rows), and a probability column a class.

    Raises
    ------
    ValueError : as ``metrics``.
    """
    table = records[["path", "label", "patient"]].reset_index(drop=True)
    _, table[list(classes)] = checked(positions(table, classes), probabilities, classes)
    return table


def metrics(predictions: pd.DataFrame, classes=CLASSES, split="test", resamples=2000, seed=0) -> dict:
    """What metrics.json says of the predictions of one split, ready for JSON.

    Parameters
    ----------
    predictions : as ``predictions_table`` gives them, rows in any order.

    Returns
    -------
    split, n (images), patients, classes, confusion (rows true) and scores, each {"value", "low",
    "high"} with a 95 % interval by bootstrap over patients; None where undefined.

    Raises
    ------
    ValueError : no rows, missing columns or cells, a path twice, unknown labels, no probabilities.
    """
    labels = positions(predictions, classes, also=classes)
    order = np.argsort(predictions["path"].to_numpy(str), kind="stable")
    labels, patients = labels[order], predictions["patient"].to_numpy(str)[order]
    labels, probabilities = checked(labels, predictions[list(classes)].to_numpy()[order], classes)
    intervals = confidence_intervals(labels, probabilities, classes, patients, resamples, seed=seed)
    return {
        "split": split,
        "n": len(labels),
        "patients": len(np.unique(patients)),
        "classes": list(classes),
        "confusion": confusion(labels, probabilities.argmax(axis=1), classes).tolist(),
        "scores": {  # JSON has no NaN
            name: {key: None if np.isnan(number) else number for key, number in each.items()}
            for name, each in intervals.items()
        },
    }


def positions(table: pd.DataFrame, classes, also=()) -> np.ndarray:
    """(N,) int: the label of each row as its place in ``classes``; ValueError where the table is no good."""
    needed = ["path", "label", "patient", *also]
    if missing := [column for column in needed if column not in table]:
        raise ValueError(f"predictions lack the columns {missing}")
    if table[needed].isna().any(axis=None):
        raise ValueError("predictions have empty cells")
    if table["path"].duplicated().any():  # their order could not be settled
        raise ValueError("predictions have a path twice")
    if unknown := sorted(set(table["label"]) - set(classes)):
        raise ValueError(f"unknown labels {unknown}; the classes are {list(classes)}")
    return pd.Index(list(classes)).get_indexer(table["label"])
