"""What a ReLU destroys of a space of few dimensions brought into more (after Sandler et al. 2018)."""

import numpy as np
from scipy.stats import binom


def spiral(points: int = 600, turns: float = 2.0) -> np.ndarray:
    """(points, 2) on a spiral about the origin, within the unit circle."""
    share = np.linspace(0.05, 1, points)
    angle = 2 * np.pi * turns * share
    return share[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def through_relu(points: np.ndarray, width: int, seed: int) -> np.ndarray:
    """Points (N, d) in `width` dimensions by a random matrix, through ReLU, back by its pseudo-inverse."""
    matrix = np.random.default_rng(seed).normal(size=(points.shape[1], width))
    return np.maximum(points @ matrix, 0) @ np.linalg.pinv(matrix)


def lost(dimensions: int, width: int, seed: int, matrices: int = 100, points: int = 100) -> float:
    """Share of random points at which fewer values pass the ReLU than the space has dimensions.

    There a step in some direction leaves no trace in any of the `width` values: whatever follows, linear or
    not, cannot tell the points apart. Over so many random matrices, and points for each.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(matrices, points, dimensions)) @ rng.normal(size=(matrices, dimensions, width))
    return float(((drawn > 0).sum(axis=2) < dimensions).mean())


def lost_by_formula(dimensions: int, width: int) -> float:
    """The same, expected: each of `width` values passes with probability one half, by itself."""
    return float(binom.cdf(dimensions - 1, width, 0.5))
