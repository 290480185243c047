"""Integrated Gradients with a fixed number of steps, to compare with adaptive steps."""

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import nn
from tqdm.auto import tqdm

from xnn.explain.integrated import (
    BATCH,
    Attribution,
    along,
    endpoints,
    evaluate,
    float32,
    ready,
    result,
    stack,
)


@float32
def uniform(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    baselines: torch.Tensor,
    steps: int = 50,
    tolerance: float = 0.01,
    batch: int = BATCH,
) -> Attribution:
    """Return Captum's Integrated Gradients with Gauss-Legendre steps; 50 is Captum's default.

    Parameters and result as in ``integrated_gradients``, with the whole path as one segment; `batch` is the
    number of path points per pass.
    """
    start, change = (each.cpu() for each in endpoints(model, images, baselines))
    explainer = IntegratedGradients(model, multiply_by_inputs=False)
    done = []
    for one in tqdm(range(len(images)), desc=f"{steps} steps", unit="image", leave=False):
        ends = [ready(model, each[one : one + 1]) for each in (start + change, start)]
        target = targets[one : one + 1].to(ends[0].device)
        average = explainer.attribute(
            ends[0], ends[1], target=target, n_steps=steps, internal_batch_size=batch
        )
        logits = _logits(model, torch.cat(ends[::-1]), int(target))
        average, gap = average.cpu(), np.diff(logits)
        maps = (average * change[one]).sum((0, 1))
        gap = gap - maps.double().sum().item()
        done.append(result(maps, average.sum((0, 1)), gap, np.diff(logits)[0], steps, tolerance))
    return stack(done)


@float32
def non_uniform(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    baselines: torch.Tensor,
    steps: int = 50,
    tolerance: float = 0.01,
    intervals: int = 8,
) -> Attribution:
    """Return Integrated Gradients with steps where the logit changes (after Bhat and Raychowdhury 2023).

    A coarse scan gives the logit at the ends of equal intervals. Each interval gets one step, and the other
    steps in proportion to its change of the logit; within an interval they follow Gauss-Legendre.
    Parameters and result as in ``integrated_gradients``; needs at least one step per interval.
    """
    start, change = (each.cpu() for each in endpoints(model, images, baselines))
    edges = np.linspace(0, 1, intervals + 1)
    done = []
    for one in tqdm(range(len(images)), desc=f"{steps} steps", unit="image", leave=False):
        target = int(targets[one])
        scan = _logits(model, along(start[one], change[one], edges), target)
        counts = _allot(np.abs(np.diff(scan)), steps)
        alphas, weights = _gauss(edges, counts)
        points = along(start[one], change[one], alphas).split(BATCH)
        gradient = torch.cat([evaluate(model, each, targets[[one] * len(each)])[1].cpu() for each in points])
        weights = torch.as_tensor(weights, dtype=torch.float32).view(-1, 1, 1, 1)
        average = gradient * weights
        maps = (average * change[one]).sum(1)
        slopes = np.add.reduceat(maps.double().sum((1, 2)).numpy(), np.cumsum(counts) - counts)
        gap, difference = np.diff(scan) - slopes, scan[-1] - scan[0]
        done.append(result(maps.sum(0), average.sum((0, 1)), gap, difference, steps, tolerance))
    return stack(done)


def _allot(changes: np.ndarray, steps: int) -> np.ndarray:
    """Return the number of steps in each interval: one, plus a share in proportion to its change."""
    if steps < len(changes):
        raise ValueError(f"{steps} steps for {len(changes)} intervals: at least one for each")
    share = changes / changes.sum() if changes.sum() else np.full(len(changes), 1 / len(changes))
    ends = np.round(np.cumsum(share) * (steps - len(changes))).astype(int)
    return 1 + np.diff(ends, prepend=0)


def _gauss(edges: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points and weights of the Gauss-Legendre rule, applied to each interval."""
    rules = [np.polynomial.legendre.leggauss(count) for count in counts]  # on [-1, 1]
    lengths = np.diff(edges)
    points = [
        first + length * (0.5 * (1 + p)) for first, length, (p, _) in zip(edges, lengths, rules, strict=False)
    ]
    weights = [length * (0.5 * w) for length, (_, w) in zip(lengths, rules, strict=True)]
    return np.concatenate(points), np.concatenate(weights)


@torch.inference_mode()
def _logits(model: nn.Module, points: torch.Tensor, target: int) -> np.ndarray:
    """Return the target's logit at each point, (n,) float64."""
    outputs = [model(ready(model, batch))[:, target].double().cpu() for batch in points.split(BATCH)]
    return torch.cat(outputs).numpy()
