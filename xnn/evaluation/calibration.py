"""Calibration: temperature scaling, calibration scores, and correction for another class mix."""

import numpy as np
import pandas as pd
from scipy.optimize import minimize, minimize_scalar
from scipy.special import softmax

from .intervals import patient_weights, with_intervals
from .predictions import arrays
from .scoring import checked, checked_weights, ece, mean

TEMPERATURES = (0.05, 20.0)  # the range searched
SMALLEST = 1e-300  # probability whose logarithm is taken for that of 0


def temperature(labels, probabilities, classes) -> float:
    """Return the temperature that maximises the likelihood of the labels; above 1 for overconfidence.

    Guo et al. 2017, arXiv 1706.04599: logits are divided by it. Fit it on other images than those it is
    evaluated on. The log of a probability is its logit up to a constant, which the softmax removes.
    """
    labels, probabilities = checked(labels, probabilities, classes)

    def loss(log_temperature):
        return _log_losses(labels, tempered(probabilities, np.exp(log_temperature))).mean()

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def tempered(probabilities, temperature: float) -> np.ndarray:
    """Return probabilities (N, C) with the logits divided by the temperature; class ranks are unchanged."""
    return corrected(probabilities, temperature, 0)


def bias_corrected(labels, probabilities, classes) -> tuple[float, np.ndarray]:
    """Return the temperature, and a bias per class (C,), that maximise the likelihood of the labels.

    Bias-corrected temperature scaling, which a correction for another class mix needs (Alexandari et al.
    2020, arXiv 1901.06852). Apply it with `corrected`.
    """
    labels, probabilities = checked(labels, probabilities, classes)

    def loss(values):
        return _log_losses(labels, corrected(probabilities, np.exp(values[0]), [0, *values[1:]])).mean()

    found = minimize(
        loss, np.zeros(len(classes)), bounds=[np.log(TEMPERATURES)] + [(-10, 10)] * (len(classes) - 1)
    )
    return float(np.exp(found.x[0])), np.array([0, *found.x[1:]])


def corrected(probabilities, temperature: float, biases) -> np.ndarray:
    """Return probabilities (N, C) with the logits divided by the temperature, and the biases (C,) added."""
    return softmax(np.log(np.clip(probabilities, SMALLEST, None)) / temperature + biases, axis=1)


def quality(labels, probabilities, classes, weights=None) -> dict[str, np.ndarray]:
    """Return ece, nll (nats) and brier, (B,) each; parameters as in ``scoring.scores``.

    nll and brier are proper: only the true probabilities minimise them. brier is the squared distance from
    the one-hot label summed over classes, 0 to 2 (Brier 1950).
    """
    labels, probabilities = checked(labels, probabilities, classes)
    weights = checked_weights(weights, len(labels))
    brier = ((probabilities - np.eye(len(classes))[labels]) ** 2).sum(axis=1)
    return {
        "ece": ece(labels, probabilities, weights),
        "nll": mean(_log_losses(labels, probabilities), weights),
        "brier": mean(brier, weights),
    }


def report(test: pd.DataFrame, validation: pd.DataFrame, classes, resamples=2000, seed=0) -> dict:
    """Return temperature, before and after of metrics.json from predictions on two splits.

    The temperature is fitted on validation. before and after it: ece, nll and brier of the test images, each
    {"value", "low", "high"}, 95 % by bootstrap over patients (ece: without limits).
    """
    labels, probabilities = arrays(test, classes)
    fitted = temperature(*arrays(validation, classes), classes)
    weights = patient_weights(test.patient, resamples, seed)
    versions = {"before": probabilities, "after": tempered(probabilities, fitted)}
    return {"temperature": fitted} | {
        when: with_intervals(lambda w, each=each: quality(labels, each, classes, w), weights)
        for when, each in versions.items()
    }


def for_mix(probabilities, trained, wanted) -> np.ndarray:
    """Return probabilities (N, C) of a network trained on one class mix, corrected for another mix.

    By Bayes' rule, assuming that images of a class look alike under both mixes (Saerens et al. 2002,
    eq. 2.4); ``trained`` and ``wanted`` are class shares (C,). ``trained`` is what the network takes for the
    mix: its mean prediction on images of training's mix, not the share of their labels, from which class
    weights move it away (Alexandari et al. 2020).
    """
    weighted = np.asarray(probabilities) * np.asarray(wanted) / np.asarray(trained)
    return weighted / weighted.sum(axis=1, keepdims=True)


def estimated_mix(probabilities, trained, steps: int = 200) -> np.ndarray:
    """Return the class shares (C,) that maximise the likelihood of unlabelled images, by EM.

    Saerens et al. 2002, eq. 2.9. It needs calibrated probabilities of the images that are evaluated, but no
    labels; ``trained`` as in `for_mix`.
    """
    mix = np.asarray(trained, dtype=float)
    for _ in range(steps):
        mix = for_mix(probabilities, trained, mix).mean(axis=0)
    return mix


def _log_losses(labels, probabilities):
    return -np.log(np.clip(probabilities[np.arange(len(labels)), labels], SMALLEST, None))
