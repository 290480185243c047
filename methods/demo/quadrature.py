"""Quadrature rules for Integrated Gradients, and their errors against the number of steps."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

FLOOR = 0.1  # logits; a gap is relative to the larger of this and the difference of the logits


def _evenly(shift: float) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    return lambda steps: ((np.arange(steps) + shift) / steps, np.full(steps, 1 / steps))


def _trapezoids(steps: int) -> tuple[np.ndarray, np.ndarray]:
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, steps), weights


def _gauss(steps: int) -> tuple[np.ndarray, np.ndarray]:
    points, weights = np.polynomial.legendre.leggauss(steps)
    return (points + 1) / 2, weights / 2


# each maps the number of steps (2 or more) to places on the path (0 to 1) and weights that sum to 1
RULES = {
    "left ends (Riemann)": _evenly(0),
    "midpoints (Riemann)": _evenly(0.5),
    "trapezoids": _trapezoids,
    "Gauss-Legendre": _gauss,
}


def slopes(function: Callable, point: torch.Tensor, baseline: torch.Tensor, places) -> torch.Tensor:
    """Return the contribution of each of the `places` (n,) on the straight path from baseline to point.

    That is the gradient of `function`, (n, ...) to (n,), times (point - baseline): (n, ...).
    """
    places = torch.as_tensor(places, dtype=point.dtype).view(-1, *[1] * point.ndim)
    points = (baseline + places * (point - baseline)).requires_grad_()
    (gradient,) = torch.autograd.grad(function(points).sum(), points)
    return gradient * (point - baseline)


def walk(function: Callable, point: torch.Tensor, baseline: torch.Tensor, places) -> tuple[torch.Tensor, ...]:
    """Return the function (n,) and its slope (n,) at `places` (n,) on the path from baseline to point."""
    shares = torch.as_tensor(places, dtype=point.dtype).view(-1, *[1] * point.ndim)
    with torch.no_grad():
        values = function(baseline + shares * (point - baseline))
    return values, slopes(function, point, baseline, places).flatten(1).sum(1)


def attributions(
    function: Callable, point: torch.Tensor, baseline: torch.Tensor, rule: str, steps: int
) -> torch.Tensor:
    """Return Integrated Gradients of one point by a rule of RULES, in the point's shape."""
    places, weights = RULES[rule](steps)
    found = slopes(function, point, baseline, places)
    return torch.tensordot(torch.as_tensor(weights, dtype=point.dtype), found, dims=1)


def errors(
    function: Callable, points: torch.Tensor, baseline: torch.Tensor, steps: list[int], exact: torch.Tensor
) -> pd.DataFrame:
    """Return the errors of each rule at each number of steps.

    Parameters
    ----------
    function : (n, ...) to (n,).
    points, exact : (N, ...) the points and their exact attributions.
    baseline : in one point's shape.

    Returns
    -------
    One row per point, rule and number of steps: point, rule, steps, gap (relative completeness gap,
    |sum - (F(x) - F(x'))|) and off (summed absolute error over the summed magnitude of the exact ones).
    """
    rows = []
    with torch.no_grad():
        difference = (function(points) - function(baseline[None])).double()
    for number, (point, truth) in enumerate(zip(points, exact, strict=True)):
        size = max(abs(difference[number].item()), FLOOR)
        for rule in RULES:
            for count in steps:
                found = attributions(function, point, baseline, rule, count)
                gap = abs(found.double().sum().item() - difference[number].item()) / size
                off = ((found - truth).abs().sum() / truth.abs().sum()).item()
                rows.append({"point": number, "rule": rule, "steps": count, "gap": gap, "off": off})
    return pd.DataFrame(rows)


def order(table: pd.DataFrame, column: str = "gap") -> pd.Series:
    """Return each rule's order of convergence: the power of 1 / steps, fitted to the median errors."""
    medians = table.groupby(["rule", "steps"])[column].median().clip(lower=1e-16)
    powers = {
        rule: -np.polyfit(*np.log([part.index.get_level_values("steps"), part]), 1)[0]
        for rule, part in medians.groupby(level="rule")
    }
    return pd.Series(powers)[list(RULES)]


def fewest(table: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """Return each rule's fewest steps at which no point's gap exceeds the tolerance, else the most tried.

    Columns steps, and at that number gap (the largest) and off (the median).
    """
    rows = {}
    for rule, part in table.groupby("rule", sort=False):
        worst = part.groupby("steps").gap.max()
        steps = min(worst.index[worst <= tolerance], default=worst.index.max())
        rows[rule] = [steps, worst[steps], part[part.steps == steps].off.median()]
    return pd.DataFrame(rows, ["steps", "gap", "off"]).T
