"""Deviations from the axioms of Integrated Gradients, measured on functions of two features."""

from collections.abc import Callable

import pandas as pd
import torch

from .quadrature import attributions

STEPS = 64


def smooth(features: torch.Tensor) -> torch.Tensor:
    """Return F(a, b) = exp(a b), (N, 2) to (N,); from baseline 0 both features get (exp(a b) - 1) / 2."""
    return (features[:, 0] * features[:, 1]).exp()


def bent(features: torch.Tensor) -> torch.Tensor:
    """Return F(a, b) = min(a, 1) + b / 2, (N, 2) to (N,); from baseline 0 they get min(a, 1) and b / 2."""
    return features[:, 0].clamp(max=1) + features[:, 1] / 2


def written_otherwise(features: torch.Tensor) -> torch.Tensor:
    """Return `smooth` computed by other operations, for the axiom of implementation invariance."""
    a, b = features[:, 0], features[:, 1]
    return (((a + b) ** 2 - (a - b) ** 2) / 8).exp() ** 2


def integrated(function: Callable, point: torch.Tensor) -> torch.Tensor:
    """Return Integrated Gradients (2,) of a point (2,) from baseline 0."""
    return attributions(function, point, torch.zeros_like(point), "Gauss-Legendre", STEPS)


def gradient_times_input(function: Callable, point: torch.Tensor) -> torch.Tensor:
    """Return the gradient at the point times the point, (2,)."""
    points = point[None].clone().requires_grad_()
    return torch.autograd.grad(function(points).sum(), points)[0][0] * point


def feature_by_feature(function: Callable, point: torch.Tensor) -> torch.Tensor:
    """Return the function's change (2,) as first a and then b goes from 0 to its value."""
    a = torch.stack([point[0], torch.zeros(())])
    values = function(torch.stack([torch.zeros_like(point), a, point]))
    return values.diff()


METHODS = {
    "gradient x input": gradient_times_input,
    "one feature after the other": feature_by_feature,
    "Integrated Gradients": integrated,
}


def deviations(seed: int, points: int = 50) -> pd.DataFrame:
    """Return the largest violation over random points, one row per axiom and one column per method."""
    drawn = torch.rand(points, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5
    return pd.DataFrame(
        {
            name: pd.DataFrame([_violations(method, point) for point in drawn]).max()
            for name, method in METHODS.items()
        }
    )


def _violations(method: Callable, point: torch.Tensor) -> dict[str, float]:
    """Return the violation of each axiom at one point."""
    same, unread = point[:1].repeat(2), lambda x: x[:, 0] ** 3
    past = torch.stack([point[0] + 1, point[1]])  # a is above 1, where the function is flat in it
    both = method(lambda x: 2 * smooth(x) + 3 * bent(x), point)
    change = smooth(point[None]) - 1
    off = {
        "completeness": method(smooth, point).sum() - change,
        "sensitivity": method(bent, past)[0] - 1,
        "dummy": method(unread, point)[1],
        "implementation invariance": method(smooth, point) - method(written_otherwise, point),
        "linearity": both - 2 * method(smooth, point) - 3 * method(bent, point),
        "symmetry": method(smooth, same).diff(),
    }
    return {axiom: value.abs().max().item() for axiom, value in off.items()}
