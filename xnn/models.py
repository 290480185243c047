"""Backbones of torchvision and Hugging Face behind one ``Classifier``, and where their weights come from."""

import contextlib
import hashlib
import io
import os
from pathlib import Path
from typing import NamedTuple

import torch
import torchvision
from huggingface_hub import PyTorchModelHubMixin
from safetensors.torch import load_file, load_model
from torch import nn

from .params import ROOT, Run
from .provenance import file_sha256

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as every backbone here expects
HUB = {"convnextv2": "facebook/convnextv2-tiny-1k-224"}  # what "imagenet" means there
CARD = """---
{{ card_data }}
---
# {{ run | default("an xnn classifier") }}

{{ what | default("A classifier of chest radiographs.") }}

```python
import xnn
model = xnn.Classifier.from_pretrained(".")  # images (N, 3, H, W) in [0, 1] to logits (N, C)
```

It is part of a research report on explainable neural networks and no medical device.

{{ attribution | default("") }}
"""
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


class WeightsError(ValueError):
    """Starting weights that cannot be had or do not fit; the message names what was tried."""


class Classifier(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="xnn",
    license="mit",
    model_card_template=CARD,
    tags=["image-classification", "chest-radiograph"],
):
    """Radiographs in, logits out.

    Normalisation is part of the network: its input is the radiograph itself, so black is 0.

    Parameters
    ----------
    backbone : mobilenet_v2, resnet18, resnet50 or convnextv2.
    classes : names, in the order of the logits.
    image_size : side in pixels of the images it was made for.
    hidden : widths of the head's hidden layers; none: one linear layer.
    dropout : rate before every linear layer of the head.
    backbone_config : sizes of a convnextv2, as in transformers' ConvNextV2Config.

    ``backbone`` is an ``nn.Sequential`` of blocks, (N, 3, H, W) to a feature map (N, C, h, w);
    ``head`` takes the feature map to logits.
    """

    def __init__(
        self,
        backbone: str = "mobilenet_v2",
        classes: list[str] = ("bacteria", "normal", "virus"),
        image_size: int = 224,
        hidden: list[int] = (),
        dropout: float = 0.2,
        backbone_config: dict | None = None,
    ):
        super().__init__()
        self.classes, self.image_size = list(classes), image_size
        self.backbone, norm, width = _BACKBONES[backbone](backbone_config or {})
        self.head = _head(norm, width, hidden, dropout, len(self.classes))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, C) of float images (N, 3, H, W) in [0, 1]."""
        return self.head(self.backbone((images - self.mean) / self.std))

    def train(self, mode: bool = True):
        """As nn.Module, but what is frozen stays in evaluation mode.

        Frozen norm layers keep their statistics, and a frozen block drops nothing.
        """
        super().train(mode)
        for module in (*self.backbone, *(m for m in self.modules() if isinstance(m, NORMS))):
            if not any(p.requires_grad for p in module.parameters()):
                module.eval()
        return self

    @classmethod
    def _from_pretrained(cls, **options):
        with contextlib.redirect_stdout(io.StringIO()):  # the mixin prints where it looks
            return super()._from_pretrained(**options)

    @classmethod
    def _load_as_safetensor(cls, model, model_file, map_location, strict):
        try:
            load_model(model, model_file, strict=True, device=map_location)
        except Exception as error:  # RuntimeError of torch, SafetensorError of a damaged file
            raise WeightsError(f"{model_file} does not fit its config.json: {str(error)[:300]}") from None
        return model.eval()

    @classmethod
    def _load_as_pickle(cls, model, model_file, map_location, strict):
        raise WeightsError(f"{model_file}: only model.safetensors is loaded, never a pickle")


def _head(norm: nn.Module, width: int, hidden, dropout: float, classes: int) -> nn.Sequential:
    """Pool, then small linear layers with ReLU and dropout."""
    layers = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), norm]
    for units in hidden:
        layers += [nn.Dropout(dropout), nn.Linear(width, units), nn.ReLU()]
        width = units
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(width, classes))


# ---- backbones: (blocks, norm after pooling, width of the feature map) ---------------------------
# `state` is a state dict with the keys of torchvision or transformers, None for random weights.


def _mobilenet_v2(config: dict, state: dict | None = None):
    network = torchvision.models.mobilenet_v2(weights=None)
    if state:
        network.load_state_dict(state)
    return network.features, nn.Identity(), network.last_channel


def _resnet(name: str):
    def build(config: dict, state: dict | None = None):
        network = getattr(torchvision.models, name)(weights=None)
        if state:
            network.load_state_dict(state)
        stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        layers = (network.layer1, network.layer2, network.layer3, network.layer4)
        blocks = [block for layer in layers for block in layer]
        return nn.Sequential(stem, *blocks), nn.Identity(), network.fc.in_features

    return build


def _convnextv2(config: dict, state: dict | None = None):
    from transformers import ConvNextV2Config, ConvNextV2Model

    network = ConvNextV2Model(ConvNextV2Config(**config))
    if state:  # of the model, or of the model with its classifier
        kept = {k.removeprefix("convnextv2."): v for k, v in state.items()}
        network.load_state_dict({k: v for k, v in kept.items() if not k.startswith("classifier.")})
    blocks = [network.embeddings]
    for stage in network.encoder.stages:
        blocks += [nn.Sequential(*stage.downsampling_layer)] if len(stage.downsampling_layer) else []
        blocks += stage.layers
    return nn.Sequential(*blocks), network.layernorm, network.config.hidden_sizes[-1]


_BACKBONES = {
    "mobilenet_v2": _mobilenet_v2,
    "resnet18": _resnet("resnet18"),
    "resnet50": _resnet("resnet50"),
    "convnextv2": _convnextv2,
}


# ---- building a run's model ----------------------------------------------------------------------


class Start(NamedTuple):
    """A model at the start of its training."""

    model: Classifier
    weights: str  # where they came from, for the reader
    sha256: str  # of the weight file; "" for random weights


def build(run: Run) -> Start:
    """Make the model that a run's parameters describe, with its starting weights, frozen as asked.

    Raises WeightsError where the weights cannot be had.
    """
    torch.manual_seed(run.seed)
    spec, study = run.model, run.study
    if spec.start_from:
        folder = study.artifacts / spec.start_from / "model"
        if not folder.exists():
            raise WeightsError(f"run {spec.start_from} has no model yet: execute its 3-train first")
        model, source = Classifier.from_pretrained(folder), folder / "model.safetensors"
        start = Start(model, f"the trained run {spec.start_from}", file_sha256(source))
    else:
        model = Classifier(
            spec.backbone,
            study.classes,
            study.image_size,
            spec.hidden,
            spec.dropout,
            dict(spec.config) or _hub_config(spec),
        )
        start = Start(model, *_load_backbone(model, spec))
    freeze(model, spec.train)
    model.train()  # Lightning trains in the mode it finds
    return start


def freeze(model: Classifier, train: str | int) -> None:
    """Leave trainable: the head, and of the backbone nothing, all, or its last N parameter tensors.

    Of a partly trained backbone the norm layers stay frozen.
    """
    tensors = [(m, p) for m in model.backbone.modules() for p in m.parameters(recurse=False)]
    count = {"head": 0, "all": len(tensors)}.get(train, train)
    first = len(tensors) - count
    if first < 0:
        raise WeightsError(f"model.train: {train}: the backbone has only {len(tensors)} parameter tensors")
    for number, (module, parameter) in enumerate(tensors):
        kept = train == "all" or not isinstance(module, NORMS)
        parameter.requires_grad_(number >= first and kept)


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Number of parameters: total, and trained."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {"total": sum(n for n, _ in sizes), "trained": sum(n for n, trained in sizes if trained)}


# ---- starting weights of a backbone --------------------------------------------------------------


def _load_backbone(model: Classifier, spec) -> tuple[str, str]:
    """Load what ``weights`` names into the backbone; return the source in words and the hash."""
    if spec.weights == "none":
        return "random (no pretrained weights)", ""
    file = _local_file(spec)
    if file is not None:
        _fit(model, spec, load_file(file), file.name)
        return f"{spec.weights}: {file.name}", file_sha256(file)
    state = _from_hub(spec)
    _fit(model, spec, state, spec.weights)
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(state[name].contiguous().numpy().tobytes())
    return f"{spec.weights}: downloaded", digest.hexdigest()


def _local_file(spec) -> Path | None:
    """A safetensors file in WEIGHTS: ``<backbone>-imagenet1k`` for imagenet, else by its name."""
    if not os.environ.get("WEIGHTS"):
        return None
    folder = ROOT / Path(os.environ["WEIGHTS"]).expanduser()
    if not folder.is_dir():
        raise WeightsError(f"WEIGHTS={folder}: no such folder")
    name = f"{spec.backbone}-imagenet1k.safetensors" if spec.weights == "imagenet" else spec.weights
    return folder / name if (folder / name).is_file() else None


def _hub_id(spec) -> str:
    return HUB[spec.backbone] if spec.weights == "imagenet" else spec.weights


def _hub_config(spec) -> dict:
    """Sizes of the network on the hub, so that the one made here fits its weights."""
    if spec.backbone != "convnextv2" or spec.weights == "none" or _local_file(spec):
        return {}
    from transformers import ConvNextV2Config

    try:
        found = ConvNextV2Config.from_pretrained(_hub_id(spec))
    except Exception as error:
        raise WeightsError(_cannot_have(spec, _hub_id(spec), error)) from None
    return {"depths": found.depths, "hidden_sizes": found.hidden_sizes}


def _from_hub(spec) -> dict[str, torch.Tensor]:
    """Download a state dict, from torchvision or from the Hugging Face hub (or a folder like it)."""
    if spec.backbone == "convnextv2":
        tried = _hub_id(spec)
    elif spec.weights == "imagenet":
        tried = torchvision.models.get_model_weights(spec.backbone).DEFAULT.url
    else:
        raise WeightsError(_cannot_have(spec, "", "not a file in WEIGHTS"))
    try:
        if spec.backbone == "convnextv2":
            from transformers import ConvNextV2Model

            return ConvNextV2Model.from_pretrained(tried, use_safetensors=True).state_dict()
        return torch.hub.load_state_dict_from_url(tried, check_hash=True, weights_only=True)
    except Exception as error:  # urllib, requests, hub and file errors
        raise WeightsError(_cannot_have(spec, tried, error)) from None


def _cannot_have(spec, tried: str, error) -> str:
    place = os.environ.get("WEIGHTS") or "unset"
    return (
        f"model.weights: {spec.weights} for {spec.backbone} cannot be had: tried WEIGHTS ({place})"
        f"{f' and {tried}' if tried else ''} ({str(error).splitlines()[0][:120]}); put "
        f"{spec.backbone}-imagenet1k.safetensors in a folder and set WEIGHTS to it, or set weights: none"
    )


def _fit(model: Classifier, spec, state: dict[str, torch.Tensor], source: str) -> None:
    """Load a state dict with the keys of torchvision or transformers into the backbone."""
    config = model._hub_mixin_config["backbone_config"] or {}
    try:
        blocks, norm, _ = _BACKBONES[spec.backbone](config, state)
    except RuntimeError as error:
        raise WeightsError(f"{source} does not fit {spec.backbone}: {str(error)[:300]}") from None
    model.backbone.load_state_dict(blocks.state_dict())
    model.head[2].load_state_dict(norm.state_dict())
