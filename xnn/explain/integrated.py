"""Integrated Gradients with a completeness target: the path is sampled where its error is."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from ..models.classifier import BATCH, channels_last

# images in one pass on a GPU, forwards and with gradients: several pages share its memory
FORWARD, BACKWARD = 64, 32
PIXELS = 4 * 224**2  # of a batch of gradients on a CPU: with more they leave its caches and become slower
SEGMENTS = 8  # equal parts of the path at first, fewer if the gradients do not suffice
HALVED = 8  # segments of an image halved in one round at most: more would be chosen on stale evidence
GROUP = 8  # images worked on side by side, on a CPU: their gradients fit into memory
MIN_DIFFERENCE = 0.1  # logits: below it a relative gap would divide by almost nothing
# a GPU shortens float32 to ten bits in convolutions if it is let: too few to compare logits that are close
float32 = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


class Attribution(NamedTuple):
    """Attributions of N images and the evidence that they are complete.

    A gap is relative to max(|F(x) - F(x')|, 0.1 logits).
    """

    maps: np.ndarray  # (N, H, W) float32, in logits per pixel, summed over channels; signed
    averaged: np.ndarray  # (N, H, W) float32, the averaged gradient: maps without the factor x - x'
    gap: np.ndarray  # (N,) |sum(map) - (F(x) - F(x'))|, relative
    local_gap: np.ndarray  # (N,) the magnitudes of the segments' gaps, summed: they cannot cancel
    difference: np.ndarray  # (N,) F(x) - F(x'), logits
    gradients: np.ndarray  # (N,) gradients computed
    passed: np.ndarray  # (N,) bool, gap within the tolerance

    def summary(self) -> dict[str, float]:
        """Return the completeness figures of explanations.json."""
        return {
            "images": len(self.gap),
            "relative_completeness_p95": float(np.percentile(self.gap, 95)),
            "completeness_passed": float(self.passed.mean()),
            "steps_median": float(np.median(self.gradients)),
        }


@float32
def integrated_gradients(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    baselines: torch.Tensor | None = None,
    tolerance: float = 0.01,
    max_gradients: int = 1000,
    local_tolerance: float = np.inf,
) -> Attribution:
    """Return adaptively sampled Integrated Gradients (Sundararajan et al. 2017, eq. 1) of the target's logit.

    On each segment of the path from baseline to image the integral of the gradient should equal the
    difference of the logit at its ends. Where the trapezoidal rule is farthest from that, segments are
    halved, at the cost of one gradient each, until the attributions of the image sum to F(x) - F(x').

    Parameters
    ----------
    model : images to logits; it is set to evaluation mode and computes in float32 on its own device.
    images : (N, 3, H, W) float.
    targets : (N,) int, the logit explained.
    baselines : (1 or N, 3, H, W), black without it; or (1 or N, K, 3, H, W): the mean over K baselines,
        expected gradients (Erion et al. 2021), complete to the mean of their logits.
    tolerance : of the relative gap.
    max_gradients : gradients per image at most, at least 2. Where they do not suffice, the best of the maps
        tried is kept: the one with the smallest local gap of those within the tolerance, else the one with
        the smallest gap. More points do not always mean a smaller gap.
    local_tolerance : of the relative local gap, which is reduced to it as well; an image passes without it.
        0.1 costs about a third more gradients, and hundreds where F(x) is near F(x').
    """
    baselines = torch.zeros_like(images[:1]) if baselines is None else baselines
    if baselines.ndim == 5:
        return _expected(model, images, targets, baselines, tolerance, max_gradients, local_tolerance)
    if max_gradients < 2:
        raise ValueError(f"max_gradients: at least 2 for each baseline, not {max_gradients}")
    start, change = endpoints(model, images, baselines)
    done = []
    with tqdm(total=len(images), desc="integrated gradients", unit="image", leave=False) as bar:
        for group in torch.arange(len(images)).split(batch_size(model, GROUP, BACKWARD)):
            paths = {number: _Path(tolerance, local_tolerance, max_gradients) for number in group.tolist()}
            while waiting := {number: path for number, path in paths.items() if len(path.wanted)}:
                _sample(model, start, change, targets, waiting)
                bar.update(sum(not len(path.wanted) for path in waiting.values()))
            done += [path.result() for path in paths.values()]
    return stack(done)


class _Path:
    """The points evaluated between a baseline and an image, and how many of them gave the best map."""

    def __init__(self, tolerance: float, local_tolerance: float, max_gradients: int):
        self.tolerance, self.local_tolerance, self.most = tolerance, local_tolerance, max_gradients
        self.alphas, self.logits, self.slopes = np.empty(0), np.empty(0), np.empty(0)
        self.maps, self.averaged = [], []
        self.best = (True, np.inf, 0)  # whether incomplete, a gap, and the number of points that gave it
        # to be evaluated next; none when the path is done
        self.wanted = np.linspace(0, 1, min(SEGMENTS + 1, max_gradients))

    def add(self, logits: np.ndarray, maps: torch.Tensor, averaged: torch.Tensor) -> None:
        """Add the wanted points, compare the map that they give with the best one, and choose the next."""
        self.alphas = np.append(self.alphas, self.wanted)
        self.logits = np.append(self.logits, logits)
        self.slopes = np.append(self.slopes, maps.double().sum((1, 2)).numpy())
        self.maps += maps
        self.averaged += averaged
        order, gaps, difference = self._segments(len(self.alphas))
        if not np.isfinite(gaps).all():
            raise ValueError("the logit or its gradient is not finite somewhere between baseline and image")
        gap, local = relative(gaps.sum(), difference), relative(np.abs(gaps).sum(), difference)
        incomplete = gap > self.tolerance
        self.best = min(self.best, (incomplete, gap if incomplete else local, len(self.alphas)))
        left = self.most - len(self.alphas) if incomplete or local > self.local_tolerance else 0
        self.wanted = self._midpoints(order, np.abs(gaps), left)

    def _segments(self, count: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the order of the first `count` points, the gap of each segment, and F(x) - F(x')."""
        order = np.argsort(self.alphas[:count])
        alphas, logits, slopes = self.alphas[order], self.logits[order], self.slopes[order]
        integral = np.diff(alphas) * (slopes[1:] + slopes[:-1]) / 2
        return order, np.diff(logits) - integral, logits[-1] - logits[0]

    def _midpoints(self, order: np.ndarray, gaps: np.ndarray, left: int) -> np.ndarray:
        """Return the middles of the segments that hold half of all gaps; largest first, at most `left`."""
        worst = np.argsort(-gaps, kind="stable")
        held = np.cumsum(gaps[worst])
        count = min(np.searchsorted(held, held[-1] / 2) + 1, HALVED, left)
        alphas = self.alphas[order]
        return ((alphas[1:] + alphas[:-1]) / 2)[worst[:count]]

    def result(self) -> Attribution:
        """Return the best map: its points, weighted by the trapezoidal rule."""
        order, gaps, difference = self._segments(self.best[-1])
        length = np.diff(self.alphas[order], prepend=0, append=1)
        weights = (length[1:] + length[:-1]) / 2
        maps, averaged = (
            sum(weight * values[point].double() for weight, point in zip(weights, order, strict=True))
            for values in (self.maps, self.averaged)
        )
        return result(maps, averaged, gaps, difference, len(self.alphas), self.tolerance)


def _sample(model, start, change, targets, paths: dict[int, _Path]) -> None:
    """Evaluate the wanted points of paths, by the number of their image, in batches of all of them."""
    numbers = torch.cat([torch.full((len(path.wanted),), number) for number, path in paths.items()])
    alphas = torch.as_tensor(np.concatenate([path.wanted for path in paths.values()]))
    found = []
    pixels = start[0, 0].numel() * getattr(model, "places", 1)
    size = batch_size(model, max(1, PIXELS // pixels), BACKWARD)
    for rows, part in zip(numbers.split(size), alphas.split(size), strict=True):
        logits, gradient = evaluate(model, along(start[rows], change[rows], part), targets[rows])
        found.append((logits, (gradient * change[rows]).sum(1).cpu(), gradient.sum(1).cpu()))
    logits, maps, averaged = (torch.cat(each) for each in zip(*found, strict=True))
    for number, path in paths.items():
        own = numbers == number
        path.add(logits[own].numpy(), maps[own], averaged[own])


def _expected(model, images, targets, baselines, tolerance, max_gradients, local_tolerance) -> Attribution:
    """Return the mean over several baselines per image, of a path for each."""
    count = baselines.shape[1]
    each = baselines.expand(len(images), *baselines.shape[1:]).flatten(0, 1)
    images, targets = images.repeat_interleave(count, 0), targets.repeat_interleave(count)
    found = integrated_gradients(
        model, images, targets, each, tolerance, max_gradients // count, local_tolerance
    )
    found = Attribution(*(part.reshape(-1, count, *part.shape[1:]) for part in found))
    local = found.local_gap * np.maximum(np.abs(found.difference), MIN_DIFFERENCE)  # in logits
    maps, averaged, difference = (part.mean(1) for part in (found.maps, found.averaged, found.difference))
    gap = relative(found.maps.sum((2, 3), dtype=np.float64).mean(1) - difference, difference)
    local_gap, gradients = relative(local.mean(1), difference), found.gradients.sum(1)
    return Attribution(maps, averaged, gap, local_gap, difference, gradients, gap <= tolerance)


def endpoints(model: nn.Module, images: torch.Tensor, baselines: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return start and change of each path, (N, 3, H, W) float32 by the model, and make that ready."""
    if len(images) == 0:
        raise ValueError("no image to explain")
    model.eval().to(memory_format=torch.channels_last)
    start, images = (each.detach().float().to(device_of(model)) for each in (baselines, images))
    return start.expand(images.shape), images - start


def along(start: torch.Tensor, change: torch.Tensor, alphas) -> torch.Tensor:
    """Return the points (n, 3, H, W) on paths at the shares `alphas` of the change."""
    shares = torch.as_tensor(alphas, dtype=torch.float32, device=start.device)
    return start + shares.view(-1, 1, 1, 1) * change


def device_of(model: nn.Module) -> torch.device:
    """Return where a model is; one without parameters is on the CPU."""
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def batch_size(model: nn.Module, on_cpu: int = BATCH, on_gpu: int = FORWARD) -> int:
    """Return how many images a model gets in one pass where it is."""
    return on_cpu if device_of(model).type == "cpu" else on_gpu


def ready(model: nn.Module, points: torch.Tensor) -> torch.Tensor:
    """Return points on the device of the model, in the memory format that convolutions are fastest in."""
    return channels_last(points.to(device_of(model)))


@torch.enable_grad()
def evaluate(model: nn.Module, points: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the target's logit (n,) float64, and its gradient (n, 3, H, W) by the model, from one pass."""
    points = ready(model, points).requires_grad_()
    logits = model(points).gather(1, targets.view(-1, 1).to(points.device)).squeeze(1)
    (gradient,) = torch.autograd.grad(logits.sum(), points)
    return logits.detach().cpu().double(), gradient


def relative(gap, difference):
    """Return the magnitude of a gap relative to that of F(x) - F(x')."""
    return np.abs(gap) / np.maximum(np.abs(difference), MIN_DIFFERENCE)


def result(maps, averaged, gaps, difference, gradients, tolerance) -> Attribution:
    """Return the attribution of one image, from the gaps of its segments."""
    gap, local = relative(gaps.sum(), difference), relative(np.abs(gaps).sum(), difference)
    maps, averaged = maps.float().numpy(), averaged.float().numpy()
    return Attribution(maps, averaged, gap, local, difference, gradients, gap <= tolerance)


def stack(results: list[Attribution]) -> Attribution:
    """Return the attributions of single images as one of all."""
    return Attribution(*(np.stack(part) for part in zip(*results, strict=True)))
