"""What a network is made of: parameters and multiply-adds, counted on the network itself."""

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

IMAGE = (3, 224, 224)  # channels, height and width that papers count for


class Cost(NamedTuple):
    """Of one input: multiply-adds are those of convolutions and linear layers, as papers count them."""

    parameters: int
    multiply_adds: int


def outline(build: Callable[..., nn.Module], *arguments, **options) -> nn.Module:
    """A network with shapes and no numbers: it can be counted, takes no memory and computes nothing."""
    with torch.device("meta"):
        return build(*arguments, **options)


def cost(network: nn.Module, shape: tuple[int, ...] = IMAGE) -> Cost:
    """Parameters and multiply-adds of a network for one input of `shape`; it is put in evaluation mode."""
    return Cost(sum(p.numel() for p in network.parameters()), _counted(network, shape).get_total_flops() // 2)


def layers(network: nn.Module, shape: tuple[int, ...] = IMAGE) -> pd.DataFrame:
    """Every layer that has parameters, in the order in which an input of `shape` passes them.

    Returns
    -------
    One row a layer: layer (its name), kind, output (its shape, without the batch), values (numbers in that
    output), parameters and multiply_adds.
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
    """The counter after one pass of the network; it counts a multiplication and an addition as two."""
    first = next(network.parameters())
    with FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, *shape, device=first.device, dtype=first.dtype))
    return counter
