"""Steps from ResNet-50 to ConvNeXtV2-tiny, one at a time (Liu et al. 2022, Woo et al. 2023)."""

from typing import NamedTuple

import pandas as pd
import torch
from torch import nn
from torchvision.models.convnext import LayerNorm2d

from . import anatomy
from .responses import Responses

EXPANSION = 4  # ratio of wide to narrow layers, in ordinary and inverted bottlenecks


class Design(NamedTuple):
    """What a step may change; the defaults are a ResNet-50."""

    depths: tuple[int, ...] = (3, 4, 6, 3)  # blocks per stage
    patches: bool = False  # a stem of 4 x 4 patches instead of a 7 x 7 convolution and a max pool
    depthwise: bool = False  # the spatial convolution filters each channel alone
    width: int = 64  # channels of the narrow layers in the first stage
    inverted: bool = False  # wide inside, narrow outside
    spatial_first: bool = False  # the spatial convolution comes before both 1 x 1 convolutions
    kernel: int = 3
    activation: type[nn.Module] = nn.ReLU
    fewer_activations: bool = False  # one per block
    fewer_norms: bool = False  # one per block; convolutions get a bias instead
    norm: type[nn.Module] = nn.BatchNorm2d
    between: bool = False  # separate downsampling layers, and a norm before each and before the head
    scaled: bool = False  # LayerScale: a learned factor per channel at the end of each block
    responses: bool = False  # global response normalisation instead of LayerScale


STEPS = {
    "ResNet-50": {},
    "stages of 3, 3, 9, 3 blocks": {"depths": (3, 3, 9, 3)},
    "stem of 4 x 4 patches": {"patches": True},
    "depthwise convolution": {"depthwise": True},
    "width 96": {"width": 96},
    "inverted bottleneck": {"inverted": True},
    "depthwise convolution first": {"spatial_first": True},
    "kernel of 7 x 7": {"kernel": 7},
    "GELU for ReLU": {"activation": nn.GELU},
    "one activation a block": {"fewer_activations": True},
    "one norm a block": {"fewer_norms": True},
    "layer norm for batch norm": {"norm": LayerNorm2d},
    "downsampling between stages": {"between": True},
    "LayerScale: ConvNeXt-T": {"scaled": True},
    "GRN for it: ConvNeXtV2-T": {"scaled": False, "responses": True},
}


def ladder(size: int = 224) -> pd.DataFrame:
    """Return each step's cost for one image of `size`: columns step, parameters and multiply_adds."""
    design, rows = Design(), []
    for step, changes in STEPS.items():
        design = design._replace(**changes)
        counted = anatomy.cost(anatomy.outline(network, design), (3, size, size))
        rows.append({"step": step, **counted._asdict()})
    return pd.DataFrame(rows)


def network(design: Design, classes: int = 1000) -> nn.Sequential:
    """Return the network of a design, from images (N, 3, H, W) to logits (N, classes)."""
    outside = design.width if design.inverted else design.width * EXPANSION
    layers, entering = [_stem(design)], design.width
    for stage, depth in enumerate(design.depths):
        leaving, stride = outside * 2**stage, 1 if stage == 0 else 2
        if design.between and stage:
            layers += [design.norm(entering), nn.Conv2d(entering, leaving, 2, stride=2)]
            entering, stride = leaving, 1
        for block in range(depth):
            layers.append(Block(design, entering, leaving, stride if block == 0 else 1))
            entering = leaving
    final = [design.norm(entering)] if design.between else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), *final, nn.Flatten(), nn.Linear(entering, classes))


def _stem(design: Design) -> nn.Sequential:
    activation = [] if design.fewer_activations else [design.activation()]
    if design.patches:
        patches = nn.Conv2d(3, design.width, 4, stride=4, bias=design.fewer_norms)
        return nn.Sequential(patches, design.norm(design.width), *activation)
    wide = nn.Conv2d(3, design.width, 7, stride=2, padding=3, bias=False)
    pool = nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(wide, design.norm(design.width), *activation, pool)


class Block(nn.Module):
    """A residual block; where the shape changes, its shortcut is a projection."""

    def __init__(self, design: Design, entering: int, leaving: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(*_body(design, entering, leaving, stride))
        self.shortcut = nn.Identity()
        if stride > 1 or entering != leaving:
            projection = nn.Conv2d(entering, leaving, 1, stride, bias=design.fewer_norms)
            self.shortcut = nn.Sequential(projection, design.norm(leaving))
        self.scale = nn.Parameter(torch.ones(leaving, 1, 1)) if design.scaled else 1
        self.after = nn.Identity() if design.fewer_activations else design.activation()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.after(self.shortcut(inputs) + self.scale * self.body(inputs))


def _body(design: Design, entering: int, leaving: int, stride: int) -> list[nn.Module]:
    """Return the block's three convolutions, each with its norms and activations."""
    inside = leaving * EXPANSION if design.inverted else leaving // EXPANSION
    across = entering if design.spatial_first else inside
    spatial = _convolution(design, across, across, design.kernel, stride)
    first, last = _convolution(design, entering, inside), _convolution(design, inside, leaving)
    order = [spatial, first, last] if design.spatial_first else [first, spatial, last]
    layers = []
    for place, convolution in enumerate(order):
        layers.append(convolution)
        if not design.fewer_norms or convolution is spatial:
            layers.append(design.norm(convolution.out_channels))
        if place == 1 or (place == 0 and not design.fewer_activations):
            layers.append(design.activation())
        if place == 1 and design.responses:
            layers.append(Responses(inside))
    return layers


def _convolution(design: Design, entering: int, leaving: int, kernel: int = 1, stride: int = 1) -> nn.Conv2d:
    groups = leaving if design.depthwise and kernel > 1 else 1
    return nn.Conv2d(entering, leaving, kernel, stride, kernel // 2, groups=groups, bias=design.fewer_norms)
