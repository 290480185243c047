"""What is done to every image before a network's first layer: resizing, smoothing, normalisation."""

from collections.abc import Sequence

import torch
from torch import nn
from torchvision.transforms.v2 import functional

from .backbones import MEAN, STD


def blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return images (N, 3, H, W) blurred by a Gaussian of `sigma` pixels, cut off at twice that."""
    side = 2 * max(round(2 * sigma), 1) + 1
    for kernel in ([side, 1], [1, side]):  # one after the other: far less work than both at once
        images = functional.gaussian_blur(images.contiguous(), kernel, [sigma, sigma])
    return images


class Preprocess(nn.Module):
    """Resizes radiographs to the size of the network, smooths them if asked, and normalises them.

    Smoothing at test time removes what a reader cannot see but some networks react to: noise, and traces of
    how a file was compressed or resized.
    """

    def __init__(
        self, size: int, mean: Sequence[float] = MEAN, std: Sequence[float] = STD, smooth: float = 0.0
    ):
        super().__init__()
        self.size, self.smooth = (size, size), smooth
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[-2:] != self.size:
            images = nn.functional.interpolate(images, self.size, mode="bilinear", antialias=True)
        if self.smooth:
            images = blur(images, self.smooth)
        return (images - self.mean) / self.std
