"""Masks of hidden patches, as in masked autoencoders, and leakage into them."""

import torch
from torch import nn


def hide(count: int, side: int, patch: int, share: float, seed: int) -> torch.Tensor:
    """Return (count, side, side) bool, true in randomly drawn patches, the same number in each mask."""
    across = side // patch
    order = torch.rand(count, across**2, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)
    hidden = (order < round(share * across**2)).reshape(count, across, across)
    return hidden.repeat_interleave(patch, 1).repeat_interleave(patch, 2)


def reached(hidden: torch.Tensor, layers: int, kernel: int, sparse: bool) -> list[float]:
    """Return the share of hidden positions reached by visible content after 0, 1, ... convolutions.

    Parameters
    ----------
    hidden : (N, H, W) bool.
    layers : number of convolutions.
    kernel : side of each convolution.
    sparse : whether hidden positions are emptied after each convolution.
    """
    hidden = hidden[:, None]
    visible, shares = (~hidden).float(), []
    for _ in range(layers + 1):
        shares.append(visible[hidden].mean().item())
        visible = nn.functional.max_pool2d(visible, kernel, 1, kernel // 2)
        visible = visible * ~hidden if sparse else visible
    return shares
