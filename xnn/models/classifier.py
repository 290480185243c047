"""``Classifier``, a backbone and a head: built for a run, trained in part, loaded and applied to images."""

from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from safetensors.torch import load_model as load_safetensors
from torch import nn
from tqdm.auto import tqdm

from ..config.backbones import BACKBONES, TIMM, is_known
from ..config.provenance import file_sha256
from ..config.schema import Lora, Run
from . import kept, weights
from .backbones import Parts, convnext_sizes, of_timm
from .preprocessing import Preprocess
from .weights import WeightsError

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.LayerNorm, nn.GroupNorm)
BATCH = 16  # images in one pass: they fit a CPU's cache, and results depend on it by rounding only
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


class Classifier(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="xnn",
    license="mit",
    model_card_template=CARD,
    tags=["image-classification", "chest-radiograph"],
):
    """A network from radiographs, (N, 3, H, W) float in [0, 1], to logits (N, C).

    Resizing, smoothing and normalisation are part of it, so black is 0, and attributions have the pixels of
    the radiograph.
    ``backbone`` is an ``nn.Sequential`` of blocks from images to a feature map, ``head`` leads to the logits.

    Parameters
    ----------
    backbone : a name in ``BACKBONES``, or ``timm/`` and a network of timm.
    classes : names, in the order of the logits.
    image_size : side in pixels that images are resized to.
    hidden : widths of the head's hidden layers; none: one linear layer.
    dropout : rate before every linear layer of the head.
    backbone_config : sizes of a convnextv2, as in transformers' ConvNextV2Config; ``width_mult`` of a
        mobilenet_v2.
    smooth : sigma in pixels of the network of a Gaussian blur of every image; 0: none.
    """

    def __init__(
        self,
        backbone: str,
        classes: list[str],
        image_size: int = 224,
        hidden: list[int] = (),
        dropout: float = 0.2,
        backbone_config: dict | None = None,
        smooth: float = 0.0,
    ):
        super().__init__()
        self.classes, self.image_size = list(classes), image_size
        self.backbone, norm, width, *normalisation = _backbone(backbone, backbone_config or {})
        # saved models have the name of this part in their keys
        self.prepare = Preprocess(image_size, *normalisation, smooth=smooth)
        layers = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), norm]
        for units in hidden:
            layers += [nn.Dropout(dropout), nn.Linear(width, units), nn.ReLU()]
            width = units
        self.head = nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(width, len(self.classes)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.forward_range(images)

    def layers(self) -> list[nn.Module]:
        """Return all layers in order: preprocessing, the blocks of the backbone, the head."""
        return [self.prepare, *self.backbone, *self.head]

    def forward_range(self, inputs: torch.Tensor, first: int = 0, last: int | None = None) -> torch.Tensor:
        """Return the output of layers ``first`` to ``last`` (not included), given that of those before."""
        for layer in self.layers()[first:last]:
            inputs = layer(inputs)
        return inputs

    def first_trainable(self) -> int:
        """Return the first layer that is trained or draws at random: the output before it never changes."""
        for number, layer in enumerate(self.layers()):
            if isinstance(layer, nn.Dropout) or any(p.requires_grad for p in layer.parameters()):
                return number
        return len(self.layers())

    def train(self, mode: bool = True):
        """Set the mode; frozen blocks and norm layers stay in evaluation mode and keep their statistics."""
        super().train(mode)
        for module in (*self.backbone, *(m for m in self.modules() if isinstance(m, NORMS))):
            if not any(p.requires_grad for p in module.parameters()):
                module.eval()
        return self

    @classmethod
    def _from_pretrained(cls, *, model_id: str, map_location: str = "cpu", **options):
        """Return a saved model in evaluation mode (the mixin's hook, which would load pickles as well)."""
        names = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        hub = {name: options.pop(name) for name in names}
        file = Path(model_id) / "model.safetensors"
        if not Path(model_id).is_dir():
            file = hf_hub_download(model_id, file.name, **hub)
        elif not file.exists():
            raise WeightsError(f"{model_id}: no model.safetensors; a pickle is never loaded")
        model = cls(**options)
        try:
            load_safetensors(model, file, device=map_location)
        except Exception as error:  # RuntimeError of torch, SafetensorError of a damaged file
            raise WeightsError(f"{file} does not fit its config.json: {str(error)[:300]}") from None
        return model.eval()


def _backbone(name: str, config: dict, state: dict | None = None) -> Parts:
    if not is_known(name):
        raise WeightsError(f"backbone {name!r}: not among xnn.BACKBONES: {', '.join(BACKBONES)}")
    if name.startswith(TIMM):
        return of_timm(name.removeprefix(TIMM), state)
    builder = BACKBONES[name]
    if isinstance(builder, str):
        builder = getattr(import_module(builder), name)
    return Parts(*builder(config, state))


class InitialisedModel(NamedTuple):
    """A model before its training."""

    model: Classifier
    weights: str  # where they are from, in words
    sha256: str  # of the weights; "" for random ones


def build(run: Run) -> InitialisedModel:
    """Return the model that a run's parameters describe, with its starting weights, frozen as asked.

    Raises WeightsError where the weights cannot be had.
    """
    torch.manual_seed(run.seed)
    size = run.model.image_size or run.study.image_size
    started = _from_run(run, size) if run.model.start_from else _from_weights(run, size)
    freeze(started.model, run.model.train)
    if run.model.lora:
        add_lora(started.model, run.model.lora)
    started.model.train()  # Lightning trains in the mode it finds
    return started


def _from_run(run: Run, size: int) -> InitialisedModel:
    name = run.model.start_from
    folder = run.study.artifacts / name / "model"
    if not folder.exists():
        raise WeightsError(f"run {name} has no model yet: execute its 3-train first")
    model = Classifier.from_pretrained(folder, image_size=size)
    return InitialisedModel(model, f"the trained run {name}", file_sha256(folder / "model.safetensors"))


def _from_weights(run: Run, size: int) -> InitialisedModel:
    spec, found = run.model, weights.find(run.model)
    config = dict(spec.config) or convnext_sizes(found.state)
    model = Classifier(spec.backbone, run.study.classes, size, spec.hidden, spec.dropout, config)
    if found.state is not None:
        try:
            blocks, norm, *_ = _backbone(spec.backbone, config, found.state)
        except RuntimeError as error:
            raise WeightsError(f"{found.source} does not fit {spec.backbone}: {str(error)[:300]}") from None
        model.backbone.load_state_dict(blocks.state_dict())
        model.head[2].load_state_dict(norm.state_dict())
    return InitialisedModel(model, found.source, found.sha256)


def load_model(run: Run) -> Classifier:
    """Return the run's trained model; raise FileNotFoundError before its 3-train was executed."""
    folder = kept.folder(run)
    if folder is None:
        raise FileNotFoundError(
            f"run {run.name} of study {run.study.name} has no model yet: execute 3-train or `make report`"
        )
    return Classifier.from_pretrained(folder, smooth=run.evaluation.smooth).to(device())


def device() -> torch.device:
    """Return where networks are asked: on the first GPU if there is one."""
    torch.backends.cudnn.allow_tf32 = False  # a GPU's answers are then a CPU's, but for rounding
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def freeze(model: Classifier, train: str | int) -> None:
    """Leave trainable the head, and of the backbone nothing, all, or its last N parameter tensors.

    Norm layers of a partly trained backbone stay frozen.
    """
    tensors = [(m, p) for m in model.backbone.modules() for p in m.parameters(recurse=False)]
    count = {"head": 0, "all": len(tensors)}.get(train, train)
    first = len(tensors) - count
    if first < 0:
        raise WeightsError(f"model.train: {train}: the backbone has only {len(tensors)} parameter tensors")
    for number, (module, parameter) in enumerate(tensors):
        kept = train == "all" or not isinstance(module, NORMS)
        parameter.requires_grad_(number >= first and kept)


def add_lora(model: Classifier, lora: Lora) -> None:
    """Freeze the backbone, and add low-rank updates to those of its layers that would have been trained.

    Only linear layers and convolutions over all channels have a matrix to update; the head is trained
    as it is.
    """
    from peft import LoraConfig, inject_adapter_in_model

    names = [
        f"backbone.{name}"
        for name, module in model.backbone.named_modules()
        if (type(module) is nn.Linear or (type(module) is nn.Conv2d and module.groups == 1))
        and module.weight.requires_grad
    ]
    if not names:
        raise WeightsError("model.lora: none of the tensors of model.train belongs to a layer it can update")
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=names)
    inject_adapter_in_model(config, model)  # freezes all that is not its own
    model.head.requires_grad_(True)


def merge_lora(model: Classifier) -> None:
    """Add the low-rank updates to the weights of their layers, and put the plain layers back."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Return the number of parameters: total, and trained."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {"total": sum(n for n, _ in sizes), "trained": sum(n for n, trained in sizes if trained)}


def to_input(images: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Return grey images (N, H, W) uint8 as a model takes them: (N, 3, H, W) float in [0, 1]."""
    grey = torch.as_tensor(np.array(images) if isinstance(images, np.ndarray) else images)
    return (grey.float() / 255).unsqueeze(1).expand(-1, 3, -1, -1)


def channels_last(inputs: torch.Tensor) -> torch.Tensor:
    """Return images or feature maps in the memory format that convolutions are fastest in."""
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs


def logits(model: Classifier, images: np.ndarray, flip: bool = False) -> np.ndarray:
    """Return the logits (N, C) of grey images (N, H, W) uint8.

    With `flip`, each is the mean of the logits of an image and of its mirror image.
    """
    # before inference mode: parameters that are converted in it have no gradients any more
    model.eval().to(memory_format=torch.channels_last)
    place, results = next((p.device for p in model.parameters()), None), []
    with torch.inference_mode():
        for start in tqdm(range(0, len(images), BATCH), desc="predicting", unit="batch", leave=False):
            batch = to_input(np.asarray(images[start : start + BATCH])).to(device=place)
            result = model(batch)
            results.append((result + model(batch.flip(-1))) / 2 if flip else result)
    return torch.cat(results).cpu().numpy()


def answers(model: Classifier, images: np.ndarray, flip: bool = False) -> np.ndarray:
    """Return the probabilities (N, C) of grey images (N, H, W) uint8, as `logits` and `probabilities` do."""
    return probabilities(logits(model, images, flip))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of logits in float64: rows sum to 1 in a file as well."""
    return torch.from_numpy(logits).double().softmax(1).numpy()
