"""Answers about an image, by the notebooks' own code: flags, class, probabilities and explanation."""

import base64
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from starlette.exceptions import HTTPException

from .. import plots
from ..data.dicom import decode
from ..data.images import png
from ..evaluation import conformal
from ..evaluation.calibration import tempered
from ..explain import localisation, methods, scales
from ..explain.integrated import integrated_gradients
from ..explain.localisation import share_within
from ..models import classifier
from ..models.classifier import to_input
from ..models.distance import features
from ..models.segmenter import segment
from .flags import Flag, flag, uncalibrated
from .model import LoadedModel
from .settings import Baseline, Method, Scale, Settings

NOTICE = "Part of a research report, no medical device: not for diagnosis."
Picture = Annotated[bytes, PlainSerializer(lambda data: base64.b64encode(data).decode(), str)]  # a PNG file


class Question(BaseModel):
    """What to return about an image; the defaults are those of the model's report."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    explain: bool = True
    """false: only the class and the probabilities, which is faster"""
    target: str | None = Field(None, max_length=100)
    """class whose log-odds are explained; by default the predicted one"""
    method: Method = "integrated_gradients"
    """method of explanation"""
    baseline: Baseline | None = None
    """image that attributions start from; by default that of the model's report"""
    tolerance: float | None = Field(None, ge=0.001, le=0.5)
    """integrated gradients: the largest relative completeness gap that is good enough"""
    scale: Scale = "smoothed"
    """what a picture shows: the smoothed map, the exact one, or its mean over regions of similar grey"""
    clamped: bool = False
    """show only what raises the log-odds; completeness is still that of the whole map"""


class Completeness(BaseModel):
    """Whether the attributions sum to what they should; gaps are relative, the difference is in log-odds."""

    difference: float
    gap: float
    local_gap: float
    passed: bool


class Explanation(BaseModel):
    """An explanation of the log-odds of one class; pictures are PNG in base64."""

    target: str
    method: str
    baseline: str
    tolerance: float
    scale: str
    clamped: bool
    steps: int | None  # gradients computed by integrated gradients
    completeness: Completeness | None
    lung_share: float | None  # of the smoothed map's magnitude, within the lungs that were found
    lung_area: float | None  # share of the image: the lung share of an even map
    # integrated gradients: log-odds by lung zone, which add up to the difference
    zones: dict[str, float] | None
    overlay: Picture  # orange raises the log-odds of the target, purple lowers them
    attribution: Picture  # the colours of the overlay alone, with their opacity


class PredictionSet(BaseModel):
    """The classes that cannot be ruled out, and how often such sets hold the true class of a test image."""

    classes: list[str]
    level: float
    coverage: float | None


class Origin(BaseModel):
    """The model that answered."""

    id: str
    sha256: str
    provenance: dict | None


class Answer(BaseModel):
    """The answer of POST /predict. Read the flags first: with one raised, the class may mean nothing."""

    flags: list[str]  # names of the raised ones
    predicted: str
    probabilities: dict[str, float]
    calibrated: bool
    prediction_set: PredictionSet | None
    explanation: Explanation | None
    quality: list[Flag]
    radiograph: Picture  # the network's input
    model: Origin
    request_id: str = ""
    seconds: float = 0.0
    notice: str = NOTICE


class Seen(NamedTuple):
    """An image (H, W) uint8, and the lungs found in it: a mask (H, W) bool, None without a segmenter."""

    image: np.ndarray
    lungs: np.ndarray | None
    usual: float | None  # likeness of the lungs to those of the training patients

    @property
    def has_lungs(self) -> bool:
        return self.lungs is not None and bool(self.lungs.any())


def look(model: LoadedModel, image: np.ndarray) -> Seen:
    """Return an image with the lungs that the model's segmenter finds."""
    if model.segmenter is None:
        return Seen(image, None, None)
    masks, usual = segment(model.segmenter, image[None])
    return Seen(image, masks[0], float(usual[0]))


def answer(model: LoadedModel, data: bytes, question: Question, settings: Settings) -> Answer:
    """Return the answer about an image file; raise ImageError or HTTPException if there is none."""
    info = model.info
    if question.target not in (None, *info.classes):
        raise HTTPException(422, f"target: choose one of {', '.join(info.classes)}")
    seen = look(model, decode(data, info.image_size))
    raw = classifier.probabilities(classifier.logits(model.network, seen.image[None], info.flip))
    probabilities = tempered(raw, info.temperature or 1.0)[0]
    predicted = info.classes[int(probabilities.argmax())]
    quality, explanation = image_flags(model, seen), None
    if question.explain:
        explanation, attributions = explain(model, seen, predicted, question, settings.max_gradients)
        quality += map_flags(model, explanation, attributions)
    return Answer(
        flags=[each.name for each in quality if each.raised],
        predicted=predicted,
        probabilities=dict(zip(info.classes, probabilities.tolist(), strict=True)),
        calibrated=info.temperature is not None,
        prediction_set=prediction_set(model, raw[0]),
        explanation=explanation,
        quality=quality,
        radiograph=png(seen.image),
        model=Origin(id=info.id, sha256=info.sha256, provenance=(info.metrics or {}).get("provenance")),
    )


def prediction_set(model: LoadedModel, raw: np.ndarray) -> PredictionSet | None:
    """Return the conformal set of probabilities (C,) before the temperature; None without thresholds."""
    if not (found := model.info.conformal):
        return None
    held = conformal.sets(raw, model.info.classes, found["thresholds"])
    classes = [name for name, inside in zip(model.info.classes, held, strict=True) if inside]
    return PredictionSet(classes=classes, level=found["level"], coverage=found["coverage"]["value"])


def explain(
    model: LoadedModel, seen: Seen, predicted: str, question: Question, max_gradients: int
) -> tuple[Explanation, np.ndarray]:
    """Return the explanation of an image, and its signed map (H, W); errors as ``answer``."""
    target, name = question.target or predicted, question.baseline or model.info.baseline
    if name == "mean" and model.training_mean is None:
        raise HTTPException(422, "baseline mean: this model has no mean of its training images")
    images, targets = to_input(seen.image[None]), torch.tensor([model.info.classes.index(target)])
    baseline = methods.baseline(name, images, model.training_mean)
    tolerance = question.tolerance or model.info.tolerance
    steps = completeness = zones = None
    if question.method == "integrated_gradients":
        found = integrated_gradients(model.evidence, images, targets, baseline, tolerance, max_gradients)
        maps, steps = found.maps, int(found.gradients[0])
        completeness = {key: getattr(found, key)[0].item() for key in Completeness.model_fields}
        zones = by_zone(seen, maps)
    else:
        maps = methods.METHODS[question.method](model.evidence, images, targets, baseline)
    shown = scales.at(question.scale, maps, seen.image[None])[0]
    shown = np.maximum(shown, 0) if question.clamped else shown
    share = None
    if seen.has_lungs:
        share = float(share_within(scales.smoothed(maps), seen.lungs[None])[0])
    colours = np.where(shown[..., None] > 0, plots.RAISES, plots.LOWERS)
    explanation = Explanation(
        **{key: getattr(question, key) for key in ("method", "scale", "clamped")},
        target=target,
        baseline=name,
        tolerance=tolerance,
        steps=steps,
        completeness=completeness,
        lung_share=share,
        lung_area=None if share is None else float(seen.lungs.mean()),
        zones=zones,
        overlay=png(plots.overlay(seen.image, shown)),
        attribution=png(np.dstack([colours, 255 * plots.opacity(shown)]).astype(np.uint8)),
    )
    return explanation, maps[0]


def by_zone(seen: Seen, maps: np.ndarray) -> dict[str, float] | None:
    """Return what each lung zone adds to the log-odds, by its name; None where no lungs were found."""
    if not seen.has_lungs:
        return None
    found = scales.sums(maps, scales.zones(seen.lungs[None]), len(scales.ZONES))[0]
    return dict(zip(scales.ZONES, found.tolist(), strict=True))


def image_flags(model: LoadedModel, seen: Seen) -> list[Flag]:
    """Return the flags about an image and its probabilities."""
    info, distance = model.info, None
    if model.distance:
        distance = float(model.distance.of(features(model.network, seen.image[None]))[0])
    return [
        flag("no_lungs", seen.usual, info.lungs_limit, least=True),
        flag("far_from_training", distance, info.distance_threshold),
        uncalibrated(info.temperature),
    ]


def map_flags(model: LoadedModel, explanation: Explanation, attributions: np.ndarray) -> list[Flag]:
    """Return the flags about an explanation: much of it in the frame, where markers are, or incomplete."""
    gap = explanation.completeness and explanation.completeness.gap
    share = float(share_within(attributions[None], localisation.frame(len(attributions)))[0])
    limit = model.info.frame_limit if explanation.method == "integrated_gradients" else None
    return [flag("in_the_frame", share, limit), flag("incomplete", gap, explanation.tolerance)]
