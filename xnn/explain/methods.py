"""Ways to explain an image behind one signature: gradients, Grad-CAM, occlusion, and two floors.

Every method is called as ``method(model, images, targets, baselines=None, seed=0)``, with images
(N, 3, H, W) float in [0, 1], targets (N,) int, and gives maps (N, H, W) float32, summed over the
channels. One that needs no baseline or no seed takes no notice of it.

The floors know nothing of the network: an explanation that a measure does not tell from them has not
been shown to say anything about it.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from captum.attr import (
    InputXGradient,
    IntegratedGradients,
    LayerAttribution,
    LayerGradCam,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from scipy import ndimage
from torch import nn

from .integrated import BATCH, Attribution, integrated_gradients, ready

NOISY, NOISY_STEPS, NOISE = 4, 10, 0.1  # SmoothGrad: copies an image, steps each, deviation in grey values
PARTS = 12  # occlusion: strides of an image's side; the window is two strides wide


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
    """Maps of the method of that name in METHODS, and images/s.

    Parameters
    ----------
    model : a Classifier; it is brought to evaluation mode.
    images : (N, 3, H, W) float in [0, 1].
    targets : (N,) int, the logit explained.
    baselines : (1 or N, 3, H, W), black without it. expected gradients' are for integrated_gradients
        and averaged_gradients only.
    seed : of what is drawn at random.

    Raises
    ------
    ValueError : an unknown name, or no image.
    """
    if name not in METHODS:
        raise ValueError(f"method {name!r}: choose {', '.join(METHODS)}")
    if len(images) == 0:
        raise ValueError("no image to explain")
    began = time.perf_counter()
    maps = METHODS[name](model, images, targets, baselines, seed)
    return Explained(maps, len(images) / (time.perf_counter() - began))


# ---- gradients -----------------------------------------------------------------------------------


def path_gradients(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Integrated Gradients, complete to within 1 %."""
    return _integrate(model, images, targets, baselines).maps


def averaged_gradients(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Integrated Gradients without the factor x - x', through which the image itself shows."""
    return _integrate(model, images, targets, baselines).averaged


def gradient(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """The gradient: gradient x input without its factor."""
    attribute = Saliency(model).attribute
    return _in_batches(lambda x, y, _: attribute(x, target=y, abs=False), model, images, targets)


def saliency(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Magnitude of the gradient with respect to a grey value (Simonyan et al. 2014)."""
    return np.abs(gradient(model, images, targets))


def gradient_x_input(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Gradient times grey value (Shrikumar et al. 2016)."""
    attribute = InputXGradient(model).attribute
    return _in_batches(lambda x, y, _: attribute(x, target=y), model, images, targets)


def smoothgrad_ig(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Integrated Gradients of 10 steps averaged over 4 noisy copies (SmoothGrad, Smilkov et al. 2017).

    Noise of every image is drawn from the same seed, so its map does not depend on its neighbours.
    """
    tunnel = NoiseTunnel(IntegratedGradients(model))

    def attribute(x, y, start):
        torch.manual_seed(seed)
        return tunnel.attribute(
            x,
            nt_samples=NOISY,
            nt_samples_batch_size=1,
            stdevs=NOISE,
            baselines=start,
            target=y,
            n_steps=NOISY_STEPS,
        )

    with torch.random.fork_rng():
        return _in_batches(attribute, model, images, targets, baselines, size=1)


# ---- regions -------------------------------------------------------------------------------------


def grad_cam(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Grad-CAM (Selvaraju et al. 2017) of the backbone's last block, brought to the image's size."""
    explainer, side = LayerGradCam(model, model.backbone[-1]), images.shape[-2:]

    def attribute(x, y, _):
        coarse = explainer.attribute(x, target=y, relu_attributions=True)
        return LayerAttribution.interpolate(coarse, side, "bilinear")

    return _in_batches(attribute, model, images, targets)


def occlusion(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """What the logit loses where a window shows the baseline (Zeiler and Fergus 2014)."""
    stride = [max(1, side // PARTS) for side in images.shape[-2:]]
    window = [min(2 * step, side) for step, side in zip(stride, images.shape[-2:], strict=True)]

    def attribute(x, y, fill):
        return Occlusion(model).attribute(
            x,
            (3, *window),
            strides=(3, *stride),
            baselines=fill,
            target=y,
            perturbations_per_eval=BATCH,
        )

    with torch.no_grad():
        return _in_batches(attribute, model, images, targets, baselines, size=1)


# ---- floors --------------------------------------------------------------------------------------


def random(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Normal noise: a map without any knowledge."""
    shape = (len(images), *images.shape[-2:])
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def sobel(model, images, targets, baselines=None, seed=0) -> np.ndarray:
    """Strength of the edges of the grey image: a map without any knowledge of the network."""
    grey = images.mean(1).float().cpu().numpy()
    return np.stack([np.hypot(ndimage.sobel(each, 0), ndimage.sobel(each, 1)) for each in grey])


METHODS: dict[str, Callable[..., np.ndarray]] = {
    "integrated_gradients": path_gradients,
    "averaged_gradients": averaged_gradients,
    "gradient": gradient,
    "saliency": saliency,
    "gradient_x_input": gradient_x_input,
    "smoothgrad_ig": smoothgrad_ig,
    "grad_cam": grad_cam,
    "occlusion": occlusion,
    "random": random,
    "sobel": sobel,
}


def _integrate(model, images, targets, baselines) -> Attribution:
    return integrated_gradients(model, images, targets, _or_black(baselines, images))


def _or_black(baselines: torch.Tensor | None, images: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(images[:1]) if baselines is None else baselines


def _in_batches(attribute: Callable, model, images, targets, baselines=None, size: int = BATCH) -> np.ndarray:
    """Ask a method of Captum about a few images at a time, and sum over the channels."""
    model.eval().to(memory_format=torch.channels_last)
    starts = _or_black(baselines, images).expand(images.shape)
    maps = []
    for part in torch.arange(len(images)).split(size):
        batch = ready(model, images[part].detach().float()).requires_grad_()
        found = attribute(batch, targets[part].to(batch.device), ready(model, starts[part].float()))
        maps.append(found.detach().sum(1).cpu())
    return torch.cat(maps).float().numpy()
