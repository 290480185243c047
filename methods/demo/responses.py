"""Global response normalisation of ConvNeXtV2, and measures of channel diversity."""

import torch
from torch import nn


class Responses(nn.Module):
    """Global response normalisation (Woo et al. 2023) of feature maps (N, C, H, W).

    Each channel is scaled by its norm over the image relative to the mean norm of all channels, and added to
    the input. With `gamma` and `beta` at 0, as at the start of training, the layer is the identity.
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
    """Return the Euclidean norm over the image of each channel of (N, C, H, W), (N, C)."""
    return features.flatten(2).norm(dim=2)


def diversity(features: torch.Tensor) -> torch.Tensor:
    """Return the mean cosine distance, (1 - cos) / 2, over all pairs of channels of (N, C, H, W), (N,)."""
    flat = nn.functional.normalize(features.flatten(2), dim=2)
    return (1 - (flat @ flat.transpose(1, 2)).mean(dim=(1, 2))) / 2


def rivalry(layer: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Return the relative growth (C, C) of channel i's norm after `layer` per growth of j's before it.

    1 if they grow at the same rate, 0 if they are independent, negative if one shrinks as the other grows.
    `features` are (1, C, H, W).
    """
    loudness = torch.zeros(features.shape[1], dtype=features.dtype)  # logarithm of a factor per channel

    def after(loudness: torch.Tensor) -> torch.Tensor:
        return norms(layer(features * loudness.exp()[:, None, None]))[0].log()

    return torch.autograd.functional.jacobian(after, loudness).detach()
