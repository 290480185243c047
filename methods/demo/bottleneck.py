"""Information lost in a ReLU after an embedding into more dimensions (after Sandler et al. 2018)."""

import numpy as np
from scipy.stats import binom


def spiral(points: int = 600, turns: float = 2.0) -> np.ndarray:
    """Return (points, 2) on a spiral about the origin, within the unit circle."""
    share = np.linspace(0.05, 1, points)
    angle = 2 * np.pi * turns * share
    return share[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def through_relu(points: np.ndarray, width: int, seed: int) -> np.ndarray:
    """Return points (N, d) after a random map to `width` dimensions, a ReLU and the map's pseudo-inverse."""
    matrix = np.random.default_rng(seed).normal(size=(points.shape[1], width))
    return np.maximum(points @ matrix, 0) @ np.linalg.pinv(matrix)


def lost(dimensions: int, width: int, seed: int, matrices: int = 100, points: int = 100) -> float:
    """Return the share of random points at which fewer values pass the ReLU than the space has dimensions.

    At such a point a step in some direction changes none of the `width` values, so no later layer, linear or
    not, can recover it. `points` are drawn for each of the `matrices`.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(matrices, points, dimensions)) @ rng.normal(size=(matrices, dimensions, width))
    return float(((drawn > 0).sum(axis=2) < dimensions).mean())


def lost_by_formula(dimensions: int, width: int) -> float:
    """Return the expected `lost`: each of `width` values passes independently with probability one half."""
    return float(binom.cdf(dimensions - 1, width, 0.5))
