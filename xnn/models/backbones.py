"""Backbones of torchvision and Hugging Face, under the names of the registry.

A builder takes sizes (``model.config``) and a state dict with the keys of torchvision or transformers, None
for random weights. It returns the blocks, the norm after pooling and the number of channels.
"""

import functools
import itertools
import re
from collections import defaultdict

import torch
from torch import nn
from torchvision.models import get_model

CONVNEXT_LAYER = re.compile(r"encoder\.stages\.(\d+)\.layers\.\d+\.dwconv\.weight$")

Parts = tuple[nn.Sequential, nn.Module, int]


def mobilenet_v2(config: dict, state: dict | None = None) -> Parts:
    """Return the parts of torchvision's MobileNetV2."""
    network = get_model("mobilenet_v2", weights=None)
    if state:
        network.load_state_dict(state)
    return network.features, nn.Identity(), network.last_channel


def _resnet(name: str, config: dict, state: dict | None = None) -> Parts:
    """Return the parts of one of torchvision's ResNets."""
    network = get_model(name, weights=None)
    if state:
        network.load_state_dict(state)
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    stages = (network.layer1, network.layer2, network.layer3, network.layer4)
    return nn.Sequential(stem, *itertools.chain(*stages)), nn.Identity(), network.fc.in_features


resnet18, resnet50 = (functools.partial(_resnet, name) for name in ("resnet18", "resnet50"))


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
    widths = defaultdict(list)  # of the layers of each stage
    for name, tensor in (state or {}).items():
        if found := CONVNEXT_LAYER.search(name):
            widths[found[1]].append(len(tensor))
    stages = [widths[stage] for stage in sorted(widths)]
    return {"depths": [*map(len, stages)], "hidden_sizes": [each[0] for each in stages]} if stages else {}
