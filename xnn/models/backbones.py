"""Backbones of torchvision, Hugging Face and timm, under the names of the registry.

A builder takes sizes (``model.config``) and a state dict with the keys of the library, None for random
weights. It returns the parts.
"""

import functools
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn
from torchvision.models import get_model

from .weights import WeightsError

CONVNEXT_LAYER = re.compile(r"encoder\.stages\.(\d+)\.layers\.\d+\.dwconv\.weight$")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet


class Parts(NamedTuple):
    """What a classifier is made of."""

    blocks: nn.Sequential  # from images (N, 3, H, W) to a feature map (N, C, h, w)
    norm: nn.Module  # of the pooled features (N, C)
    width: int  # C
    mean: tuple[float, ...] = MEAN  # of the images that the weights were trained on, per channel
    std: tuple[float, ...] = STD


def mobilenet_v2(config: dict, state: dict | None = None) -> Parts:
    """Return the parts of torchvision's MobileNetV2; ``width_mult`` scales its channels.

    Raises WeightsError for any other key of the config.
    """
    if unknown := set(config) - {"width_mult"}:
        raise WeightsError(f"model.config: {', '.join(unknown)}: a mobilenet_v2 has width_mult alone")
    network = get_model("mobilenet_v2", weights=None, **config)
    if state:
        network.load_state_dict(state)
    return Parts(network.features, nn.Identity(), network.last_channel)


def _resnet(name: str, config: dict, state: dict | None = None) -> Parts:
    """Return the parts of one of torchvision's ResNets."""
    network = get_model(name, weights=None)
    if state:
        network.load_state_dict(state)
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    stages = (network.layer1, network.layer2, network.layer3, network.layer4)
    return Parts(nn.Sequential(stem, *itertools.chain(*stages)), nn.Identity(), network.fc.in_features)


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
    return Parts(nn.Sequential(*blocks), network.layernorm, network.config.hidden_sizes[-1])


def convnext_sizes(state: dict[str, torch.Tensor] | None) -> dict[str, list[int]]:
    """Return depths and hidden_sizes of the ConvNeXtV2 with these weights; nothing for another network."""
    widths = defaultdict(list)  # of the layers of each stage
    for name, tensor in (state or {}).items():
        if found := CONVNEXT_LAYER.search(name):
            widths[found[1]].append(len(tensor))
    stages = [widths[stage] for stage in sorted(widths)]
    return {"depths": [*map(len, stages)], "hidden_sizes": [each[0] for each in stages]} if stages else {}


def of_timm(name: str, state: dict | None = None) -> Parts:
    """Return the parts of a convolutional network of timm; its layers after the pooling are left out.

    Raises WeightsError for an unknown name, and for a network that is not a chain of blocks from images to
    a feature map (N, C, h, w), such as a transformer.
    """
    import timm  # takes seconds to import

    if not timm.is_model(name):
        raise WeightsError(f"timm {timm.__version__} has no network {name}")
    network = timm.create_model(name)
    if state:
        network.load_state_dict(state)
    _separate_activations(network)
    blocks = nn.Sequential(*_chain(network))
    if not _is_chain(blocks, network):
        raise WeightsError(f"timm's {name} is not a chain of blocks that ends with a feature map")
    config = network.pretrained_cfg
    return Parts(blocks, nn.Identity(), network.num_features, tuple(config["mean"]), tuple(config["std"]))


class NormAct(nn.Sequential):
    """A norm and its activation, which are one layer."""


def _separate_activations(network: nn.Module) -> None:
    """Replace timm's batch norms that include their activation: else all that replaces a norm loses it."""
    from timm.layers import BatchNormAct2d

    for name, module in list(network.named_modules()):
        if isinstance(module, BatchNormAct2d):
            norm = nn.BatchNorm2d(module.num_features, module.eps, module.momentum)
            norm.load_state_dict(module.state_dict())
            network.set_submodule(name, NormAct(norm, module.act))


def _chain(network: nn.Module) -> Iterator[nn.Module]:
    """Yield a network's layers in order, up to the pooling; those of its sequences one by one."""
    for name, child in network.named_children():
        if name in ("global_pool", "head"):
            return
        if type(child) is nn.Sequential:
            yield from _chain(child)
        elif not isinstance(child, nn.Identity):
            yield child


@torch.no_grad()
def _is_chain(blocks: nn.Sequential, network: nn.Module) -> bool:
    """Return whether blocks, one after the other, give a network's features, as a map (N, C, h, w)."""
    images = torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    network.eval()
    try:
        found, wanted = blocks(images), network.forward_features(images)
    except (RuntimeError, AssertionError):  # of a network for images of one size
        return False
    finally:
        network.train()
    return torch.equal(found, wanted) and found.ndim == 4 and found.shape[1] == network.num_features
