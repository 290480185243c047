"""Patches hidden from a network, as masked autoencoders hide them, and what leaks into them."""

import torch
from torch import nn


def hide(count: int, side: int, patch: int, share: float, seed: int) -> torch.Tensor:
    """(count, side, side) bool, true where hidden: as many square patches in each, drawn at random."""
    across = side // patch
    order = torch.rand(count, across**2, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)
    hidden = (order < round(share * across**2)).reshape(count, across, across)
    return hidden.repeat_interleave(patch, 1).repeat_interleave(patch, 2)


def reached(hidden: torch.Tensor, layers: int, kernel: int, sparse: bool) -> list[float]:
    """Share of the hidden positions that something visible has come to, after 0, 1, ... convolutions.

    Parameters
    ----------
    hidden : (N, H, W) bool.
    layers : number of convolutions, each of `kernel` x `kernel` positions.
    sparse : hidden positions are emptied after each convolution.
    """
    hidden = hidden[:, None]
    visible, shares = (~hidden).float(), []
    for _ in range(layers + 1):
        shares.append(visible[hidden].mean().item())
        visible = nn.functional.max_pool2d(visible, kernel, 1, kernel // 2)
        visible = visible * ~hidden if sparse else visible
    return shares
