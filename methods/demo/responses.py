"""Global response normalisation of ConvNeXtV2, and how alike the channels of a layer are."""

import torch
from torch import nn


class Responses(nn.Module):
    """Global response normalisation (Woo et al. 2023) of feature maps (N, C, H, W).

    The norm of a channel over the image, relative to the mean norm of all channels, scales the channel; the
    result is added to the input. With `gamma` and `beta` at 0, as training starts, nothing changes.
    """

    def __init__(self, channels: int, gamma: float = 0.0, small: float = 1e-6):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels, 1, 1), gamma))
        self.beta = nn.Parameter(torch.zeros(channels, 1, 1))
        self.small = small

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        sizes = norms(inputs)[:, :, None, None]
        relative = sizes / (sizes.mean(dim=1, keepdim=True) + self.small)
        return self.gamma * (inputs * relative) + self.beta + inputs


def norms(features: torch.Tensor) -> torch.Tensor:
    """(N, C) Euclidean norm of every channel of (N, C, H, W) over the image."""
    return features.flatten(2).norm(dim=2)


def diversity(features: torch.Tensor) -> torch.Tensor:
    """(N,) mean cosine distance, (1 - cos) / 2, over all pairs of channels of (N, C, H, W); 0: all alike."""
    flat = nn.functional.normalize(features.flatten(2), dim=2)
    return (1 - (flat @ flat.transpose(1, 2)).mean(dim=(1, 2))) / 2


def rivalry(layer: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """(C, C) by how much the norm of channel i after `layer` grows when channel j before it grows.

    Relative to both: 1 where they grow at the same rate, 0 where one is nothing to the other, below 0 where
    one is turned down when the other gets louder. `features` are (1, C, H, W).
    """
    loudness = torch.zeros(features.shape[1], dtype=features.dtype)  # logarithm of a factor a channel

    def after(loudness: torch.Tensor) -> torch.Tensor:
        return norms(layer(features * loudness.exp()[:, None, None]))[0].log()

    return torch.autograd.functional.jacobian(after, loudness).detach()
