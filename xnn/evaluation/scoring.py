"""Scores of predictions, for one weighting of the images or for thousands at once.

Every score is computed from all images at once, never averaged over batches: neither batch size nor
row order can change a number.
"""

import numpy as np

CLASSES = ("bacteria", "normal", "virus")
BINS = 15  # of the calibration error
CELLS = 2**20  # weights in work at once (8 MB), so that memory does not grow with the resamples


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
    labels, probabilities = checked(labels, probabilities, classes)
    weights = checked_weights(weights, len(labels))
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
    f1 = ratio(2 * right, true + predicted, empty=0.0)
    return {
        "accuracy": ratio(right.sum(axis=1), total),
        "f1_weighted": ratio((f1 * true).sum(axis=1), total),
        "f1_macro": f1.mean(axis=1),  # over all classes, those absent from a resample too
    }


def rates(labels, probabilities, classes=CLASSES, weights=None) -> dict[str, np.ndarray]:
    """precision_<class>, recall_<class> and f1_<class>, each (B,), for many weightings at once.

    Parameters and errors as in ``scores``. 0 where nothing is called, or is, of the class, as in
    scikit-learn.
    """
    labels, probabilities = checked(labels, probabilities, classes)
    weights = checked_weights(weights, len(labels)).astype(float)
    matrices = _weighted_confusions(labels, probabilities, weights)
    true, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    right = np.diagonal(matrices, axis1=1, axis2=2)
    found = {
        "precision": ratio(right, predicted, empty=0.0),
        "recall": ratio(right, true, empty=0.0),
        "f1": ratio(2 * right, true + predicted, empty=0.0),
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
        "accuracy_pneumonia": ratio(found + passed, total),
        "sensitivity_pneumonia": ratio(found, found + missed),
        "specificity_pneumonia": ratio(passed, healthy),
    }


def _bacteria_vs_virus(labels, probabilities, pair, weights):
    rows = np.isin(labels, pair)
    bacteria, weights = labels[rows] == pair[0], weights[:, rows]
    either = probabilities[rows][:, pair]
    score = ratio(either[:, 0], either.sum(axis=1), empty=0.5)
    right = (score >= 0.5) == bacteria
    return {
        "accuracy_bacteria_vs_virus": ratio(weights @ right, weights.sum(axis=1)),
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
    return ratio(np.abs(by_bin).sum(axis=1), weights.sum(axis=1))


def ranked(positive, score, weights):
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
    true, false = ranked(positive, score, weights)
    precision = ratio(true, true + false, empty=0.0)
    return ratio((np.diff(true, axis=1, prepend=0) * precision).sum(axis=1), true[:, -1])


def _auroc(positive, score, weights):
    """Area under the ROC curve by trapezoids, so that a tie counts half, as scikit-learn has it."""
    true, false = ranked(positive, score, weights)
    mean_height = true - np.diff(true, axis=1, prepend=0) / 2
    area = (np.diff(false, axis=1, prepend=0) * mean_height).sum(axis=1)
    return ratio(area, true[:, -1] * false[:, -1])


def ratio(above, below, empty=np.nan):
    """Above over below, ``empty`` where below is 0."""
    result = np.full(np.broadcast_shapes(np.shape(above), np.shape(below)), empty)
    return np.divide(above, below, out=result, where=below > 0)


def checked(labels, probabilities, classes) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) int and probabilities (N, C) float, or ValueError that says what is wrong with them."""
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


def checked_weights(weights, count: int) -> np.ndarray:
    """(B, count), of ones where none are given; ValueError where they are no weights."""
    weights = np.ones((1, count)) if weights is None else np.asarray(weights)
    if weights.ndim != 2 or weights.shape[1] != count:
        raise ValueError(f"weights are {weights.shape}, expected (B, {count})")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("weights must be finite and not negative")
    return weights
