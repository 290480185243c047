"""Predictions made up for the tests."""

import numpy as np
import pandas as pd

from xnn import evaluation

CLASSES = ["bacteria", "normal", "virus"]


def sample(n=200, seed=0, decimals=None):
    """Labels, probabilities (float32 as a network gives them; rounded: with ties) and patients."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    odds = np.exp(rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[labels])
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    if decimals is None:
        return labels, probabilities.astype(np.float32), rng.integers(0, n // 2, n)
    probabilities = probabilities.round(decimals)
    probabilities[:, 2] = 1 - probabilities[:, 0] - probabilities[:, 1]
    return labels, np.abs(probabilities.round(decimals)), rng.integers(0, n // 2, n)


def table(n=200, seed=0):
    labels, probabilities, patients = sample(n, seed)
    records = pd.DataFrame(
        {
            "path": [f"{patient}/{i}.jpeg" for i, patient in enumerate(patients)],
            "label": np.array(CLASSES)[labels],
            "patient": patients.astype(str),
            "split": "test",
        }
    )
    return evaluation.predictions_table(records, probabilities, CLASSES)
