"""Whether an attribution tells what a network does: measures that ask the network again.

Every measure is one number an image, so that intervals come from a bootstrap over patients. A method is
a callable ``method(model, images, targets) -> maps``; images are (N, 3, H, W) float in [0, 1], targets
(N,) int, maps (N, H, W). ``localisation`` has the measures that need no network.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from captum.attr import IntegratedGradients
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max as captum_sensitivity
from torch import nn
from torchvision.transforms.v2 import functional

from ..models.classifier import NORMS
from .localisation import spearman

BATCH = 16  # images in one pass of the network
# of the pixels, along the curves of insertion and deletion: closer where the curves turn
SHARES = (0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1)
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # share of the backbone's blocks randomised, beside the head
STEPS = 16  # of the path of a randomised network: ranks need no more
NOISE = 0.1  # deviation of the perturbation of infidelity, images in [0, 1]
RADIUS = 0.02  # of the perturbation of max-sensitivity, images in [0, 1]; captum's default

Method = Callable[[nn.Module, torch.Tensor, torch.Tensor], np.ndarray]


# ---- insertion and deletion ---------------------------------------------------------------------


class Curves(NamedTuple):
    """Probability of the target's class against the share of pixels, endpoints included."""

    shares: np.ndarray  # (S,) from 0 to 1
    insertion: np.ndarray  # (N, S) the highest pixels put into the fill
    deletion: np.ndarray  # (N, S) the highest pixels taken out of the image

    def areas(self) -> dict[str, np.ndarray]:
        """insertion_auc (higher is better) and deletion_auc (lower is), (N,) by trapezoids."""
        names = {"insertion_auc": self.insertion, "deletion_auc": self.deletion}
        return {name: np.trapezoid(curve, self.shares, axis=1) for name, curve in names.items()}


@torch.inference_mode()
def curves(model, images, maps, targets, fill: str = "blur", shares=SHARES, seed: int = 0) -> Curves:
    """Insertion and deletion of pixels, the highest signed attribution first (Petsiuk et al. 2018).

    Parameters
    ----------
    maps : (N, H, W) signed, for the targets.
    fill : what stands where a pixel is not: blur (the image without detail) or mean (its mean grey).
    shares : (S,) of the pixels, from 0 to 1.
    seed : of the order among pixels of equal attribution.

    Raises
    ------
    ValueError : an unknown fill, or maps that do not fit the images.
    """
    if np.shape(maps) != (len(images), *images.shape[-2:]):
        raise ValueError(f"maps are {np.shape(maps)}, the images {tuple(images.shape)}")
    shares = np.asarray(shares)
    ranks = torch.as_tensor(_ranks(np.asarray(maps), seed))
    fills = _fill(fill, images)
    rows = [_curve(model, *one, shares) for one in zip(images, fills, ranks, targets, strict=True)]
    found = np.array(rows).reshape(len(images), 2, len(shares))
    return Curves(shares, found[:, 0], found[:, 1])


def _curve(model, image, fill, ranks, target, shares):
    """Both curves of one image, its inner points in batches; the endpoints are asked for once."""
    inside = [ranks < share for share in shares[1:-1]]
    inserted = [torch.where(mask, image, fill) for mask in inside]
    deleted = [torch.where(mask, fill, image) for mask in inside]
    batches = torch.stack([fill, image, *inserted, *deleted]).split(BATCH)
    logits = torch.cat([_ask(model, batch) for batch in batches])
    empty, full, *inner = logits.double().softmax(1)[:, int(target)].tolist()
    half = len(inner) // 2
    return [[empty, *inner[:half], full], [full, *inner[half:], empty]]


def _ranks(maps, seed):
    """(N, H, W) place of each pixel from the highest, 0, downwards, as a share; ties in random order."""
    flat = maps.reshape(len(maps), -1)
    chance = np.random.default_rng(seed).random(flat.shape[1])
    order = np.stack([np.lexsort((chance, -row)) for row in flat])
    ranks = np.empty(flat.shape)
    np.put_along_axis(ranks, order, np.arange(flat.shape[1]) / flat.shape[1], axis=1)
    return ranks.reshape(maps.shape)


def _fill(name, images):
    if name == "mean":
        return images.mean(dim=(1, 2, 3), keepdim=True).expand_as(images)
    if name == "blur":
        sigma = images.shape[-1] / 16  # wide enough to leave no rib
        side = 2 * round(2 * sigma) + 1
        return functional.gaussian_blur(images.contiguous(), [side, side], [sigma, sigma])
    raise ValueError(f"fill {name!r}: choose blur or mean")


# ---- infidelity and max-sensitivity -------------------------------------------------------------


def infidelity(model, images, maps, targets, samples: int = 10, seed: int = 0) -> np.ndarray:
    """Share of the logit's response to noise that the attribution leaves unexplained.

    Infidelity of Yeh et al. 2019, by captum, with its best scale of the map, over that of a blank map
    for the very same noise: 0 explains all, 1 no more than nothing does. Grey noise, deviation 0.1.

    Returns
    -------
    (N,); 1 where the logit does not respond.
    """

    def grey(values):
        return _ask(model, values.expand(-1, 3, -1, -1))

    def perturb(values):
        noise = NOISE * torch.randn_like(values)
        return noise, values - noise

    def measured(attributions, normalize):
        torch.manual_seed(seed)
        return captum_infidelity(
            grey,
            perturb,
            images[:, :1],
            attributions,
            target=targets,
            n_perturb_samples=samples,
            max_examples_per_batch=max(BATCH, len(images)),
            normalize=normalize,
        )

    with torch.random.fork_rng(), torch.no_grad():
        given = torch.as_tensor(np.asarray(maps), dtype=images.dtype).unsqueeze(1)
        left, whole = measured(given, True), measured(torch.zeros_like(given), False)
    blank = (given == 0).all(dim=-1).all(dim=-1).squeeze(1) | (whole == 0)
    return torch.where(blank, 1.0, left / whole).numpy()


def sensitivity(method: Method, model, images, targets, maps=None, samples: int = 1, seed: int = 0):
    """How far a map moves, relative to its norm, when the image moves by up to 2 % of grey.

    Max-sensitivity of Yeh et al. 2019, by captum.

    Parameters
    ----------
    maps : (N, H, W) of the method for the images, where they are known already.

    Returns
    -------
    (N,); 0 of a method that gives blank maps.
    """

    known = [] if maps is None else [maps]  # captum asks for those of the images themselves first

    def explain(inputs):
        if known:
            return (torch.as_tensor(np.ascontiguousarray(known.pop())),)
        grey = inputs[0] if isinstance(inputs, tuple) else inputs
        where = torch.arange(len(grey)) * len(targets) // len(grey)
        found = method(model, grey.expand(-1, 3, -1, -1), targets[where])
        return (torch.as_tensor(np.ascontiguousarray(found)),)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found = captum_sensitivity(explain, images[:, :1], perturb_radius=RADIUS, n_perturb_samples=samples)
    return found.nan_to_num(0).numpy()


# ---- randomisation of the parameters ------------------------------------------------------------


def randomised(model, depth: float = 1.0, seed: int = 0) -> nn.Module:
    """A copy of the model with its head, and of its backbone's blocks the last ``depth``, drawn anew.

    Cascading, from the output downwards (Adebayo et al. 2018). Weights are drawn with the variance
    that keeps a linear layer's scale (He et al. 2015), biases are 0, norm layers as they are made.
    """
    copied = copy.deepcopy(model)
    blocks = list(copied.backbone)
    kept = len(blocks) - round(depth * len(blocks))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for part in (*blocks[kept:], copied.head):
            for module in part.modules():
                _redraw(module)
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
    """Spearman of each map with that of the randomised network, (N,): near 0 where the network matters."""
    return spearman(maps, method(randomised(model, depth, seed), images, targets))


def cascade(model, images, targets, baselines, depths=DEPTHS, seed: int = 0) -> dict[str, np.ndarray]:
    """Spearman of Integrated Gradients with those of the network randomised from the head down.

    Parameters
    ----------
    baselines : (N or 1, 3, H, W).
    depths : (D,) share of the backbone's blocks randomised along with the head.

    Returns
    -------
    name to (D, N): with the factor x - x' and without ("path gradient"), which tells what is left of
    the network alone, since the factor shows the image whatever the network; each signed and absolute.
    """
    base = baselines.expand_as(images)
    factor = (images - base)[:, :1].squeeze(1).numpy()
    own = _path_gradients(model, images, targets, base)
    rows = {name: [] for name in _variants(own, factor)}
    for depth in depths:
        other = _path_gradients(randomised(model, depth, seed), images, targets, base)
        pairs = zip(_variants(own, factor).items(), _variants(other, factor).values(), strict=True)
        for (name, one), two in pairs:
            rows[name].append(spearman(one, two))
    return {name: np.array(values) for name, values in rows.items()}


def _variants(gradients, factor):
    maps = {"with x - x'": gradients * factor, "without": gradients}
    return {f"{name}, signed": m for name, m in maps.items()} | {
        f"{name}, absolute": np.abs(m) for name, m in maps.items()
    }


def _path_gradients(model, images, targets, baselines):
    """(N, H, W): mean gradient along the straight path, summed over channels."""
    explainer = IntegratedGradients(lambda x: _ask(model, x), multiply_by_inputs=False)
    found = [
        explainer.attribute(x[None], b[None], target=int(t), n_steps=STEPS, internal_batch_size=BATCH)
        for x, b, t in zip(images, baselines, targets, strict=True)
    ]
    return torch.cat(found).sum(1).detach().numpy()


def _ask(model, images):
    """Logits, in the order of memory that convolutions are fast in."""
    return model(images.contiguous(memory_format=torch.channels_last))
