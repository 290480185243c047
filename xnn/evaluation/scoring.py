"""Scores of predictions, for one weighting of the images or for thousands at once.

Every score is computed from all images at once, never averaged over batches: neither batch size nor
row order can change a number.
"""

import numpy as np

NORMAL = "normal"  # the class of healthy radiographs: every other class counts as pneumonia
PNEUMONIAS = ("bacteria", "virus")  # the classes that are compared with each other
BINS = 15  # of the calibration error
CELLS = 2**20  # numbers processed at once (8 MB), however many resamples there are


def scores(labels, probabilities, classes, weights=None) -> dict[str, np.ndarray]:
    """Return every score of a set of predictions, (B,) each, by its name in metrics.json.

    Parameters
    ----------
    labels : (N,) int, positions in ``classes``.
    probabilities : (N, C) float, rows summing to 1.
    classes : C names. Scores of pneumonia need ``NORMAL`` among them, scores of bacteria against virus
        need both; they are left out otherwise.
    weights : (B, N) how often each image counts; None: once, B = 1.

    A score is NaN where it is undefined, as the average precision of a class without images; the F1 of
    such a class is 0, as in scikit-learn. ``auroc_pneumonia`` ranks by 1 - p(normal). Bacteria against
    virus uses only images of either and ranks by p(bacteria) / (p(bacteria) + p(virus)), bacteria from 0.5.
    Raises ValueError for input that ``checked`` or ``checked_weights`` refuses.
    """
    labels, probabilities = checked(labels, probabilities, classes)
    parts = [
        _scores(labels, probabilities, list(classes), part)
        for part in in_parts(checked_weights(weights, len(labels)), probabilities.size)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def rates(labels, probabilities, classes, weights=None) -> dict[str, np.ndarray]:
    """Return precision_<class>, recall_<class> and f1_<class>, (B,) each; parameters as in ``scores``.

    A rate is 0 where no image is predicted as the class, or is of it, as in scikit-learn.
    """
    labels, probabilities = checked(labels, probabilities, classes)
    found = _rates(labels, probabilities, checked_weights(weights, len(labels)))
    return {f"{kind}_{name}": each[:, c] for c, name in enumerate(classes) for kind, each in found.items()}


def _scores(labels, probabilities, classes, weights):
    f1, predicted = _rates(labels, probabilities, weights)["f1"], probabilities.argmax(axis=1)
    support = weights @ np.eye(len(classes))[labels]
    result = {
        "accuracy": mean(predicted == labels, weights),
        "f1_weighted": ratio((f1 * support).sum(axis=1), support.sum(axis=1)),
        "f1_macro": f1.mean(axis=1),  # over all classes, including those absent from a resample
    }
    result |= _average_precisions(labels, probabilities, classes, weights)
    if NORMAL in classes:
        result |= _pneumonia(labels, probabilities, classes.index(NORMAL), weights)
    if set(PNEUMONIAS) <= set(classes):
        pair = [classes.index(name) for name in PNEUMONIAS]
        result |= _bacteria_vs_virus(labels, probabilities, pair, weights)
    return result | {"ece": ece(labels, probabilities, weights)}


def _rates(labels, probabilities, weights):
    """Precision, recall and F1 of each class, (B, C) each."""
    one_hot = np.eye(probabilities.shape[1])
    truth, prediction = one_hot[labels], one_hot[probabilities.argmax(axis=1)]
    support, predicted, correct = weights @ truth, weights @ prediction, weights @ (truth * prediction)
    return {
        "precision": ratio(correct, predicted, empty=0.0),
        "recall": ratio(correct, support, empty=0.0),
        "f1": ratio(2 * correct, support + predicted, empty=0.0),
    }


def _average_precisions(labels, probabilities, classes, weights):
    truth = np.eye(len(classes), dtype=bool)[labels]
    result = {
        f"average_precision_{name}": _average_precision(truth[:, c], probabilities[:, c], weights)
        for c, name in enumerate(classes)
    }
    repeated = np.repeat(weights, len(classes), axis=1)
    micro = _average_precision(truth.ravel(), probabilities.ravel(), repeated)
    return result | {"average_precision_micro": micro}


def _pneumonia(labels, probabilities, normal, weights):
    ill, correct = labels != normal, (labels != normal) == (probabilities.argmax(axis=1) != normal)
    return {
        "auroc_pneumonia": auroc(ill, 1 - probabilities[:, normal], weights),
        "accuracy_pneumonia": mean(correct, weights),
        "sensitivity_pneumonia": mean(correct[ill], weights[:, ill]),
        "specificity_pneumonia": mean(correct[~ill], weights[:, ~ill]),
    }


def _bacteria_vs_virus(labels, probabilities, pair, weights):
    rows = np.isin(labels, pair)
    bacteria, weights = labels[rows] == pair[0], weights[:, rows]
    either = probabilities[rows][:, pair]
    score = ratio(either[:, 0], either.sum(axis=1), empty=0.5)
    return {
        "accuracy_bacteria_vs_virus": mean((score >= 0.5) == bacteria, weights),
        "auroc_bacteria_vs_virus": auroc(bacteria, score, weights),
    }


def ece(labels, probabilities, weights) -> np.ndarray:
    """Return the expected calibration error (B,), l1, with torchmetrics' bins: each holds its lower edge.

    Guo et al. 2017, arXiv 1706.04599, equation 3. A confidence of exactly 1 has a bin of its own.
    """
    confidence = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == labels) - confidence
    bins = np.digitize(confidence, np.linspace(0, 1, BINS + 1)) - 1
    by_bin = weights @ (np.eye(BINS + 1)[np.minimum(bins, BINS)] * gap[:, None])
    return ratio(np.abs(by_bin).sum(axis=1), weights.sum(axis=1))


def ranked(positive, score, weights):
    """Return weighted true and false positives from the highest score down to each: two (B, K)."""
    if not len(score):  # no such image: one threshold with nothing counted, hence NaN
        return np.zeros((2, len(weights), 1))
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    positive, weights = positive[order], weights[:, order]
    return [np.cumsum(weights * kind, axis=1)[:, last_of_tie] for kind in (positive, ~positive)]


def _average_precision(positive, score, weights):
    """Precision weighted by the recall that each threshold adds, as in scikit-learn."""
    true, false = ranked(positive, score, weights)
    precision = ratio(true, true + false, empty=0.0)
    return ratio((np.diff(true, axis=1, prepend=0) * precision).sum(axis=1), true[:, -1])


def auroc(positive, score, weights):
    """Area under the ROC curve by trapezoids, so that a tie counts half, as in scikit-learn."""
    true, false = ranked(positive, score, weights)
    mean_height = true - np.diff(true, axis=1, prepend=0) / 2
    area = (np.diff(false, axis=1, prepend=0) * mean_height).sum(axis=1)
    return ratio(area, true[:, -1] * false[:, -1])


def mean(values, weights):
    """Return the mean of values (N,) under each weighting (B, N); NaN where all weights are 0."""
    return ratio(weights @ values, weights.sum(axis=1))


def ratio(above, below, empty=np.nan):
    """Return above / below, ``empty`` where below is 0."""
    result = np.full(np.broadcast_shapes(np.shape(above), np.shape(below)), empty)
    return np.divide(above, below, out=result, where=below > 0)


def in_parts(weights, width: int):
    """Return the rows of weights in parts, such that a part times ``width`` numbers fits into CELLS."""
    size = max(1, CELLS // width)
    return [weights[start : start + size] for start in range(0, len(weights), size)]


def checked(labels, probabilities, classes) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (N,) int and probabilities (N, C) float; raise ValueError where they are not."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=float)
    if not len(labels):
        raise ValueError("no predictions to evaluate")
    if probabilities.shape != (len(labels), len(classes)):
        raise ValueError(
            f"probabilities are {probabilities.shape}, expected {(len(labels), len(classes))}: "
            "one row per label, one column per class"
        )
    if not np.isfinite(probabilities).all():
        raise ValueError(f"{(~np.isfinite(probabilities)).sum()} probabilities are not finite")
    if (probabilities < 0).any() or (np.abs(probabilities.sum(axis=1) - 1) > 1e-3).any():
        raise ValueError("probabilities must not be negative and must sum to 1 in every row")
    if labels.dtype.kind not in "iu" or not np.isin(labels, range(len(classes))).all():
        raise ValueError(f"labels must be whole numbers from 0 to {len(classes) - 1}")
    return labels.astype(int), probabilities


def checked_weights(weights, count: int) -> np.ndarray:
    """Return weights (B, count) as floats, ones for None; raise ValueError where they are not valid."""
    weights = np.ones((1, count)) if weights is None else np.asarray(weights, dtype=float)
    if weights.ndim != 2 or weights.shape[1] != count:
        raise ValueError(f"weights are {weights.shape}, expected (B, {count})")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("weights must be finite and not negative")
    return weights
