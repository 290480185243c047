"""Predictions to scores with patient-bootstrap intervals, confusion matrices and curves.

Every score is computed from all images at once, never averaged over batches, and ``metrics`` puts
rows in one order first: neither batch size nor row order can change a number.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_recall_curve,
    precision_recall_fscore_support,
)

CLASSES = ("bacteria", "normal", "virus")
BINS = 15  # of the calibration error
CELLS = 2**20  # weights in work at once (8 MB), so that memory does not grow with the resamples


# ---- scores -------------------------------------------------------------------------------------


def scores(labels, probabilities, classes=CLASSES, weights=None) -> dict[str, np.ndarray]:
    """Every score of a set of predictions, for many weightings of its images at once.

    Parameters
    ----------
    labels : (N,) int, positions in ``classes``.
    probabilities : (N, C) float, rows summing to 1.
    classes : C names. The scores of pneumonia need "normal" among them, those of bacteria against
        virus need both; they are left out otherwise.
    weights : (B, N) how often each image counts; None: each once, B = 1.

    Returns
    -------
    name to (B,) float, all between 0 and 1: the names of metrics.json. NaN where undefined, as the
    average precision of a class without images; a class's F1 is 0 there, as in scikit-learn.
    ``auroc_pneumonia`` ranks by 1 - p(normal); bacteria against virus takes only images that are
    either and ranks by p(bacteria) / (p(bacteria) + p(virus)), bacteria from 0.5.

    Raises
    ------
    ValueError : no images, shapes that do not fit, not probabilities, unknown labels.
    """
    labels, probabilities = _checked(labels, probabilities, classes)
    weights = _checked_weights(weights, len(labels))
    size = max(1, CELLS // probabilities.size)
    parts = [
        _scores(labels, probabilities, list(classes), weights[start : start + size].astype(float))
        for start in range(0, len(weights), size)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _scores(labels, probabilities, classes, weights):
    matrices = _weighted_confusions(labels, probabilities, weights)
    result = _overall(matrices) | _average_precisions(labels, probabilities, classes, weights)
    if "normal" in classes:
        result |= _pneumonia(labels, probabilities, classes.index("normal"), matrices, weights)
    if {"bacteria", "virus"} <= set(classes):
        pair = [classes.index("bacteria"), classes.index("virus")]
        result |= _bacteria_vs_virus(labels, probabilities, pair, weights)
    return result | {"ece": _ece(labels, probabilities, weights)}


def _weighted_confusions(labels, probabilities, weights):
    """(B, C, C), rows true."""
    count = probabilities.shape[1]
    cell = labels * count + probabilities.argmax(axis=1)
    return (weights @ np.eye(count**2)[cell]).reshape(-1, count, count)


def _overall(matrices):
    true, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    right, total = np.diagonal(matrices, axis1=1, axis2=2), matrices.sum(axis=(1, 2))
    f1 = _ratio(2 * right, true + predicted, empty=0.0)
    return {
        "accuracy": _ratio(right.sum(axis=1), total),
        "f1_weighted": _ratio((f1 * true).sum(axis=1), total),
        "f1_macro": f1.mean(axis=1),  # over all classes, those absent from a resample too
    }


def rates(labels, probabilities, classes=CLASSES, weights=None) -> dict[str, np.ndarray]:
    """precision_<class>, recall_<class> and f1_<class>, each (B,), for many weightings at once.

    Parameters and errors as in ``scores``. 0 where nothing is called, or is, of the class, as in
    scikit-learn.
    """
    labels, probabilities = _checked(labels, probabilities, classes)
    weights = _checked_weights(weights, len(labels)).astype(float)
    matrices = _weighted_confusions(labels, probabilities, weights)
    true, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    right = np.diagonal(matrices, axis1=1, axis2=2)
    found = {
        "precision": _ratio(right, predicted, empty=0.0),
        "recall": _ratio(right, true, empty=0.0),
        "f1": _ratio(2 * right, true + predicted, empty=0.0),
    }
    return {f"{kind}_{name}": each[:, c] for c, name in enumerate(classes) for kind, each in found.items()}


def _average_precisions(labels, probabilities, classes, weights):
    truth = np.eye(len(classes), dtype=bool)[labels]
    result = {
        f"average_precision_{name}": _average_precision(truth[:, c], probabilities[:, c], weights)
        for c, name in enumerate(classes)
    }
    each = np.repeat(weights, len(classes), axis=1)
    micro = _average_precision(truth.ravel(), probabilities.ravel(), each)
    return result | {"average_precision_micro": micro}


def _pneumonia(labels, probabilities, normal, matrices, weights):
    healthy, total = matrices[:, normal].sum(axis=1), matrices.sum(axis=(1, 2))
    passed = matrices[:, normal, normal]
    missed = matrices[:, :, normal].sum(axis=1) - passed
    found = total - healthy - missed
    return {
        "auroc_pneumonia": _auroc(labels != normal, 1 - probabilities[:, normal], weights),
        "accuracy_pneumonia": _ratio(found + passed, total),
        "sensitivity_pneumonia": _ratio(found, found + missed),
        "specificity_pneumonia": _ratio(passed, healthy),
    }


def _bacteria_vs_virus(labels, probabilities, pair, weights):
    rows = np.isin(labels, pair)
    bacteria, weights = labels[rows] == pair[0], weights[:, rows]
    either = probabilities[rows][:, pair]
    score = _ratio(either[:, 0], either.sum(axis=1), empty=0.5)
    right = (score >= 0.5) == bacteria
    return {
        "accuracy_bacteria_vs_virus": _ratio(weights @ right, weights.sum(axis=1)),
        "auroc_bacteria_vs_virus": _auroc(bacteria, score, weights),
    }


def _ece(labels, probabilities, weights):
    """Expected calibration error, l1, as torchmetrics has it: a bin holds its lower edge.

    Guo et al. 2017, arXiv 1706.04599, equation 3. A confidence of exactly 1 has a bin of its own.
    """
    confidence = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == labels) - confidence
    bins = np.digitize(confidence, np.linspace(0, 1, BINS + 1)) - 1
    by_bin = weights @ (np.eye(BINS + 1)[np.minimum(bins, BINS)] * gap[:, None])
    return _ratio(np.abs(by_bin).sum(axis=1), weights.sum(axis=1))


def _ranked(positive, score, weights):
    """Weighted true and false positives from the highest score down to each: two (B, K)."""
    if not len(score):  # no image of the kind: nothing counted at one threshold, hence NaN
        return np.zeros((2, len(weights), 1))
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    positive, weights = positive[order], weights[:, order]
    counts = [np.cumsum(weights * kind, axis=1) for kind in (positive, ~positive)]
    return [each[:, last_of_tie] for each in counts]


def _average_precision(positive, score, weights):
    """Precision weighted by the recall each threshold adds, as scikit-learn has it."""
    true, false = _ranked(positive, score, weights)
    precision = _ratio(true, true + false, empty=0.0)
    return _ratio((np.diff(true, axis=1, prepend=0) * precision).sum(axis=1), true[:, -1])


def _auroc(positive, score, weights):
    """Area under the ROC curve by trapezoids, so that a tie counts half, as scikit-learn has it."""
    true, false = _ranked(positive, score, weights)
    mean_height = true - np.diff(true, axis=1, prepend=0) / 2
    area = (np.diff(false, axis=1, prepend=0) * mean_height).sum(axis=1)
    return _ratio(area, true[:, -1] * false[:, -1])


def _ratio(above, below, empty=np.nan):
    """Above over below, ``empty`` where below is 0."""
    result = np.full(np.broadcast_shapes(np.shape(above), np.shape(below)), empty)
    return np.divide(above, below, out=result, where=below > 0)


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
        name: {"value": float(value[0])} | _interval(resampled[name], level) for name, value in values.items()
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
    return {name: {"value": float(plain[name][0])} | _interval(resampled[name], level) for name in plain}


def _interval(values, level):
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
    labels, probabilities = _checked(labels, probabilities, classes)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=range(len(classes)), zero_division=0
    )
    table = pd.DataFrame({"precision": precision, "recall": recall, "f1": f1})
    every = scores(labels, probabilities, classes)
    table["average_precision"] = [every[f"average_precision_{name}"][0] for name in classes]
    return table.assign(support=support).set_index(pd.Index(list(classes), name="class"))


def precision_recall(labels, probabilities, classes=CLASSES) -> pd.DataFrame:
    """Precision-recall curves of each class and of all together ("micro").

    Returns
    -------
    Columns curve, threshold, precision, recall, average_precision (the same along a curve), recall
    falling. A class without images has no curve.
    """
    labels, probabilities = _checked(labels, probabilities, classes)
    truth = np.eye(len(classes), dtype=bool)[labels]
    pairs = {name: (truth[:, c], probabilities[:, c]) for c, name in enumerate(classes)}
    pairs["micro"] = (truth.ravel(), probabilities.ravel())
    return pd.concat(
        [_curve(name, *pair) for name, pair in pairs.items() if pair[0].any()], ignore_index=True
    )


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


def predictions_table(records: pd.DataFrame, probabilities, classes=CLASSES) -> pd.DataFrame:
    """Columns path, label, patient of the records (N rows), and a probability column a class.

    Raises
    ------
    ValueError : as ``metrics``.
    """
    table = records[["path", "label", "patient"]].reset_index(drop=True)
    _, table[list(classes)] = _checked(_positions(table, classes), probabilities, classes)
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
    labels = _positions(predictions, classes, also=classes)
    order = np.argsort(predictions["path"].to_numpy(str), kind="stable")
    labels, patients = labels[order], predictions["patient"].to_numpy(str)[order]
    labels, probabilities = _checked(labels, predictions[list(classes)].to_numpy()[order], classes)
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


# ---- checks -------------------------------------------------------------------------------------


def _checked(labels, probabilities, classes):
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=float)
    if not len(labels):
        raise ValueError("no predictions to evaluate")
    if probabilities.shape != (len(labels), len(classes)):
        raise ValueError(
            f"probabilities are {probabilities.shape}, expected {(len(labels), len(classes))}: "
            "one row a label, one column a class"
        )
    if not np.isfinite(probabilities).all():
        raise ValueError(f"{(~np.isfinite(probabilities)).sum()} probabilities are not finite")
    if (probabilities < 0).any() or (np.abs(probabilities.sum(axis=1) - 1) > 1e-3).any():
        raise ValueError("probabilities must not be negative and must sum to 1 in every row")
    if labels.dtype.kind not in "iu" or not np.isin(labels, range(len(classes))).all():
        raise ValueError(f"labels must be whole numbers from 0 to {len(classes) - 1}")
    return labels.astype(int), probabilities


def _checked_weights(weights, count):
    weights = np.ones((1, count)) if weights is None else np.asarray(weights)
    if weights.ndim != 2 or weights.shape[1] != count:
        raise ValueError(f"weights are {weights.shape}, expected (B, {count})")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("weights must be finite and not negative")
    return weights


def _positions(table, classes, also=()):
    """(N,) int: the label of each row as its place in ``classes``; checks the table first."""
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
