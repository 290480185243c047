"""Whether a probability means what it says, what a temperature mends, and what another class mix asks for."""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from .intervals import interval, patient_weights, positions
from .scoring import CLASSES, checked, checked_weights, scores

TEMPERATURES = (0.05, 20.0)  # between which the best one is looked for


def temperature(labels, probabilities, classes=CLASSES) -> float:
    """The temperature that makes the labels most likely; above 1 where the network is too sure.

    Guo et al. 2017, arXiv 1706.04599: logits are divided by it; fitted on images that are not those it is
    judged by. The logarithm of a probability is its logit but for a constant that the softmax takes out.

    Parameters
    ----------
    labels : (N,) int, positions in ``classes``.
    probabilities : (N, C).
    """
    labels, probabilities = checked(labels, probabilities, classes)

    def loss(log_temperature):
        return _likelihood_loss(labels, tempered(probabilities, np.exp(log_temperature))).mean()

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def tempered(probabilities, temperature: float) -> np.ndarray:
    """Probabilities (N, C) with the logits divided by the temperature; the order of classes stays."""
    logits = np.log(np.clip(probabilities, 1e-300, None)) / temperature
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def quality(labels, probabilities, classes=CLASSES, weights=None) -> dict[str, np.ndarray]:
    """ece, nll (nats) and brier of probabilities, each (B,), for many weightings of the images at once.

    nll and brier are proper: no probability but the true one makes them smaller. brier is the squared
    distance from the truth summed over classes, 0 to 2 (Brier 1950).
    """
    labels, probabilities = checked(labels, probabilities, classes)
    weights = checked_weights(weights, len(labels)).astype(float)
    brier = ((probabilities - np.eye(len(classes))[labels]) ** 2).sum(axis=1)
    each = {"nll": _likelihood_loss(labels, probabilities), "brier": brier}
    means = {name: weights @ loss / weights.sum(axis=1) for name, loss in each.items()}
    return {"ece": scores(labels, probabilities, classes, weights)["ece"], **means}


def report(test: pd.DataFrame, validation: pd.DataFrame, classes=CLASSES, resamples=2000, seed=0) -> dict:
    """What metrics.json says of calibration: the temperature fitted on validation, and test before and after.

    Parameters
    ----------
    test, validation : predictions with the columns label, patient and one a class.

    Returns
    -------
    temperature, and before and after: ece, nll and brier of the test images, each {"value", "low", "high"},
    95 % by bootstrap over patients.
    """
    labels, probabilities = positions(test, classes, classes), test[list(classes)].to_numpy()
    fitted = temperature(
        positions(validation, classes, classes), validation[list(classes)].to_numpy(), classes
    )
    weights = patient_weights(test.patient, resamples, seed)
    result = {"temperature": fitted}
    for when, each in {"before": probabilities, "after": tempered(probabilities, fitted)}.items():
        plain, resampled = quality(labels, each, classes), quality(labels, each, classes, weights)
        result[when] = {
            name: {"value": float(value[0])} | interval(resampled[name]) for name, value in plain.items()
        }
    return result


def for_mix(probabilities, trained, wanted) -> np.ndarray:
    """Probabilities (N, C) of a network that was trained on one class mix, for images of another mix.

    By Bayes' rule, where images of one class look alike under both (Saerens et al. 2002, eq. 2.4);
    ``trained`` and ``wanted`` are (C,) shares of the classes.
    """
    weighted = np.asarray(probabilities) * np.asarray(wanted) / np.asarray(trained)
    return weighted / weighted.sum(axis=1, keepdims=True)


def estimated_mix(probabilities, trained, steps: int = 200) -> np.ndarray:
    """(C,) the class mix that makes unlabelled images most likely (Saerens et al. 2002, eq. 2.9), by EM.

    It needs calibrated probabilities of the very images that are then judged, but none of their labels.
    """
    mix = np.asarray(trained, dtype=float)
    for _ in range(steps):
        mix = for_mix(probabilities, trained, mix).mean(axis=0)
    return mix


def _likelihood_loss(labels, probabilities):
    chosen = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.clip(chosen, 1e-300, None))
