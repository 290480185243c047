"""Parameters and multiply-adds, counted on the network itself."""

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

IMAGE = (3, 224, 224)  # channels, height and width of the input that papers count for


class Cost(NamedTuple):
    """Cost of one input; multiply-adds are those of convolutions and linear layers, as in papers."""

    parameters: int
    multiply_adds: int


def outline(build: Callable[..., nn.Module], *arguments, **options) -> nn.Module:
    """Return a network on the meta device: it has shapes but no values, so it can be counted for free."""
    with torch.device("meta"):
        return build(*arguments, **options)


def cost(network: nn.Module, shape: tuple[int, ...] = IMAGE) -> Cost:
    """Return the cost of a network for one input of `shape`; switches the network to evaluation mode."""
    return Cost(sum(p.numel() for p in network.parameters()), _counted(network, shape).get_total_flops() // 2)


def layers(network: nn.Module, shape: tuple[int, ...] = IMAGE) -> pd.DataFrame:
    """Return a table of the layers with parameters, in the order in which an input of `shape` passes them.

    Returns
    -------
    One row per layer: layer (its name), kind, output (its shape, without the batch), values (the size of
    that output), parameters and multiply_adds.
    """
    rows, hooks = [], []
    for name, module in network.named_modules():
        own = sum(p.numel() for p in module.parameters(recurse=False))
        if own:
            hooks.append(module.register_forward_hook(_remember(rows, name, own)))
    counts = _counted(network, shape).get_flop_counts()
    for hook in hooks:
        hook.remove()
    table = pd.DataFrame(rows)
    root = type(network).__name__
    names = [f"{root}.{name}" if name else root for name in table.layer]
    return table.assign(multiply_adds=[sum(counts.get(name, {}).values()) // 2 for name in names])


def _remember(rows: list, name: str, parameters: int):
    def hook(module, inputs, output):
        shape = output.shape[1:]
        sizes = {"output": " x ".join(map(str, shape)), "values": shape.numel()}
        rows.append({"layer": name, "kind": _kind(module), **sizes, "parameters": parameters})

    return hook


def _kind(module: nn.Module) -> str:
    if not isinstance(module, nn.Conv2d):
        return type(module).__name__
    alone = ", depthwise" if 1 < module.groups == module.in_channels else ""
    return f"{' x '.join(map(str, module.kernel_size))} convolution{alone}"


@torch.no_grad()
def _counted(network: nn.Module, shape: tuple[int, ...]) -> FlopCounterMode:
    """Return the counter after one forward pass; it counts a multiply-add as two operations."""
    first = next(network.parameters())
    with FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, *shape, device=first.device, dtype=first.dtype))
    return counter
