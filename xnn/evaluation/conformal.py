"""Sets of classes that contain the true one with a given probability (split conformal, per class).

Vovk 2012, arXiv 1209.2673 (one threshold per class); Lee, Barber and Willett 2023, arXiv 2306.06342
(patients with several images).
"""

import itertools

import numpy as np
import pandas as pd

from .intervals import all_and_resampled, summary
from .predictions import arrays
from .scoring import mean

LEVEL = 0.9


def thresholds(validation: pd.DataFrame, classes, level: float = LEVEL) -> dict[str, float]:
    """Return the largest 1 - p of each class that its sets allow, from predictions on validation.

    Patients are exchangeable, their images are not: within a class every patient counts once, shared among
    its images. A new patient's image of the class is then covered with probability ``level`` or more. 1 (the
    class is in every set) where a class has too few patients for that.
    """
    labels, probabilities = arrays(validation, classes)
    found = {}
    for place, name in enumerate(classes):
        of = labels == place
        scores, patients = 1 - probabilities[of, place], validation.patient[of]
        order = np.argsort(scores)
        reached = np.cumsum(_per_patient(patients)[order]) / (patients.nunique() + 1)
        first = np.searchsorted(reached, level - 1e-12)
        found[name] = float(scores[order][first]) if first < len(order) else 1.0
    return found


def sets(probabilities, classes, limits: dict[str, float]) -> np.ndarray:
    """Return whether each class is in the set of each image, (N, C) bool.

    ``probabilities`` (N, C) are as the network gives them, before any temperature; ``limits`` is the result
    of `thresholds`. A set may be empty: no class fits the image.
    """
    return 1 - np.asarray(probabilities) <= [limits[name] for name in classes]


def report(test: pd.DataFrame, validation: pd.DataFrame, classes, resamples=2000, seed=0) -> dict:
    """Return ``conformal`` of metrics.json: thresholds from validation, and what they do on the test split.

    level, thresholds; coverage, coverage_<class>, mean_size and sets (the share of each set, by its classes
    joined with " or "), each {"value", "low", "high"}, 95 % by bootstrap over patients. Coverage counts
    every patient once within a class, as the thresholds do.
    """
    limits = thresholds(validation, classes)
    labels, probabilities = arrays(test, classes)
    given = sets(probabilities, classes, limits)
    covered, weights = given[np.arange(len(labels)), labels], all_and_resampled(test.patient, resamples, seed)
    once = test.groupby("label").patient.transform(_per_patient).to_numpy()
    found = {"coverage": mean(covered, weights * once)}
    for place, name in enumerate(classes):
        found[f"coverage_{name}"] = mean(covered[labels == place], (weights * once)[:, labels == place])
    found["mean_size"] = mean(given.sum(axis=1), weights)
    names = np.array([" or ".join(itertools.compress(classes, row)) or "none" for row in given])
    shares = {name: summary(mean(names == name, weights)) for name in sorted(set(names.tolist()))}
    return {
        "level": LEVEL,
        "thresholds": limits,
        **{name: summary(each) for name, each in found.items()},
        "sets": shares,
    }


def _per_patient(patients: pd.Series) -> np.ndarray:
    """The weight of each image (N,) such that every patient counts once."""
    return 1 / patients.groupby(patients).transform("size").to_numpy()
