"""Measures of explanations that ask the network again: faithfulness, and dependence on what it learnt.

Every measure is one number per image, so that intervals come from a bootstrap over patients. A model maps
images (N, 3, H, W) float in [0, 1] to the evidence of each class (``target``); targets are (N,) int, maps
(N, H, W) signed, regions (N, H, W) int. ``localisation`` has the measures that need no network. Which of
them order maps as the truth does is measured on phantoms (benchmarks/measures.md).
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import expit
from torch import nn
from tqdm.auto import tqdm

from ..models.classifier import NORMS
from . import scales
from .integrated import GROUP, batch_size, device_of, ready
from .methods import blurred

FILLS = ("blur", "mean")  # what stands where a region is not: the image without details, its mean grey
# of the area, along the curves of insertion and deletion: closer where the curves turn
SHARES = (0, 0.05, 0.1, 0.2, 0.35, 0.6, 1)
DRAWS, REMOVED = 32, 0.25  # random sets of regions of an image, and how many of its regions one removes
NOISE = 3 / 255  # deviation of a change of the image that no eye sees

Method = Callable[[nn.Module, torch.Tensor, torch.Tensor], np.ndarray]


class Curves(NamedTuple):
    """Probability of the target's class against the share of the area, endpoints included."""

    shares: np.ndarray  # (S,) from 0 to 1
    insertion: np.ndarray  # (N, S) the highest regions put into the fill
    deletion: np.ndarray  # (N, S) the highest regions taken out of the image

    def areas(self) -> dict[str, np.ndarray]:
        """Return insertion_auc (higher is better) and deletion_auc (lower is), (N,) by trapezoids."""
        names = {"insertion_auc": self.insertion, "deletion_auc": self.deletion}
        return {name: np.trapezoid(curve, self.shares, axis=1) for name, curve in names.items()}


def filled(images: torch.Tensor, fill: str) -> torch.Tensor:
    """Return what stands where nothing of an image is shown; raise ValueError for a fill not in FILLS."""
    if fill not in FILLS:
        raise ValueError(f"fill {fill!r}: choose {' or '.join(FILLS)}")
    return blurred(images) if fill == "blur" else images.mean(dim=(1, 2, 3), keepdim=True).expand_as(images)


@torch.inference_mode()
def answers(model, images: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """Return the evidence (n,) of one class for each image, a batch at a time."""
    found = torch.cat([model(ready(model, batch)).cpu() for batch in images.split(batch_size(model))])
    return found.gather(1, targets.expand(len(found)).view(-1, 1))[:, 0].double().numpy()


def curves(model, images, maps, targets, regions, fills, shares=SHARES) -> dict[str, Curves]:
    """Return the curves of inserting and deleting regions, highest mean attribution first, of each map.

    After Petsiuk et al. 2018 (RISE), by regions instead of pixels: a map of fine grain and one of coarse
    grain are asked the same. The model gives log-odds. Raises ValueError for maps of another size.

    Parameters
    ----------
    maps : (N, H, W) by name.
    fills : (N, 3, H, W), what stands where an image is not shown, as `filled` gives it.
    """
    if wrong := {np.shape(each) for each in maps.values()} - {np.shape(images[:, 0])}:
        raise ValueError(f"maps are {wrong.pop()}, the images {tuple(images.shape)}")
    found = {name: [] for name in maps}
    for rows in torch.arange(len(images)).split(GROUP):
        image, fill = (ready(model, each[rows]) for each in (images, fills))
        ends = answers(model, torch.cat([fill, image]), targets[rows].repeat(2)).reshape(2, -1, 1)
        for name, each in maps.items():
            ranks = np.stack([_ranks(each[row], regions[row]) for row in rows])
            found[name].append(_curves(model, image, fill, ranks, targets[rows], shares, ends))
    return {name: Curves(np.asarray(shares), *np.concatenate(each, 1)) for name, each in found.items()}


def _curves(model, image, fill, ranks, targets, shares, ends):
    """Return both curves of some images, (2, n, S), given the evidence at their ends (2, n, 1)."""
    ranks, inner = torch.as_tensor(ranks, device=image.device), len(shares) - 2
    inside = torch.stack([ranks < share for share in shares[1:-1]], 1).unsqueeze(2)
    pairs = (image[:, None], fill[:, None]), (fill[:, None], image[:, None])
    shown = torch.cat([torch.where(inside, *pair).flatten(0, 1) for pair in pairs])
    odds = answers(model, shown, targets.repeat_interleave(inner).repeat(2)).reshape(2, -1, inner)
    return expit(np.concatenate([ends, odds, ends[::-1]], 2))


def _ranks(one, area):
    """Return for each pixel (H, W) the share of the area in its region and higher ones, half of its own."""
    sizes = np.bincount(area.ravel())
    means = np.bincount(area.ravel(), np.asarray(one, float).ravel()) / np.maximum(sizes, 1)
    order = np.argsort(-means, kind="stable")
    above = np.empty(len(sizes))
    above[order] = np.cumsum(sizes[order]) - sizes[order] / 2
    return (above / area.size)[area]


class Removals(NamedTuple):
    """What removing random sets of regions does; one draw serves every map."""

    chosen: np.ndarray  # (N, D, R) bool
    change: np.ndarray  # (N, D) by how much the evidence falls


def removals(model, images, targets, regions, fills, draws: int = DRAWS, seed: int = 0) -> Removals:
    """Remove random quarters of an image's regions and return by how much the evidence falls."""
    rng, found = np.random.default_rng(seed), []
    chosen = rng.random((len(images), draws, int(np.max(regions)) + 1)) < REMOVED
    for image, fill, target, area, sets in zip(images, fills, targets, regions, chosen, strict=True):
        masks = torch.as_tensor(sets[:, area], device=device_of(model)).unsqueeze(1)
        image, fill = image.to(masks.device), fill.to(masks.device)
        odds = answers(model, torch.cat([image[None], torch.where(masks, fill, image)]), target)
        found.append(odds[0] - odds[1:])
    return Removals(chosen, np.array(found).reshape(len(images), draws))


def removal_correlation(maps, regions, removed: Removals) -> np.ndarray:
    """Return the correlation over draws of what a map gives the removed regions and what they did, (N,).

    The centred form of infidelity (Yeh et al. 2019), as in Bhatt et al. 2020: an offset common to all draws,
    which no map explains, does not count. 0 for a map that says the same of every draw.
    """
    told = (removed.chosen * scales.sums(maps, regions, removed.chosen.shape[2])[:, None]).sum(2)
    told, change = (each - each.mean(1, keepdims=True) for each in (told, removed.change))
    spread = np.sqrt((told**2).sum(1) * (change**2).sum(1))
    return np.divide((told * change).sum(1), spread, out=np.zeros(len(told)), where=spread > 0)


def randomised(model, depth: float = 1.0, seed: int = 0) -> nn.Module:
    """Return a copy of a model whose head and last share ``depth`` of blocks are random.

    That is cascading randomisation (Adebayo et al. 2018). Weights are drawn with the variance that keeps
    a linear layer's scale (He et al. 2015), biases are 0, norm layers are reset.
    """
    copied = copy.deepcopy(model)
    network = getattr(copied, "network", copied)
    kept = len(network.backbone) - round(depth * len(network.backbone))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for part in (*network.backbone[kept:], network.head):
            part.apply(_redraw)
    return copied.eval()


def _redraw(module):
    if isinstance(module, NORMS):
        module.reset_parameters()
        return
    for values in module.parameters(recurse=False):
        if values.dim() > 1:
            nn.init.kaiming_normal_(values, nonlinearity="linear")
        else:
            nn.init.zeros_(values)


def dependence(method: Method, model, images, targets, maps, seed: int = 0) -> dict[str, np.ndarray]:
    """Return how alike smoothed maps are after a change that nobody sees, and with nothing learnt, (N,) each.

    repeated: correlation with the maps of the images with noise of 3 grey levels; randomised: with those of
    the network with random parameters. A map depends on what was learnt if the first is higher; a random
    map fails, because it does not repeat.
    """
    noise = torch.randn(images[:, :1].shape, generator=torch.Generator().manual_seed(seed))
    noisy = (images + NOISE * noise).clamp(0, 1)
    own = scales.smoothed(maps)
    others = {"repeated": (model, noisy), "randomised": (randomised(model, seed=seed), images)}
    progress = tqdm(others.items(), "dependence", leave=False)
    return {name: correlation(own, scales.smoothed(method(*asked, targets))) for name, asked in progress}


def correlation(one, two) -> np.ndarray:
    """Return the correlation of two maps of each image, (N,); 0 where one of them is even."""
    flat = [np.asarray(each, float).reshape(len(each), -1) for each in (one, two)]
    first, second = (each - each.mean(1, keepdims=True) for each in flat)
    spread = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    return np.divide((first * second).sum(1), spread, out=np.zeros(len(spread)), where=spread > 0)
