"""Networks and data small enough to train while a page is executed."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from xnn.data import phantom
from xnn.models.classifier import Preprocess


class Phantoms(NamedTuple):
    """Phantoms, one per patient: uint8 images and bool lesion masks (N, S, S), labels (N,)."""

    images: np.ndarray
    masks: np.ndarray
    labels: torch.Tensor


def phantoms(count: int, size: int, seed: int, classes: tuple[str, ...] = ("normal", "bacteria")) -> Phantoms:
    """Return `count` phantoms, the classes in turn; a label is an index into `classes`."""
    labels = np.arange(count) % len(classes)
    drawn = [phantom.draw(classes[label], i, 0, size, seed) for i, label in enumerate(labels)]
    images, masks = (np.stack([getattr(each, name) for each in drawn]) for name in ("image", "mask"))
    return Phantoms(images, masks, torch.from_numpy(labels))


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return scikit-learn's handwritten digits: pixels (1797, 64) in [-1, 1] and labels (1797,)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.tensor(found.data / 8 - 1, dtype=torch.float32), torch.from_numpy(found.target)


def fit(
    network: nn.Module,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    steps: int,
    seed: int,
    rate: float = 0.05,
    batch: int = 32,
) -> list[float]:
    """Train by SGD with momentum and a cosine schedule; return the cross-entropy (nats) at every step."""
    rng = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(network.train().parameters(), rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    losses = []
    for _ in range(steps):
        chosen = torch.randint(len(inputs), (batch,), generator=rng)
        loss = nn.functional.cross_entropy(network(inputs[chosen]), targets[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    network.eval()
    return losses


def convolutional(activation: type[nn.Module], size: int, seed: int, width: int = 12) -> nn.Sequential:
    """Return a classifier of two classes with six convolutions, for images (N, 3, size, size) in [0, 1]."""
    torch.manual_seed(seed)
    layers, entering = [Preprocess(size)], 3
    for leaving in (width, 2 * width, 4 * width):
        for before, stride in ((entering, 2), (leaving, 1)):
            convolution = nn.Conv2d(before, leaving, 3, stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(leaving), activation()]
        entering = leaving
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(entering, 2))


@torch.no_grad()
def right(network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return whether each input is classified correctly, (N,) bool."""
    return network.eval()(inputs).argmax(1) == targets


# ---- chains of identical layers, plain or residual -----------------------------------------------


class Pair(nn.Module):
    """Two linear layers with batch norm and ReLU; if `residual`, the input is added before the last ReLU."""

    def __init__(self, width: int, residual: bool):
        super().__init__()
        self.residual = residual
        first, second = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.body = nn.Sequential(first, nn.BatchNorm1d(width), nn.ReLU(), second, nn.BatchNorm1d(width))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found = self.body(inputs)
        return torch.relu(found + inputs if self.residual else found)


def chain(depth: int, residual: bool, seed: int, width: int = 32) -> nn.Sequential:
    """Return a network from digits (N, 64) to logits (N, 10) of `depth` linear layers (even, 4 or more)."""
    torch.manual_seed(seed)
    stem = nn.Sequential(nn.Linear(64, width, bias=False), nn.BatchNorm1d(width), nn.ReLU())
    pairs = [Pair(width, residual) for _ in range(depth // 2 - 1)]
    return nn.Sequential(stem, *pairs, nn.Linear(width, 10))


def degradation(depths: list[int], seeds: list[int], steps: int) -> list[dict]:
    """Train plain and residual chains on the digits; return each one's settings, losses and network."""
    inputs, targets = digits()
    rows = []
    for depth in depths:
        for residual in (False, True):
            for seed in seeds:
                network = chain(depth, residual, seed)
                losses = fit(network, inputs, targets, steps, seed, batch=64)
                row = {"depth": depth, "residual": residual, "seed": seed}
                rows.append({**row, "losses": losses, "network": network})
    return rows


def gradient_norms(network: nn.Sequential, inputs: torch.Tensor, targets: torch.Tensor) -> list[float]:
    """Return the norm of the loss's gradient at the output of each layer, relative to the last layer's."""
    outputs, found = [], inputs
    for layer in network.train()[:-1]:
        found = layer(found)
        outputs.append(found)
    loss = nn.functional.cross_entropy(network[-1](found), targets)
    sizes = [gradient.norm().item() for gradient in torch.autograd.grad(loss, outputs)]
    return [size / sizes[-1] for size in sizes]


def likeness(network: nn.Sequential, inputs: torch.Tensor, shares: list[float]) -> list[float]:
    """Return the mean cosine between a logit's gradients at an input and at shares of the way to the next.

    Batch statistics are first estimated on the inputs and then fixed, so that the network is one function.
    """
    with torch.no_grad():
        for _ in range(50):
            network.train()(inputs)
    network.eval()
    there = inputs.roll(1, 0)
    gradients = [_gradient(network, inputs + share * (there - inputs)) for share in (0, *shares)]
    return [
        nn.functional.cosine_similarity(gradients[0], each, dim=1).mean().item() for each in gradients[1:]
    ]


def _gradient(network: Callable, points: torch.Tensor) -> torch.Tensor:
    points = points.requires_grad_()
    return torch.autograd.grad(network(points)[:, 0].sum(), points)[0].detach()


def without_each(network: nn.Sequential, inputs: torch.Tensor, targets: torch.Tensor) -> list[float]:
    """Return the accuracy of a trained chain, whole and with each of its pairs left out in turn."""
    layers = list(network.eval())
    ways = [layers, *(layers[:i] + layers[i + 1 :] for i in range(1, len(layers) - 1))]
    return [right(nn.Sequential(*way), inputs, targets).float().mean().item() for way in ways]
