"""Answers about an image, by the notebooks' own code: class, probabilities, explanation and quality flags."""

import base64
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from starlette.exceptions import HTTPException

from .. import plots
from ..data.images import decode, png
from ..evaluation.calibration import tempered
from ..explain import localisation, methods, scales
from ..explain.integrated import integrated_gradients
from ..models import classifier
from ..models.classifier import to_input
from . import dicom
from .model import LoadedModel, features
from .settings import Baseline, Method, Settings

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
    clamped: bool = False
    """show only what raises the log-odds; completeness is still that of the whole map"""


class Completeness(BaseModel):
    """Whether the attributions sum to what they should; gaps are relative, the difference is in log-odds."""

    difference: float
    gap: float
    local_gap: float
    passed: bool


class Explanation(BaseModel):
    """An explanation of the log-odds of one class; pictures are smoothed, PNG in base64."""

    target: str
    method: str
    baseline: str
    tolerance: float
    clamped: bool
    steps: int | None  # gradients computed by integrated gradients
    completeness: Completeness | None
    overlay: Picture  # orange raises the log-odds of the target, purple lowers them
    attribution: Picture  # the colours of the overlay alone, with their opacity


@dataclass
class Flag:
    """A quality flag: raised, not raised, or (null) not known."""

    name: str
    raised: bool | None
    value: float | None
    limit: float | None
    words: str


class Origin(BaseModel):
    """The model that answered."""

    id: str
    sha256: str
    provenance: dict | None


class Answer(BaseModel):
    """The answer of POST /predict."""

    predicted: str
    probabilities: dict[str, float]
    calibrated: bool
    explanation: Explanation | None
    quality: list[Flag]
    radiograph: Picture  # the network's input
    model: Origin
    request_id: str = ""
    seconds: float = 0.0
    notice: str = NOTICE


def answer(model: LoadedModel, data: bytes, question: Question, settings: Settings) -> Answer:
    """Return the answer about an image file; raise ImageError or HTTPException if there is none."""
    info = model.info
    if question.target not in (None, *info.classes):
        raise HTTPException(422, f"target: choose one of {', '.join(info.classes)}")
    read = dicom.decode if settings.dicom and data[dicom.MAGIC] == b"DICM" else decode
    image = read(data, info.image_size)
    logits = classifier.logits(model.network, image[None], info.flip)
    probabilities = tempered(classifier.probabilities(logits), info.temperature or 1.0)[0]
    predicted = info.classes[int(probabilities.argmax())]
    quality, explanation = _model_flags(model, image), None
    if question.explain:
        explanation, attributions = explain(model, image, predicted, question, settings.max_gradients)
        quality += _map_flags(explanation, attributions)
    return Answer(
        predicted=predicted,
        probabilities=dict(zip(info.classes, probabilities.tolist(), strict=True)),
        calibrated=info.temperature is not None,
        explanation=explanation,
        quality=quality,
        radiograph=png(image),
        model=Origin(id=info.id, sha256=info.sha256, provenance=(info.metrics or {}).get("provenance")),
    )


def explain(
    model: LoadedModel, image: np.ndarray, predicted: str, question: Question, max_gradients: int
) -> tuple[Explanation, np.ndarray]:
    """Return the explanation of an image (H, W) uint8, and its signed map (H, W); errors as ``answer``."""
    target, name = question.target or predicted, question.baseline or model.info.baseline
    if name == "mean" and model.training_mean is None:
        raise HTTPException(422, "baseline mean: this model has no mean of its training images")
    images, targets = to_input(image[None]), torch.tensor([model.info.classes.index(target)])
    baseline = methods.baseline(name, images, model.training_mean)
    tolerance = question.tolerance or model.info.tolerance
    steps = completeness = None
    if question.method == "integrated_gradients":
        found = integrated_gradients(model.evidence, images, targets, baseline, tolerance, max_gradients)
        attributions, steps = found.maps[0], int(found.gradients[0])
        completeness = {key: getattr(found, key)[0].item() for key in Completeness.model_fields}
    else:
        attributions = methods.METHODS[question.method](model.evidence, images, targets, baseline)[0]
    shown = scales.smoothed(attributions[None])[0]
    shown = np.maximum(shown, 0) if question.clamped else shown
    colours = np.where(shown[..., None] > 0, plots.RAISES, plots.LOWERS)
    explanation = Explanation(
        target=target,
        method=question.method,
        baseline=name,
        tolerance=tolerance,
        clamped=question.clamped,
        steps=steps,
        completeness=completeness,
        overlay=png(plots.overlay(image, shown)),
        attribution=png(np.dstack([colours, 255 * plots.opacity(shown)]).astype(np.uint8)),
    )
    return explanation, attributions


def _model_flags(model, image):
    """Return whether the probabilities are calibrated, and whether the image is like the training images."""
    temperature, limit = model.info.temperature, model.info.distance_threshold
    words = "The probabilities are not calibrated: no temperature is known for this model."
    if temperature is not None:
        words = f"The probabilities are calibrated (temperature {temperature:.2f})."
    calibration = Flag("uncalibrated", temperature is None, temperature, None, words)
    if limit is None:
        words = "How far this image is from the training images is not known for this model."
        return [calibration, Flag("far_from_training", None, None, None, words)]
    value = float(model.distance.of(features(model.network, to_input(image[None])))[0])
    how = f"distance {value:.1f}; 99 % of the validation images are below {limit:.1f}"
    words = f"This image is no farther from the training images than other radiographs ({how})."
    if value > limit:
        words = f"This image is unlike the training images ({how}): do not rely on the answer."
    return [calibration, Flag("far_from_training", value > limit, value, limit, words)]


def _map_flags(explanation, attributions):
    """Return whether the map is complete, and whether much of it is in the frame, where markers are."""
    if found := explanation.completeness:
        words = f"The attributions miss the change of the log-odds by {found.gap:.1%}: the map is inexact."
        if found.passed:
            words = f"The attributions sum to the change of the log-odds within {found.gap:.1%}: "
            words += f"the map is complete ({explanation.steps} gradients)."
        completeness = Flag("incomplete", not found.passed, found.gap, explanation.tolerance, words)
    else:
        words = f"{explanation.method.replace('_', ' ')}: there is no known sum to check this map against."
        completeness = Flag("incomplete", None, None, None, words)
    region = localisation.frame(len(attributions))
    value, even = float(localisation.share_within(attributions[None], region)[0]), float(region.mean())
    words = f"{value:.0%} of the attribution is in the outer frame of the image, {even:.0%} for a uniform map"
    words += ": the answer may come from markers or borders, not from the lungs." if value > even else "."
    return [completeness, Flag("in_the_frame", value > even, value, even, words)]
