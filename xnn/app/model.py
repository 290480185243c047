"""The model that is served, and how far an image lies from its training images."""

import json
import re
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from huggingface_hub import snapshot_download
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..config.provenance import file_sha256
from ..config.schema import ROOT
from ..explain.integrated import ready
from ..models.classifier import Classifier, logits, to_input

# ---- distance -------------------------------------------------------------------------------------

DEPTH = 0.75  # of the backbone's blocks
DIRECTIONS = 64
LEVEL = 0.99  # share of validation images that lie nearer than the threshold


class Distance(NamedTuple):
    """The statistics of C features, and what counts as far."""

    mean: np.ndarray  # (C,)
    directions: np.ndarray  # (K, C), orthonormal
    variances: np.ndarray  # (K,) along them
    rest: np.ndarray  # () the mean variance in all other directions
    threshold: np.ndarray  # ()

    def of(self, features: np.ndarray) -> np.ndarray:
        """(N,) of features (N, C); a training image has about the square root of C."""
        centred = np.asarray(features, float) - self.mean
        along = centred @ self.directions.T
        beside = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        return np.sqrt((along**2 / self.variances).sum(axis=1) + beside / self.rest)


def fit(training: np.ndarray, validation: np.ndarray, directions: int = DIRECTIONS) -> Distance:
    """From features (N, C) of training images, the threshold from those of validation images.

    Raises
    ------
    ValueError : fewer than three training images.
    """
    training = np.asarray(training, float)
    if len(training) < 3:
        raise ValueError(f"{len(training)} training images: too few for a distance")
    mean = training.mean(axis=0)
    _, sizes, found = np.linalg.svd(training - mean, full_matrices=False)
    variances = sizes**2 / (len(training) - 1)
    count = min(directions, len(training) // 3, training.shape[1] - 1)
    rest = variances[count:].sum() / (training.shape[1] - count)
    unset = Distance(mean, found[:count], variances[:count], np.array(rest), np.array(np.nan))
    return unset._replace(threshold=np.quantile(unset.of(validation), LEVEL))


@torch.inference_mode()
def features(model: Classifier, images: torch.Tensor) -> np.ndarray:
    """(N, C) features of images (N, 3, H, W) in [0, 1]."""
    last = 1 + round(DEPTH * len(model.backbone))  # the layer before the backbone prepares the image
    maps = model.eval().forward_range(ready(model, images), 0, last)
    if maps.ndim != 4:
        raise ValueError("the backbone's blocks give no feature maps")
    return torch.cat([maps.mean((2, 3)), maps.std((2, 3))], 1).numpy()


def saved(distance: Distance) -> dict[str, np.ndarray]:
    """As it goes into a file: float32."""
    return {name: np.ascontiguousarray(value, np.float32) for name, value in distance._asdict().items()}


def loaded_distance(values: dict[str, np.ndarray], width: int) -> Distance:
    """What ``saved`` gave, as it was read; raise ValueError where it is not of ``width`` features."""
    missing = set(Distance._fields) - set(values)
    if missing:
        raise ValueError(f"{', '.join(sorted(missing))} is missing")
    if values["mean"].shape != (width,) or values["directions"].shape[1:] != (width,):
        raise ValueError(f"statistics of {values['mean'].shape[0]} features, the model has {width}")
    found = Distance(**{name: values[name] for name in Distance._fields})
    return found._replace(rest=found.rest.reshape(()), threshold=found.threshold.reshape(()))


# ---- served ---------------------------------------------------------------------------------------

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FILES = (
    "config.json",
    "model.safetensors",
    "README.md",
    "metrics.json",
    "statistics.safetensors",
    "shipped.json",
)


class ModelError(ValueError):
    """A model that cannot be served; the message says what is wrong with which file, in one line."""


class Config(BaseModel):
    """What of config.json decides the network's shape; the rest is its own business."""

    backbone: Literal["mobilenet_v2", "resnet18", "resnet50", "convnextv2"]
    classes: list[str] = Field(min_length=2)
    image_size: int = Field(ge=32, le=1024)


class Asked(BaseModel):
    """How the notebooks ask the model; the defaults are those of a run's parameters."""

    model_config = ConfigDict(extra="ignore")

    id: str
    image_size: int = Field(ge=32, le=1024)  # pixels a side that images are decoded to
    flip: bool = False  # mean of the logits of an image and its mirror image
    baseline: Literal["black", "mean", "blur"] = "black"
    tolerance: float = Field(0.01, gt=0, lt=1)


class Served(NamedTuple):
    """A model in memory and what is known of it; None what its folder does not say."""

    model: Classifier
    asked: Asked
    sha256: str  # of the weights
    card: str
    temperature: float | None
    distance: Distance | None
    training_mean: np.ndarray | None  # (H, W) in [0, 1]
    metrics: dict | None
    shipped: dict | None


class Recomputed(nn.Module):
    """A block that is computed anew, to the same numbers, where its gradient is asked for.

    What blocks keep for their gradients is most of what an explanation needs in memory.
    """

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.block, maps, use_reentrant=False, preserve_rng_state=False)


def load(where: str) -> Served:
    """Read the model in a folder, or of an id of the hub, and ask it once.

    Raises ModelError where there is none, or a file does not fit.
    """
    folder = _folder(where)
    config = _read(Config, folder / "config.json")
    metrics, shipped = (_json(folder / name) for name in ("metrics.json", "shipped.json"))
    asked = _checked(
        Asked, {"id": _name(where), "image_size": config.image_size} | (shipped or {}), "shipped.json"
    )
    model = _model(folder)
    _ask(model, asked)
    return Served(
        model,
        asked,
        file_sha256(folder / "model.safetensors"),
        (folder / "README.md").read_text() if (folder / "README.md").exists() else "",
        _temperature(metrics),
        *_statistics(folder / "statistics.safetensors", model, asked.image_size),
        metrics,
        shipped,
    )


def _folder(where: str) -> Path:
    for folder in (Path(where).expanduser(), ROOT / where):
        if folder.is_dir():
            return folder
    if not HUB_ID.fullmatch(where):
        raise ModelError(
            f"{where}: no such folder; give a folder with model.safetensors, or an id of the hub"
        )
    try:
        return Path(snapshot_download(where, allow_patterns=list(FILES), etag_timeout=10))
    except Exception as error:  # of the network, the hub, the disk
        said = str(error).strip().splitlines()
        reason = said[0][:150] if said else type(error).__name__
        raise ModelError(f"{where}: no such folder here, and the hub gave no such model: {reason}") from None


def _name(where: str) -> str:
    """What a model is called in answers, which say no path: <study>/<run> of .../<study>/<run>/model."""
    parts = (
        [part for part in Path(where).resolve().parts if part != "model"] if Path(where).is_dir() else [where]
    )
    return "/".join(parts[-2:]) if parts[-1] != "/" else "model"


def _json(file: Path) -> dict | None:
    if not file.exists():
        return None
    try:
        values = json.loads(file.read_text())
    except (ValueError, OSError) as error:
        raise ModelError(f"{file}: not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise ModelError(f"{file}: expected keys and values, found {type(values).__name__}")
    return values


def _read(schema, file: Path):
    values = _json(file)
    if values is None:
        raise ModelError(f"{file.parent}: no config.json: not the folder of a trained model")
    return _checked(schema, values, file)


def _checked(schema, values: dict, file):
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise ModelError(f"{file}: {key}: {problem['msg'].lower()}") from None


def _model(folder: Path) -> Classifier:
    if not (folder / "model.safetensors").exists():
        raise ModelError(f"{folder}: no model.safetensors: other formats, pickles above all, are not loaded")
    try:
        model = Classifier.from_pretrained(folder)  # float16 in the file becomes float32 here
    except Exception as error:  # WeightsError, and what a network of odd sizes raises
        raise ModelError(" ".join(str(error).split())[:400]) from None
    for number, block in enumerate(model.backbone):
        model.backbone[number] = Recomputed(block)
    # in this order of memory from the start: brought to it in inference mode, it could not be explained
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _temperature(metrics: dict | None) -> float | None:
    """Of metrics.json; None where there is none."""
    value = (metrics or {}).get("calibration", {}).get("temperature")
    if value is not None and not (isinstance(value, int | float) and value > 0):
        raise ModelError(f"metrics.json: calibration.temperature: must be a number above 0, not {value!r}")
    return value


def _statistics(file: Path, model: Classifier, size: int) -> tuple[Distance | None, np.ndarray | None]:
    if not file.exists():
        return None, None
    grey = to_input(np.full((1, size, size), 128, np.uint8))
    try:
        values = load_file(file)
        mean = values["training_mean"]
        if mean.shape != (size, size):
            raise ValueError(f"training_mean is {mean.shape}, not {(size, size)}")
        return loaded_distance(values, features(model, grey).shape[1]), mean
    except KeyError as error:
        raise ModelError(f"{file}: {error} is missing") from None
    except (ValueError, SafetensorError) as error:
        raise ModelError(f"{file}: {error}") from None


def _ask(model: Classifier, asked: Asked) -> None:
    """One pass over a grey image: the first one takes longest, and shows whether the parts fit."""
    grey = np.full((1, asked.image_size, asked.image_size), 128, np.uint8)
    try:
        found = logits(model, grey)
    except RuntimeError as error:
        raise ModelError(f"{asked.id}: the network fails on an image: {str(error)[:200]}") from None
    if found.shape != (1, len(model.classes)) or not np.isfinite(found).all():
        raise ModelError(
            f"{asked.id}: logits {found.shape}, finite for {len(model.classes)} classes expected"
        )
