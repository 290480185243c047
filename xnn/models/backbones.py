"""Backbones of torchvision and Hugging Face, under the names of the registry.

A builder takes sizes (``model.config``) and a state dict with the keys of torchvision or transformers, None
for random weights. It returns the blocks, the norm after pooling and the number of channels.
"""

import re
from collections import Counter

import torch
import torchvision
from torch import nn

CONVNEXT_LAYER = re.compile(r"encoder\.stages\.(\d+)\.layers\.\d+\.dwconv\.weight$")

Parts = tuple[nn.Sequential, nn.Module, int]


def mobilenet_v2(config: dict, state: dict | None = None) -> Parts:
    """Return the parts of torchvision's MobileNetV2."""
    network = torchvision.models.mobilenet_v2(weights=None)
    if state:
        network.load_state_dict(state)
    return network.features, nn.Identity(), network.last_channel


def resnet18(config: dict, state: dict | None = None) -> Parts:
    """Return the parts of torchvision's ResNet-18."""
    return _resnet(torchvision.models.resnet18(weights=None), state)


def resnet50(config: dict, state: dict | None = None) -> Parts:
    """Return the parts of torchvision's ResNet-50."""
    return _resnet(torchvision.models.resnet50(weights=None), state)


def _resnet(network, state):
    if state:
        network.load_state_dict(state)
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    stages = (network.layer1, network.layer2, network.layer3, network.layer4)
    blocks = [block for stage in stages for block in stage]
    return nn.Sequential(stem, *blocks), nn.Identity(), network.fc.in_features


def convnextv2(config: dict, state: dict | None = None) -> Parts:
    """Return the parts of a ConvNeXtV2; `state` may be that of the model with its classifier."""
    from transformers import ConvNextV2Config, ConvNextV2Model  # takes seconds to import

    network = ConvNextV2Model(ConvNextV2Config(**config))
    if state:
        own = {name.removeprefix("convnextv2."): tensor for name, tensor in state.items()}
        network.load_state_dict({k: v for k, v in own.items() if not k.startswith("classifier.")})
    blocks = [network.embeddings]
    for stage in network.encoder.stages:
        blocks += [nn.Sequential(*stage.downsampling_layer)] if len(stage.downsampling_layer) else []
        blocks += stage.layers
    return nn.Sequential(*blocks), network.layernorm, network.config.hidden_sizes[-1]


def convnext_sizes(state: dict[str, torch.Tensor] | None) -> dict[str, list[int]]:
    """Return depths and hidden_sizes of the ConvNeXtV2 with these weights; nothing for another network."""
    depths, widths = Counter(), {}
    for name, tensor in (state or {}).items():
        if found := CONVNEXT_LAYER.search(name):
            depths[found[1]] += 1
            widths[found[1]] = len(tensor)
    stages = sorted(depths)
    sizes = {"depths": [depths[s] for s in stages], "hidden_sizes": [widths[s] for s in stages]}
    return sizes if stages else {}
