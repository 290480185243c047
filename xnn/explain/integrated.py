"""Integrated Gradients with a completeness target: the path is sampled where its error is."""

from typing import NamedTuple

import numpy as np
import torch
from captum.attr import Saliency
from torch import nn
from tqdm import tqdm

SEGMENTS = 8  # equal parts of the path at first
HALVED = 8  # segments of an image halved in one round at most: more would be chosen on stale evidence
BATCH = 16  # points of the path in one pass of the network; larger ones leave a processor's cache
GROUP = 8  # images worked on side by side: they fill the batches, and their gradients fit into memory
FLOOR = 0.1  # logits: below it a relative gap would divide by almost nothing
# a GPU shortens float32 to ten bits in convolutions if it is let: too few to compare logits that are close
float32 = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


class Attribution(NamedTuple):
    """Attributions of N images and the evidence that they are complete.

    A gap is relative to max(|F(x) - F(x')|, 0.1 logits).
    """

    maps: np.ndarray  # (N, H, W) float32, in logits a pixel, summed over channels; signed
    averaged: np.ndarray  # (N, H, W) float32, the averaged gradient: maps without the factor x - x'
    gap: np.ndarray  # (N,) |sum(map) - (F(x) - F(x'))|, relative
    local_gap: np.ndarray  # (N,) the segments' gaps, each without its sign, summed: they cannot cancel
    difference: np.ndarray  # (N,) F(x) - F(x'), logits
    gradients: np.ndarray  # (N,) gradients spent
    forwards: np.ndarray  # (N,) passes without a gradient
    passed: np.ndarray  # (N,) bool, gap within the tolerance


@float32
def integrated_gradients(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    baselines: torch.Tensor,
    tolerance: float = 0.01,
    max_gradients: int = 1000,
    local_tolerance: float = np.inf,
) -> Attribution:
    """Integrated Gradients (Sundararajan et al. 2017, eq. 1) of the target's logit, sampled adaptively.

    The path from baseline to image is cut into segments. On each the integral of the gradient has to equal
    the difference of the logit at its ends; the trapezoidal rule needs the gradient at the same ends, and
    the pass that computes it gives the logit as well. Where the two differ most the segments are halved,
    at the price of one gradient each, until the attributions of the image sum to F(x) - F(x').
    The gaps of the segments may cancel in that sum: the local gap says how much, and can be bounded too.

    Parameters
    ----------
    model : images to logits; it is brought to evaluation mode and computes in float32 where it is.
    images : (N, 3, H, W) float.
    targets : (N,) int, the logit explained.
    baselines : (1 or N, 3, H, W), or (1 or N, K, 3, H, W): the mean over K baselines, expected gradients
        (Erion et al. 2021), complete to the mean of their logits.
    tolerance : of the relative gap.
    max_gradients : gradients an image at most, at least 9. Where they do not suffice, the best of the maps
        tried is kept: the one with the smallest local gap of those within the tolerance, else the one with
        the smallest gap. More points do not always mean a smaller gap.
    local_tolerance : of the relative local gap: the path is refined until it is reached as well, but an
        image passes without it. 0.1 brings maps nearer to the integral for about a third more gradients,
        and for hundreds where F(x) is near F(x').

    Raises
    ------
    ValueError : no image, max_gradients less than 9 for each baseline, or a logit that is not finite.
    """
    if baselines.ndim == 5:
        return _expected(model, images, targets, baselines, tolerance, max_gradients, local_tolerance)
    if max_gradients <= SEGMENTS:
        raise ValueError(f"max_gradients: at least {SEGMENTS + 1} for each baseline, not {max_gradients}")
    start, change = paths_of(model, images, baselines)
    done = []
    with tqdm(total=len(images), desc="integrated gradients", unit="image", leave=False) as bar:
        for numbers in np.split(np.arange(len(images)), range(GROUP, len(images), GROUP)):
            paths = {number: _Path(tolerance, local_tolerance) for number in numbers}
            wanted = {number: np.linspace(0, 1, SEGMENTS + 1) for number in numbers}
            while wanted:
                _extend(model, start, change, targets, paths, wanted)
                going = [n for n in wanted if not paths[n].done and len(paths[n]) < max_gradients]
                bar.update(len(wanted) - len(going))
                wanted = {n: paths[n].midpoints(max_gradients - len(paths[n])) for n in going}
            done += [paths[number].result() for number in numbers]
    return stack(done)


class _Path:
    """What is known of the way from a baseline to an image, in the order in which it was asked."""

    def __init__(self, tolerance: float, local_tolerance: float):
        self.tolerance, self.local_tolerance = tolerance, local_tolerance
        self.alphas, self.logits, self.slopes = np.empty(0), np.empty(0), np.empty(0)
        self.maps, self.averaged = [], []
        self.best = (True, np.inf, 0)  # whether incomplete, a gap, and the number of points that gave it
        self.done = False

    def __len__(self):
        return len(self.alphas)

    def add(self, alphas: np.ndarray, logits: np.ndarray, maps: torch.Tensor, averaged: torch.Tensor):
        """Take in points, and see whether the sum is nearer to what it has to be."""
        self.alphas = np.append(self.alphas, alphas)
        self.logits = np.append(self.logits, logits)
        self.slopes = np.append(self.slopes, maps.double().sum((1, 2)).numpy())
        self.maps += maps
        self.averaged += averaged
        _, gaps, difference = self.segments(len(self))
        if not np.isfinite(gaps).all():
            raise ValueError("the logit or its gradient is not finite somewhere between baseline and image")
        gap, local = relative(gaps.sum(), difference), relative(np.abs(gaps).sum(), difference)
        incomplete = gap > self.tolerance
        self.best = min(self.best, (incomplete, gap if incomplete else local, len(self)))
        self.done = not incomplete and local <= self.local_tolerance

    def segments(self, count: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Order of the first `count` points on the path, the gap of each segment, F(x) - F(x')."""
        order = np.argsort(self.alphas[:count])
        alphas, logits, slopes = self.alphas[order], self.logits[order], self.slopes[order]
        integral = np.diff(alphas) * (slopes[1:] + slopes[:-1]) / 2
        return order, np.diff(logits) - integral, logits[-1] - logits[0]

    def midpoints(self, left: int) -> np.ndarray:
        """Of the segments that together hold half of all local gaps; the largest first, `left` at most."""
        order, gaps, _ = self.segments(len(self))
        worst = np.argsort(-np.abs(gaps), kind="stable")
        held = np.cumsum(np.abs(gaps)[worst])
        count = min(np.searchsorted(held, held[-1] / 2) + 1, HALVED, left)
        alphas = self.alphas[order]
        return ((alphas[1:] + alphas[:-1]) / 2)[worst[:count]]

    def result(self) -> Attribution:
        """The best map: its points are the first so many, weighted as the trapezoidal rule does."""
        order, gaps, difference = self.segments(self.best[-1])
        length = np.diff(self.alphas[order], prepend=0, append=1)
        weights = (length[1:] + length[:-1]) / 2
        maps = sum(w * self.maps[i].double() for w, i in zip(weights, order, strict=True))
        averaged = sum(w * self.averaged[i].double() for w, i in zip(weights, order, strict=True))
        return result(maps, averaged, gaps, difference, len(self), 0, self.tolerance)


def _extend(model, start, change, targets, paths: dict, wanted: dict) -> None:
    """Evaluate the wanted points of every path, BATCH at a time whatever image they belong to."""
    numbers = np.repeat(list(wanted), [len(alphas) for alphas in wanted.values()])
    points = np.concatenate(list(wanted.values()))
    found = []
    for each in np.split(np.arange(len(points)), range(BATCH, len(points), BATCH)):
        which = torch.as_tensor(numbers[each])
        logits, gradient = evaluate(model, along(start[which], change[which], points[each]), targets[which])
        found.append((logits, (gradient * change[which]).sum(1), gradient.sum(1)))
    logits, maps, averaged = (torch.cat(each) for each in zip(*found, strict=True))
    for number, alphas in wanted.items():
        mine = torch.as_tensor(numbers == number)
        paths[number].add(alphas, logits[mine].numpy(), maps[mine], averaged[mine])


def _expected(model, images, targets, baselines, tolerance, max_gradients, local_tolerance) -> Attribution:
    """The mean over several baselines an image: a path for each of them."""
    count = baselines.shape[1]
    each = baselines.expand(len(images), *baselines.shape[1:]).flatten(0, 1)
    images, targets = images.repeat_interleave(count, 0), targets.repeat_interleave(count)
    found = integrated_gradients(
        model, images, targets, each, tolerance, max_gradients // count, local_tolerance
    )
    by_image = [part.reshape(-1, count, *part.shape[1:]) for part in found]
    maps, averaged, _, local_gap, difference, gradients, forwards, _ = by_image
    size = np.maximum(np.abs(difference), FLOOR)
    mean = difference.mean(1)
    gap = relative(maps.sum((2, 3), dtype=np.float64).mean(1) - mean, mean)
    return Attribution(
        maps.mean(1),
        averaged.mean(1),
        gap,
        relative((local_gap * size).mean(1), mean),
        mean,
        gradients.sum(1),
        forwards.sum(1),
        gap <= tolerance,
    )


# ---- asking the network --------------------------------------------------------------------------


def paths_of(model: nn.Module, images: torch.Tensor, baselines: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Start of the paths and the change along them, (N, 3, H, W) float32 on the CPU; the model made ready."""
    if len(images) == 0:
        raise ValueError("no image to explain")
    model.eval().to(memory_format=torch.channels_last)
    start = baselines.detach().float().cpu().expand(images.shape)
    return start, images.detach().float().cpu() - start


def along(start: torch.Tensor, change: torch.Tensor, alphas: np.ndarray) -> torch.Tensor:
    """(n, 3, H, W) on the paths from `start`, the share `alphas` of the change away from it."""
    return start + torch.as_tensor(alphas, dtype=torch.float32).view(-1, 1, 1, 1) * change


def ready(model: nn.Module, points: torch.Tensor) -> torch.Tensor:
    """Where the model is, in the order of memory that convolutions are fast in."""
    device = next(model.parameters(), points).device
    return points.to(device).contiguous(memory_format=torch.channels_last)


def evaluate(model: nn.Module, points: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The target's logit (n,) float64 and its gradient (n, 3, H, W), by Captum, in one pass each."""
    logits, gradients = [], []

    def remembering(inputs: torch.Tensor) -> torch.Tensor:
        outputs = model(inputs)
        logits.append(outputs.detach().double().cpu())
        return outputs

    for batch, target in zip(points.split(BATCH), targets.split(BATCH), strict=True):
        batch = ready(model, batch).requires_grad_()
        found = Saliency(remembering).attribute(batch, target=target.to(batch.device), abs=False)
        gradients.append(found.cpu())
    chosen = torch.cat(logits).gather(1, targets.cpu().view(-1, 1)).squeeze(1)
    return chosen, torch.cat(gradients)


# ---- results -------------------------------------------------------------------------------------


def relative(gap, difference):
    return np.abs(gap) / np.maximum(np.abs(difference), FLOOR)


def result(maps, averaged, gaps, difference, gradients, forwards, tolerance) -> Attribution:
    """Of one image, from the gaps of its segments."""
    gap, local = relative(gaps.sum(), difference), relative(np.abs(gaps).sum(), difference)
    maps, averaged = maps.float().numpy(), averaged.float().numpy()
    return Attribution(maps, averaged, gap, local, difference, gradients, forwards, gap <= tolerance)


def stack(results: list[Attribution]) -> Attribution:
    return Attribution(*(np.stack(part) for part in zip(*results, strict=True)))
