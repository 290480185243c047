"""Explanation methods, controls to compare them with, and baselines to start from.

Every method is called as ``method(model, images, targets, baselines=None, seed=0)``, with images
(N, 3, H, W) float in [0, 1] and targets (N,) int, and returns maps (N, H, W) float32, summed over the
channels. A method without baseline or seed ignores it. Controls are maps that know nothing of the network.
The model may be a Classifier, whose logits are explained, or the evidence of one (``target``).
"""

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from captum import attr
from scipy import ndimage
from torch import nn

from ..models.preprocessing import blur
from .integrated import BACKWARD, along, batch_size, endpoints, evaluate, integrated_gradients, ready

SMOOTHGRAD = {
    "nt_samples": 4,
    "nt_samples_batch_size": 1,
    "stdevs": 0.1,
    "n_steps": 10,
    "internal_batch_size": 1,
}
STEPS = 12  # of the paths of IDGI and of guided Integrated Gradients
CENTRE = 0.25  # deviation of the blob, in sides of the image
STRIDES = 8  # of the occlusion's window along a side; the window is two strides wide
BASELINES = ("black", "mean", "blur", "expected")


class Explained(NamedTuple):
    """Maps and what they cost."""

    maps: np.ndarray  # (N, H, W) float32
    images_per_second: float


def attributions(
    name: str,
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    baselines: torch.Tensor | None = None,
    seed: int = 0,
) -> Explained:
    """Return the maps of the method of that name in METHODS, and images per second.

    Parameters
    ----------
    model : a Classifier; it is set to evaluation mode.
    images : (N, 3, H, W) float in [0, 1].
    targets : (N,) int, the logit explained.
    baselines : (1 or N, 3, H, W), black without it. Those of expected gradients serve
        integrated_gradients and averaged_gradients only.
    seed : of what is drawn at random.
    """
    if name not in METHODS:
        raise ValueError(f"method {name!r}: choose {', '.join(METHODS)}")
    if len(images) == 0:
        raise ValueError("no image to explain")
    began = time.perf_counter()
    maps = METHODS[name](model, images, targets, baselines, seed)
    return Explained(maps, len(images) / (time.perf_counter() - began))


def path_gradients(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Return Integrated Gradients, complete to within 1 %."""
    return integrated_gradients(model, images, targets, baselines).maps


def averaged_gradients(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Return Integrated Gradients without the factor x - x', through which the image itself shows."""
    return integrated_gradients(model, images, targets, baselines).averaged


def gradient(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Return the gradient with respect to the grey values."""
    return _in_batches(partial(attr.Saliency(model).attribute, abs=False), model, images, targets)


def saliency(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Return the magnitude of the gradient (Simonyan et al. 2014)."""
    return np.abs(gradient(model, images, targets))


def gradient_x_input(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Return gradient times grey value (Shrikumar et al. 2016)."""
    return _in_batches(attr.InputXGradient(model).attribute, model, images, targets)


def smoothgrad_ig(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Return the mean over noisy copies of short Integrated Gradients (SmoothGrad, Smilkov et al. 2017).

    Noise of every image is drawn from the same seed, so its map does not depend on its neighbours.
    """
    tunnel = attr.NoiseTunnel(attr.IntegratedGradients(model))

    def attribute(image, **options):
        torch.manual_seed(seed)
        return tunnel.attribute(image, **SMOOTHGRAD, **options)

    with torch.random.fork_rng():
        return _in_batches(attribute, model, images, targets, baselines, size=1)


def idgi(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Return IDGI (Yang et al. 2023): each step's change, shared among pixels by the squared gradient."""
    maps = []
    for number, points in enumerate(_paths(model, images, baselines)):
        scores, gradients = evaluate(model, points, targets[[number]].expand(len(points)))
        squares = gradients.sum(1)[:-1] ** 2
        share = squares / squares.sum((1, 2), keepdim=True).clamp(min=torch.finfo().tiny)
        maps.append((scores.diff().view(-1, 1, 1).to(share) * share).sum(0))
    return torch.stack(maps).float().cpu().numpy()


def _paths(model, images, baselines):
    """Yield the points (STEPS + 1, 3, H, W) of the straight path to each image."""
    start, change = endpoints(model, images, images.new_zeros(1) if baselines is None else baselines)
    for one, way in zip(start, change, strict=True):
        alphas = torch.linspace(0, 1, STEPS + 1)
        yield along(one.expand(len(alphas), -1, -1, -1), way, alphas)


def guided_ig(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Return guided Integrated Gradients (Kapishnikov et al. 2021): pixels of small gradients move first."""
    start, change = endpoints(model, images, images.new_zeros(1) if baselines is None else baselines)
    points, ends, maps = start[:, 0].clone(), (start + change)[:, 0], torch.zeros_like(change[:, 0])
    whole = change[:, 0].abs().sum((1, 2))
    for step in range(STEPS):
        grey = points.unsqueeze(1).expand(-1, 3, -1, -1)
        parts = (each.split(batch_size(model, on_gpu=BACKWARD)) for each in (grey, targets))
        slopes = torch.cat([evaluate(model, *part)[1].sum(1) for part in zip(*parts, strict=True)])
        for row, left in enumerate(whole * (1 - (step + 1) / STEPS)):
            moved = _guided_step(points[row], ends[row], slopes[row], left)
            maps[row] += (moved - points[row]) * slopes[row]
            points[row] = moved
    return maps.cpu().numpy()


def _guided_step(point, end, slope, left):
    """Return a point (H, W) moved to a distance `left` from the end, where the gradient is small first."""
    distance = (end - point).abs()
    order = slope.abs().flatten().argsort()
    ahead = distance.flatten()[order].double().cumsum(0)
    done = torch.zeros_like(point, dtype=torch.bool)
    done.view(-1)[order] = ahead <= ahead[-1] - left
    return torch.where(done, end, point)


def grad_cam(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Return Grad-CAM (Selvaraju et al. 2017) of the backbone's last block, at the size of the image.

    If the model reads the mirror image as well, the map of that is mirrored back and added.
    """
    seen = []
    hook = (
        getattr(model, "network", model)
        .backbone[-1]
        .register_forward_hook(lambda _, given, output: seen.append(output))
    )
    maps = []
    with hook, torch.enable_grad():
        for rows in torch.arange(len(images)).split(batch_size(model, on_gpu=BACKWARD)):
            batch = ready(model.eval(), images[rows].float()).requires_grad_()
            scores = model(batch).gather(1, targets[rows].view(-1, 1).to(batch.device))
            (slopes,) = torch.autograd.grad(scores.sum(), seen[-1])
            coarse = (slopes.mean((2, 3), keepdim=True) * seen.pop()).sum(1, keepdim=True).detach()
            if len(coarse) == 2 * len(rows):
                coarse = coarse[: len(rows)] + coarse[len(rows) :].flip(-1)
            size = tuple(images.shape[-2:])
            maps.append(nn.functional.interpolate(coarse.relu(), size, mode="bilinear")[:, 0].cpu())
    return torch.cat(maps).float().numpy()


def occlusion(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Return by how much the logit falls where a window shows the baseline (Zeiler and Fergus 2014)."""
    sides = images.shape[-2:]
    strides = [max(1, side // STRIDES) for side in sides]
    window = [min(2 * stride, side) for stride, side in zip(strides, sides, strict=True)]
    shapes = {"sliding_window_shapes": (3, *window), "strides": (3, *strides)}
    shapes["perturbations_per_eval"] = batch_size(model)
    attribute = partial(attr.Occlusion(model).attribute, **shapes)
    with torch.no_grad():
        return _in_batches(attribute, model, images, targets, baselines, size=1)


def random(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Return normal noise: a control that knows neither network nor image."""
    shape = (len(images), *images.shape[-2:])
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def sobel(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Return the strength of the image's edges: a control that knows the image alone."""
    grey = images.mean(1).float().cpu().numpy()
    return np.stack([np.hypot(ndimage.sobel(each, 0), ndimage.sobel(each, 1)) for each in grey])


def centre(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Return a blob in the middle: a control that knows where the chest is."""
    rows, columns = (np.linspace(-0.5, 0.5, side) for side in images.shape[-2:])
    blob = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * CENTRE**2))
    return np.repeat(blob[None].astype(np.float32), len(images), axis=0)


METHODS: dict[str, Callable[..., np.ndarray]] = {
    "integrated_gradients": path_gradients,
    "averaged_gradients": averaged_gradients,
    "idgi": idgi,
    "guided_ig": guided_ig,
    "gradient": gradient,
    "saliency": saliency,
    "gradient_x_input": gradient_x_input,
    "smoothgrad_ig": smoothgrad_ig,
    "grad_cam": grad_cam,
    "occlusion": occlusion,
    "random": random,
    "sobel": sobel,
    "centre": centre,
}


def _in_batches(attribute: Callable, model, images, targets, baselines=None, size=None) -> np.ndarray:
    """Return the maps of a method of Captum, a few images at a time, summed over the channels."""
    model.eval().to(memory_format=torch.channels_last)
    maps = []
    for rows in torch.arange(len(images)).split(size or batch_size(model, on_gpu=BACKWARD)):
        batch = ready(model, images[rows].detach().float()).requires_grad_()
        options = {"target": targets[rows].to(batch.device)}
        if baselines is not None:  # Captum's own is black
            options["baselines"] = ready(model, baselines.expand(images.shape)[rows].float())
        maps.append(attribute(batch, **options).detach().sum(1).cpu())
    return torch.cat(maps).float().numpy()


def baseline(
    name: str,
    images: torch.Tensor,
    training_mean: np.ndarray | None = None,
    healthy: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the image that stands for "nothing seen", (1 or N, 3, H, W), in the scale of the images.

    Parameters
    ----------
    name : black; mean, of the training images; blur, the image without its details; expected, several
        healthy training images (expected gradients, Erion et al. 2021): the result is (1, K, 3, H, W).
    images : (N, 3, H, W) float in [0, 1].
    training_mean : (H, W) in [0, 1], for mean.
    healthy : (K, 3, H, W), for expected.
    """
    if name == "black":
        return torch.zeros_like(images[:1])
    if name == "mean" and training_mean is not None:
        grey = torch.as_tensor(training_mean, dtype=images.dtype)
        return grey.expand(1, 3, *grey.shape)
    if name == "blur":
        return blurred(images)
    if name == "expected" and healthy is not None:
        return healthy.unsqueeze(0)
    if name in BASELINES:
        raise ValueError(f"baseline {name!r}: the training images that it is made of are not given")
    raise ValueError(f"baseline {name!r}: choose {', '.join(BASELINES)}")


def blurred(images: torch.Tensor) -> torch.Tensor:
    """Return images (N, 3, H, W) without their details: no rib is left."""
    return blur(images, images.shape[-1] / 16)
