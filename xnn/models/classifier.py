"""Backbones of torchvision and Hugging Face behind one ``Classifier``, and which part of it is trained."""

import contextlib
import io
from typing import NamedTuple

import numpy as np
import torch
import torchvision
from huggingface_hub import PyTorchModelHubMixin
from safetensors.torch import load_model as load_safetensors
from torch import nn

from ..config.provenance import file_sha256
from ..config.schema import Lora, Run
from . import weights
from .weights import WeightsError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as every backbone here expects
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
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


def to_input(images: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Grey images (N, H, W), uint8, as a network takes them: (N, 3, H, W) float in [0, 1]."""
    grey = torch.as_tensor(np.array(images) if isinstance(images, np.ndarray) else images)
    return (grey.float() / 255).unsqueeze(1).expand(-1, 3, -1, -1)


class Prepare(nn.Module):
    """Radiographs as a backbone expects them: at its size, and normalised."""

    def __init__(self, size: int):
        super().__init__()
        self.size = (size, size)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[-2:] != self.size:
            images = nn.functional.interpolate(images, self.size, mode="bilinear", antialias=True)
        return (images - self.mean) / self.std


class Classifier(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="xnn",
    license="mit",
    model_card_template=CARD,
    tags=["image-classification", "chest-radiograph"],
):
    """Radiographs in, logits out.

    Size and normalisation are the network's own business: its input is the radiograph itself, so black
    is 0, and attributions have the radiograph's pixels.

    Parameters
    ----------
    backbone : mobilenet_v2, resnet18, resnet50 or convnextv2.
    classes : names, in the order of the logits.
    image_size : side in pixels that images are brought to.
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
        self.prepare = Prepare(image_size)
        self.backbone, norm, width = _BACKBONES[backbone](backbone_config or {})
        self.head = _head(norm, width, hidden, dropout, len(self.classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, C) of float images (N, 3, H, W) in [0, 1]."""
        return self.between(images)

    def layers(self) -> list[nn.Module]:
        """What an image passes through, one after the other."""
        return [self.prepare, *self.backbone, *self.head]

    def between(self, inputs: torch.Tensor, first: int = 0, last: int | None = None) -> torch.Tensor:
        """What layers ``first`` to ``last`` (not included) make of the output of those before them."""
        for layer in self.layers()[first:last]:
            inputs = layer(inputs)
        return inputs

    def boundary(self) -> int:
        """Number of leading layers that are frozen and draw nothing at random: their output never changes."""
        for number, layer in enumerate(self.layers()):
            if isinstance(layer, nn.Dropout) or any(p.requires_grad for p in layer.parameters()):
                return number
        return len(self.layers())

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
            load_safetensors(model, model_file, strict=True, device=map_location)
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


# ---- a run's model -------------------------------------------------------------------------------


class Start(NamedTuple):
    """A model at the start of its training."""

    model: Classifier
    weights: str  # where they came from, for the reader
    sha256: str  # of the weights; "" for random ones


def build(run: Run) -> Start:
    """Make the model that a run's parameters describe, with its starting weights, frozen as asked.

    Raises WeightsError where the weights cannot be had.
    """
    torch.manual_seed(run.seed)
    spec, study = run.model, run.study
    size = spec.image_size or study.image_size
    if spec.start_from:
        folder = study.artifacts / spec.start_from / "model"
        if not folder.exists():
            raise WeightsError(f"run {spec.start_from} has no model yet: execute its 3-train first")
        model = Classifier.from_pretrained(folder, image_size=size)
        start = Start(model, f"the trained run {spec.start_from}", file_sha256(folder / "model.safetensors"))
    else:
        found = weights.find(spec)
        config = dict(spec.config) or weights.sizes(found.state)
        model = Classifier(spec.backbone, study.classes, size, spec.hidden, spec.dropout, config)
        _fill(model, spec.backbone, config, found)
        start = Start(model, found.source, found.sha256)
    freeze(model, spec.train)
    if spec.lora:
        adapt(model, spec.lora)
    model.train()  # Lightning trains in the mode it finds
    return start


def load_model(run: Run) -> Classifier:
    """The run's trained model; raise FileNotFoundError where 3-train has not made it."""
    folder = run.artifacts / "model"
    if not folder.exists():
        raise FileNotFoundError(
            f"run {run.name} of study {run.study.name} has no model yet: execute 3-train or `make report`"
        )
    return Classifier.from_pretrained(folder)


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


def adapt(model: Classifier, lora: Lora) -> None:
    """Freeze the backbone, and give low-rank updates to those of its layers that would have been trained.

    Only linear layers and convolutions over all channels have a matrix to update; the head is trained
    as it is.
    """
    from peft import LoraConfig, inject_adapter_in_model

    names = [
        f"backbone.{name}"
        for name, module in model.backbone.named_modules()
        if (isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1))
        and module.weight.requires_grad
    ]
    if not names:
        raise WeightsError("model.lora: none of the tensors of model.train belongs to a layer it can update")
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=names)
    inject_adapter_in_model(config, model)  # freezes all that is not its own
    model.head.requires_grad_(True)


def merge(model: Classifier) -> None:
    """Add low-rank updates to the layers that they belong to; the network is then as any other."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Number of parameters: total, and trained."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {"total": sum(n for n, _ in sizes), "trained": sum(n for n, trained in sizes if trained)}


def _fill(model: Classifier, backbone: str, config: dict, found: weights.Weights) -> None:
    """Load starting weights, in the keys of torchvision or transformers, into the backbone."""
    if found.state is None:
        return
    try:
        blocks, norm, _ = _BACKBONES[backbone](config, found.state)
    except RuntimeError as error:
        raise WeightsError(f"{found.source} does not fit {backbone}: {str(error)[:300]}") from None
    model.backbone.load_state_dict(blocks.state_dict())
    model.head[2].load_state_dict(norm.state_dict())
