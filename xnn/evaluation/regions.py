"""Scores of one network on changed inputs, and answers that a change should not move."""

import numpy as np

from .intervals import all_and_resampled, summary
from .scoring import mean, scores

SCORES = ("auroc_pneumonia", "auroc_bacteria_vs_virus", "f1_weighted")


def by_input(labels, probabilities: dict[str, np.ndarray], classes, patients, resamples=2000, seed=0) -> dict:
    """Return SCORES on each input as {"value", "low", "high"}, and their differences from the first input.

    ``probabilities`` has (N, C) for the same N images under each name. Every resample draws the same patients
    for all inputs, so the intervals of differences are paired. Result: name -> score -> value, low, high and
    difference (value, low, high). Scores that the classes do not have are left out.
    """
    weights = all_and_resampled(patients, resamples, seed)
    found = {name: scores(labels, each, classes, weights) for name, each in probabilities.items()}
    whole = next(iter(found.values()))
    return {
        name: {
            score: summary(each[score]) | {"difference": summary(each[score] - whole[score])}
            for score in SCORES
            if score in each
        }
        for name, each in found.items()
    }


def moved(before, after, patients, resamples=2000, seed=0) -> dict[str, dict[str, float]]:
    """Return how far a change of the images moves a network's answers, with intervals over patients.

    ``before`` and ``after`` are probabilities (N, C). changed: share of images whose predicted class is
    another. shift: mean absolute change of the log-odds of the class predicted before, in nats.
    """
    chosen = before.argmax(axis=1)
    rows = np.arange(len(chosen))

    def log_odds(probabilities):
        p = probabilities[rows, chosen].clip(1e-7, 1 - 1e-7)
        return np.log(p) - np.log1p(-p)

    values = {
        "changed": after.argmax(axis=1) != chosen,
        "shift": np.abs(log_odds(after) - log_odds(before)),
    }
    weights = all_and_resampled(patients, resamples, seed)
    return {name: summary(mean(each, weights)) for name, each in values.items()}
