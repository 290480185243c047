"""The served model and the lung segmenter, read from folders or the hub and checked.

Training leaves model.safetensors and config.json, which is enough. ``xnn ship`` adds the temperature and
conformal thresholds (metrics.json), the training images' distribution (statistics.safetensors), how to serve
and the limits of flags (shipped.json).
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from huggingface_hub import snapshot_download
from pydantic import AliasChoices, AliasPath, BaseModel, Field, ValidationError
from safetensors.numpy import load_file

from ..config.provenance import file_sha256
from ..config.schema import root
from ..explain.target import Evidence
from ..models.classifier import Classifier, logits
from ..models.distance import Distance, features
from ..models.kept import CARD, CONFIG, METRICS, SHIPPED, STATISTICS, WEIGHTS
from ..models.segmenter import Segmenter
from ..models.weights import WeightsError
from .settings import LUNGS, Baseline, SettingsError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def _at(*paths, default=..., **limits):
    """Return a field that is read from the first of these places, each a file and its keys."""
    return Field(default, validation_alias=AliasChoices(*(AliasPath(*path) for path in paths)), **limits)


class ServingConfig(BaseModel):
    """What is known about the model, and how the notebooks use it; null where its folder does not say."""

    id: str = _at((SHIPPED, "id"), ("id",))
    classes: list[str] = _at((CONFIG, "classes"), min_length=2)
    # side in pixels that images are decoded to
    image_size: int = _at((SHIPPED, "image_size"), (CONFIG, "image_size"), ge=32, le=1024)
    flip: bool = _at((SHIPPED, "flip"), default=False)  # average the logits of an image and its mirror image
    baseline: Baseline = _at((SHIPPED, "baseline"), default="blur")
    tolerance: float = _at((SHIPPED, "tolerance"), default=0.01, gt=0, lt=1)
    temperature: float | None = _at((METRICS, "calibration", "temperature"), default=None, gt=0)
    metrics: dict | None = _at((METRICS,))
    shipped: dict | None = _at((SHIPPED,))
    card: str
    sha256: str  # of the weights
    conformal: dict | None = _at((METRICS, "conformal"), default=None)
    frame_limit: float | None = _at((SHIPPED, "frame_limit"), default=None)
    distance_threshold: float | None = None
    lungs_limit: float | None = None


class LoadedModel(NamedTuple):
    """A network in memory and what belongs to it."""

    evidence: Evidence  # the network, and what is explained of it
    info: ServingConfig
    distance: Distance | None
    training_mean: np.ndarray | None  # (H, W) in [0, 1]
    segmenter: Segmenter | None

    @property
    def network(self) -> Classifier:
        return self.evidence.network


def load(source: str, lungs: str = LUNGS) -> LoadedModel:
    """Return the model of a folder or a hub id, with the segmenter of the folder `lungs`, if it is there.

    Raises SettingsError if it does not predict an image.
    """
    folder, values = _folder(source), {}
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).exists():
            raise SettingsError(f"{folder}: no {name}, so no trained model (pickles are not loaded)")
    card, sha256 = folder / CARD, file_sha256(folder / WEIGHTS)
    try:
        for file in (CONFIG, METRICS, SHIPPED):
            values[file] = dict(json.loads((folder / file).read_text())) if (folder / file).exists() else None
        values |= {"id": _name(source), "card": card.read_text() if card.exists() else "", "sha256": sha256}
        info = ServingConfig.model_validate(values)
    except ValidationError as error:
        (file, *keys), reason = error.errors()[0]["loc"], error.errors()[0]["msg"].lower()
        raise SettingsError(f"{folder / file}: {'.'.join(map(str, keys))}: {reason}") from None
    except (TypeError, ValueError, OSError) as error:
        raise SettingsError(f"{folder / file}: not valid JSON with keys and values: {error}") from None
    network = _network(folder)
    grey = np.full((1, info.image_size, info.image_size), 128, np.uint8)
    try:  # the first pass takes longest, and shows whether the parts fit
        found = logits(network, grey)
    except RuntimeError as error:
        raise SettingsError(f"{folder}: the network fails on an image: {str(error)[:200]}") from None
    if found.shape != (1, len(info.classes)) or not np.isfinite(found).all():
        raise SettingsError(f"{folder}: expected {len(info.classes)} finite logits, got {found.tolist()}")
    evidence, segmenter = Evidence(network, flip=info.flip), _segmenter(lungs, info)
    evidence.places *= 2  # batches of half the size need 0.14 GB less, and hardly more time
    for part in evidence.modules():
        if hasattr(part, "inplace"):
            part.inplace = False  # autograd would copy what is replaced
    if not (folder / STATISTICS).exists():
        return LoadedModel(evidence, info, None, None, segmenter)
    try:
        arrays = load_file(folder / STATISTICS)
        training_mean = arrays.pop("training_mean").reshape(grey.shape[1:])
        distance = Distance(**arrays)
        distance.of(features(network, grey))
    except Exception as error:  # safetensors and NumPy raise a wide range of errors
        raise SettingsError(f"{folder / STATISTICS} does not fit the network: {error}") from None
    info.distance_threshold = distance.threshold.item()
    return LoadedModel(evidence, info, distance, training_mean, segmenter)


def _folder(source: str) -> Path:
    for folder in (Path(source).expanduser(), root() / source):
        if folder.is_dir():
            return folder
    if not HUB_ID.fullmatch(source):
        raise SettingsError(f"{source}: no such folder; give a folder with {WEIGHTS}, or a hub id")
    try:
        files = [CONFIG, METRICS, SHIPPED, WEIGHTS, STATISTICS, CARD]
        return Path(snapshot_download(source, allow_patterns=files, etag_timeout=10))
    except Exception as error:  # of the network, the hub or the disk
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:150]
        raise SettingsError(f"{source}: no such folder, and the hub gave no such model: {reason}") from None


def _name(source: str) -> str:
    """Return what answers call a model, without its path: <study>/<run> of .../<study>/<run>/model."""
    if not Path(source).is_dir():
        return source
    parts = [part for part in Path(source).resolve().parts[1:] if part != "model"]
    return "/".join(parts[-2:]) or "model"


def _network(folder: Path) -> Classifier:
    try:
        network = Classifier.from_pretrained(folder)  # float16 in the file becomes float32 here
    except Exception as error:  # WeightsError, or whatever a network of odd sizes raises
        raise SettingsError(" ".join(str(error).split())[:400]) from None
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _segmenter(source: str, info: ServingConfig) -> Segmenter | None:
    folder = root() / Path(source).expanduser()
    if not folder.is_dir():
        return None
    try:
        info.lungs_limit = json.loads((folder / METRICS).read_text())["limit"]
        return Segmenter.from_pretrained(folder)
    except (WeightsError, OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{folder}: no lung segmenter: {' '.join(str(error).split())[:200]}") from None
