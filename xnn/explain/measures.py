"""Measures of explanations that evaluate the network again: faithfulness, sensitivity, randomisation.

Every measure is one number per image, so that intervals come from a bootstrap over patients. A method is
a callable ``method(model, images, targets) -> maps``; images are (N, 3, H, W) float in [0, 1], targets
(N,) int, maps (N, H, W) signed. ``localisation`` has the measures that need no network.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from captum import metrics
from captum.attr import IntegratedGradients
from torch import nn

from ..models.classifier import BATCH, NORMS, channels_last
from .localisation import spearman
from .methods import blurred

# of the pixels, along the curves of insertion and deletion: closer where the curves turn
SHARES = (0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1)
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # share of the backbone's blocks randomised, beside the head
STEPS = 16  # of the path of a randomised network: ranks need no more
NOISE = 0.1  # deviation of the perturbation of infidelity, images in [0, 1]
RADIUS = 0.02  # of the perturbation of max-sensitivity, images in [0, 1]; Captum's default

Method = Callable[[nn.Module, torch.Tensor, torch.Tensor], np.ndarray]


class Curves(NamedTuple):
    """Probability of the target's class against the share of pixels, endpoints included."""

    shares: np.ndarray  # (S,) from 0 to 1
    insertion: np.ndarray  # (N, S) the highest pixels put into the fill
    deletion: np.ndarray  # (N, S) the highest pixels taken out of the image

    def areas(self) -> dict[str, np.ndarray]:
        """Return insertion_auc (higher is better) and deletion_auc (lower is), (N,) by trapezoids."""
        names = {"insertion_auc": self.insertion, "deletion_auc": self.deletion}
        return {name: np.trapezoid(curve, self.shares, axis=1) for name, curve in names.items()}


@torch.inference_mode()
def curves(model, images, maps, targets, fill: str = "blur", shares=SHARES, seed: int = 0) -> Curves:
    """Return the curves of inserting and deleting pixels, highest attribution first (Petsiuk et al. 2018).

    ``fill`` stands where a pixel is not: blur (the image without its details) or mean (its mean grey). The
    seed orders pixels of equal attribution. Raises ValueError for another fill, or maps of another size.
    """
    if np.shape(maps) != (len(images), *images.shape[-2:]):
        raise ValueError(f"maps are {np.shape(maps)}, the images {tuple(images.shape)}")
    if fill not in ("blur", "mean"):
        raise ValueError(f"fill {fill!r}: choose blur or mean")
    fills = blurred(images) if fill == "blur" else images.mean(dim=(1, 2, 3), keepdim=True).expand_as(images)
    shares, ranks = np.asarray(shares), torch.as_tensor(_ranks(np.asarray(maps), seed))
    rows = [_curve(model, *one, shares) for one in zip(images, fills, ranks, targets, strict=True)]
    found = np.array(rows).reshape(len(images), 2, len(shares))
    return Curves(shares, found[:, 0], found[:, 1])


def _curve(model, image, fill, ranks, target, shares):
    """Return both curves of one image; their endpoints are the same two images."""
    inside = [ranks < share for share in shares[1:-1]]
    inserted = [torch.where(mask, image, fill) for mask in inside]
    deleted = [torch.where(mask, fill, image) for mask in inside]
    batches = torch.stack([fill, image, *inserted, *deleted]).split(BATCH)
    logits = torch.cat([model(channels_last(batch)) for batch in batches])
    empty, full, *inner = logits.double().softmax(1)[:, int(target)].tolist()
    half = len(inner) // 2
    return [[empty, *inner[:half], full], [full, *inner[half:], empty]]


def _ranks(maps, seed):
    """Return the rank of each pixel, from 0 for the highest, as a share (N, H, W); ties in random order."""
    flat = maps.reshape(len(maps), -1)
    chance = np.random.default_rng(seed).random(flat.shape[1])
    order = np.stack([np.lexsort((chance, -row)) for row in flat])
    ranks = np.empty(flat.shape)
    np.put_along_axis(ranks, order, np.arange(flat.shape[1]) / flat.shape[1], axis=1)
    return ranks.reshape(maps.shape)


def infidelity(model, images, maps, targets, samples: int = 10, seed: int = 0) -> np.ndarray:
    """Return the share of the logit's response to noise that the attribution leaves unexplained.

    Captum's infidelity (Yeh et al. 2019) with the best scale of the map, over that of a blank map for the
    same grey noise: 0 explains all, 1 no more than nothing does, as where the logit does not respond.
    """

    def grey_logits(values):
        return model(channels_last(values.expand(-1, 3, -1, -1)))

    def perturb(values):
        noise = NOISE * torch.randn_like(values)
        return noise, values - noise

    def measured(attributions, normalize):
        torch.manual_seed(seed)
        return metrics.infidelity(
            grey_logits,
            perturb,
            images[:, :1],
            attributions,
            target=targets,
            n_perturb_samples=samples,
            max_examples_per_batch=max(BATCH, len(images)),
            normalize=normalize,
        )

    given = torch.as_tensor(np.asarray(maps), dtype=images.dtype).unsqueeze(1)
    with torch.random.fork_rng(), torch.no_grad():
        left, whole = measured(given, True), measured(torch.zeros_like(given), False)
    blank = (given == 0).all(dim=(1, 2, 3)) | (whole == 0)
    return torch.where(blank, 1.0, left / whole).numpy()


def sensitivity(method: Method, model, images, targets, maps=None, samples: int = 1, seed: int = 0):
    """Return how far a map moves, relative to its norm, when the image moves by up to 2 % of grey, (N,).

    Captum's max-sensitivity (Yeh et al. 2019); 0 for blank maps. ``maps`` are those of the method for the
    images, if they are known.
    """
    known = [] if maps is None else [maps]  # Captum explains the images themselves first

    def explain(inputs):
        if known:
            return (torch.as_tensor(np.ascontiguousarray(known.pop())),)
        grey = inputs[0] if isinstance(inputs, tuple) else inputs
        rows = torch.arange(len(grey)) * len(targets) // len(grey)
        return (
            torch.as_tensor(np.ascontiguousarray(method(model, grey.expand(-1, 3, -1, -1), targets[rows]))),
        )

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found = metrics.sensitivity_max(
            explain, images[:, :1], perturb_radius=RADIUS, n_perturb_samples=samples
        )
    return found.nan_to_num(0).numpy()


def randomised(model, depth: float = 1.0, seed: int = 0) -> nn.Module:
    """Return a copy of the model whose head and last share ``depth`` of blocks are random.

    That is cascading randomisation (Adebayo et al. 2018). Weights are drawn with the variance that keeps
    a linear layer's scale (He et al. 2015), biases are 0, norm layers are reset.
    """
    copied = copy.deepcopy(model)
    kept = len(copied.backbone) - round(depth * len(copied.backbone))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for part in (*copied.backbone[kept:], copied.head):
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


def randomisation(method: Method, model, images, targets, maps, depth: float = 1.0, seed: int = 0):
    """Return the rank correlation of each map with that of the randomised network, (N,)."""
    return spearman(maps, method(randomised(model, depth, seed), images, targets))


def cascade(model, images, targets, baselines, depths=DEPTHS, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the rank correlation of Integrated Gradients with those of networks randomised to each depth.

    Name to (D, N): with the factor x - x' and without, each signed and absolute. The factor shows the
    image whatever the network, so only maps without it tell what is left of the network.
    """
    base = baselines.expand_as(images)
    factor = (images - base)[:, 0].numpy()

    def variants(network):
        return _variants(_path_gradients(network, images, targets, base), factor)

    own, others = variants(model), [variants(randomised(model, depth, seed)) for depth in depths]
    return {name: np.array([spearman(own[name], other[name]) for other in others]) for name in own}


def _variants(gradients, factor):
    maps = {"with x - x'": gradients * factor, "without": gradients}
    absolute = {f"{name}, absolute": np.abs(each) for name, each in maps.items()}
    return {f"{name}, signed": each for name, each in maps.items()} | absolute


def _path_gradients(model, images, targets, baselines):
    """Return the mean gradient along the straight path, summed over channels, (N, H, W)."""
    explainer = IntegratedGradients(lambda x: model(channels_last(x)), multiply_by_inputs=False)
    found = [
        explainer.attribute(x[None], b[None], target=int(t), n_steps=STEPS, internal_batch_size=BATCH)
        for x, b, t in zip(images, baselines, targets, strict=True)
    ]
    return torch.cat(found).sum(1).detach().numpy()
