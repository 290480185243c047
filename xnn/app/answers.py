"""What is answered about an image."""

import base64
import io
from typing import Literal, NamedTuple
from urllib.parse import quote

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from .. import plots
from ..data.images import decode
from ..evaluation.calibration import tempered
from ..explain import localisation, methods
from ..explain.integrated import Attribution, integrated_gradients
from ..explain.methods import METHODS
from ..models import classifier
from ..models.classifier import to_input
from . import dicom
from .model import Served, features

# ---- explaining -----------------------------------------------------------------------------------

Method = Literal[
    "integrated_gradients", "saliency", "gradient_x_input", "smoothgrad_ig", "grad_cam", "occlusion"
]
Baseline = Literal["black", "mean", "blur"]


class QuestionError(ValueError):
    """A question that this model cannot answer; the message says what it can."""


class Question(BaseModel):
    """What is asked about an image; what is left out is as in the model's own report."""

    model_config = ConfigDict(extra="forbid")

    explain: bool = Field(True, description="false: the class and the probabilities only, in less time")
    target: str | None = Field(
        None, max_length=100, description="class whose logit is explained; by default the one that is named"
    )
    method: Method = Field("integrated_gradients", description="how it is explained")
    baseline: Baseline | None = Field(
        None, description="the image that stands for nothing seen; by default that of the model's report"
    )
    tolerance: float | None = Field(
        None,
        ge=0.001,
        le=0.5,
        description="of integrated gradients: the relative completeness gap that is good enough",
    )
    clamped: bool = Field(
        False, description="picture only what raises the logit; the completeness is that of the whole map"
    )


class Explanation(NamedTuple):
    """A map and how it was made."""

    target: str
    method: str
    baseline: str
    tolerance: float
    clamped: bool
    map: np.ndarray  # (H, W) float32, signed; of integrated gradients in logits
    found: Attribution | None  # of integrated gradients: the evidence that the map is complete


class Answer(NamedTuple):
    """About one image."""

    image: np.ndarray  # (H, W) uint8, as the network was given it
    probabilities: np.ndarray  # (C,) calibrated where the temperature is known
    distance: float | None
    explanation: Explanation | None


def answer(
    served: Served, data: bytes, question: Question, max_gradients: int, with_dicom: bool = False
) -> Answer:
    """Decode an image, ask the network, and explain with at most so many gradients.

    Raises
    ------
    ImageError : the file cannot be used as a radiograph.
    QuestionError : the model has no such class, or lacks what a baseline is made of.
    work.ExpiredError : out of time.
    """
    asked, model = served.asked, served.model
    if question.target is not None and question.target not in model.classes:
        raise QuestionError(f"target: choose one of {', '.join(model.classes)}")
    read = dicom.decode if with_dicom and dicom.is_dicom(data) else decode
    image = read(data, asked.image_size)
    logits = classifier.logits(model, image[None], asked.flip)
    probabilities = tempered(classifier.probabilities(logits), served.temperature or 1.0)[0]
    far = None
    if served.distance:
        far = float(served.distance.of(features(model, to_input(image[None])))[0])
    explanation = None
    if question.explain:
        target = question.target or model.classes[int(probabilities.argmax())]
        explanation = explain(served, image, target, question, max_gradients)
    return Answer(image, probabilities, far, explanation)


def explain(served: Served, image: np.ndarray, target: str, question: Question, max_gradients: int):
    """Explain the target's logit of an image (H, W) uint8 as asked; raise QuestionError as ``answer``."""
    images = to_input(image[None])
    targets = torch.tensor([served.model.classes.index(target)])
    name = question.baseline or served.asked.baseline
    tolerance = question.tolerance or served.asked.tolerance
    start = baseline(served, name, images)
    found = None
    if question.method == "integrated_gradients":
        found = integrated_gradients(served.model, images, targets, start, tolerance, max_gradients)
        attributions = found.maps[0]
    else:
        attributions = METHODS[question.method](served.model, images, targets, start)[0]
    return Explanation(target, question.method, name, tolerance, question.clamped, attributions, found)


def baseline(served: Served, name: str, images: torch.Tensor) -> torch.Tensor:
    """The baseline of that name, as ``methods.baseline``."""
    if name == "mean" and served.training_mean is None:
        raise QuestionError("baseline mean: this model comes without the mean of its training images")
    return methods.baseline(name, images, served.training_mean)


# ---- what to think of it -------------------------------------------------------------------------


class Flag(NamedTuple):
    """Something that a reader should know: ``raised`` is true, false, or None where it is not known."""

    name: str
    raised: bool | None
    value: float | None
    limit: float | None
    words: str


def flags(served: Served, given: Answer) -> list[Flag]:
    """Calibration and distance; of an explanation its completeness and its share in the frame."""
    found = [_calibration(served.temperature), _distance(served.distance, given.distance)]
    if given.explanation:
        found += [_completeness(given.explanation), _frame(given.explanation.map)]
    return found


def _calibration(temperature):
    if temperature is None:
        words = "The probabilities are not calibrated: no temperature is known for this model."
        return Flag("uncalibrated", True, None, None, words)
    words = f"The probabilities are calibrated (temperature {temperature:.2f})."
    return Flag("uncalibrated", False, temperature, None, words)


def _distance(statistics, value):
    if statistics is None:
        words = "How far this image is from the training images is not known for this model."
        return Flag("far_from_training", None, None, None, words)
    limit = float(statistics.threshold)
    how = f"distance {value:.1f}; 99 % of validation images lie below {limit:.1f}"
    if value > limit:
        words = f"This image is unlike the training images ({how}): do not rely on the answer."
    else:
        words = f"This image is not farther from the training images than radiographs are ({how})."
    return Flag("far_from_training", value > limit, value, limit, words)


def _completeness(explanation):
    found = explanation.found
    if found is None:
        words = f"{explanation.method.replace('_', ' ')}: its map has no sum that could be checked."
        return Flag("incomplete", None, None, None, words)
    gap, passed = float(found.gap[0]), bool(found.passed[0])
    words = (
        f"The attributions sum to the difference of the logit from the baseline's within {gap:.1%} "
        f"({int(found.gradients[0])} gradients)."
    )
    if not passed:
        words = f"The attributions miss {gap:.1%} of what they should sum to: the map is inexact."
    return Flag("incomplete", not passed, gap, explanation.tolerance, words)


def _frame(attributions):
    region = localisation.frame(len(attributions))
    value, even = float(localisation.share_within(attributions[None], region)[0]), float(region.mean())
    words = f"{value:.0%} of the attribution lies in the outer frame of the image"
    if value > even:
        words += (
            ", more than of an even map: the answer may come from markers or borders, not from the lungs."
        )
    else:
        words += f"; an even map would have {even:.0%} there."
    return Flag("in_the_frame", value > even, value, even, words)


# ---- answers --------------------------------------------------------------------------------------

NOTICE = "Part of a research report, no medical device: not for diagnosis."


class Completeness(BaseModel):
    """Whether the attributions sum to what they should; gaps are relative, difference in logits."""

    difference: float
    gap: float
    local_gap: float
    passed: bool


class Explained(BaseModel):
    """An explanation; pictures are PNG in base64, as large as the network's input."""

    target: str
    method: str
    baseline: str
    tolerance: float
    clamped: bool
    steps: int | None  # gradients spent by integrated gradients
    completeness: Completeness | None
    overlay: str  # green raises the target's logit, red lowers it
    attribution: str  # the colours of the overlay alone, with their opacity


class Flagged(BaseModel):
    """A quality flag: raised, not raised, or (null) not known."""

    name: str
    raised: bool | None
    value: float | None
    limit: float | None
    words: str


class Origin(BaseModel):
    """Which model has answered."""

    id: str
    sha256: str
    provenance: dict | None


class Predicted(BaseModel):
    """What POST /predict answers."""

    predicted: str
    probabilities: dict[str, float]
    calibrated: bool
    explanation: Explained | None
    quality: list[Flagged]
    radiograph: str  # PNG in base64: the image as the network was given it
    model: Origin
    request_id: str
    seconds: float
    notice: str = NOTICE


def as_json(served: Served, given: Answer, request_id: str, seconds: float) -> Predicted:
    """Everything that is known of an image."""
    names = served.model.classes
    return Predicted(
        predicted=names[int(given.probabilities.argmax())],
        probabilities=dict(zip(names, given.probabilities.tolist(), strict=True)),
        calibrated=served.temperature is not None,
        explanation=_explained(given.image, given.explanation) if given.explanation else None,
        quality=[Flagged(**flag._asdict()) for flag in flags(served, given)],
        radiograph=_base64(png(given.image)),
        model=Origin(id=served.asked.id, sha256=served.sha256, provenance=provenance(served)),
        request_id=request_id,
        seconds=round(seconds, 3),
    )


def as_picture(served: Served, given: Answer) -> tuple[bytes, dict[str, str]]:
    """The overlay, or without an explanation the radiograph, as PNG, and the headers that go with it."""
    best = int(given.probabilities.argmax())
    headers = {
        "x-class": quote(served.model.classes[best], safe=" "),
        "x-probability": f"{given.probabilities[best]:.4f}",
        "x-calibrated": str(served.temperature is not None).lower(),
        "x-notice": NOTICE,
    }
    if given.explanation:
        return png(overlay(given.image, given.explanation)), headers
    return png(given.image), headers


def provenance(served: Served) -> dict | None:
    """Of the trained model, as its report says; None where that is not known."""
    return (served.metrics or {}).get("provenance")


def overlay(image: np.ndarray, explanation: Explanation) -> np.ndarray:
    """(H, W, 3) uint8, as in the notebooks; clamped, without what lowers the logit."""
    return plots.overlay(image, _shown(explanation))


def layer(explanation: Explanation) -> np.ndarray:
    """(H, W, 4) uint8: the colours of the overlay alone."""
    shown = _shown(explanation)
    colour = np.where(shown[..., None] > 0, plots.RAISES, plots.LOWERS)
    return np.dstack([colour, 255 * plots.opacity(shown)]).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of pixels alone: nothing else of an upload comes back."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _shown(explanation):
    return np.maximum(explanation.map, 0) if explanation.clamped else explanation.map


def _explained(image, explanation):
    found = explanation.found
    completeness = None
    if found:
        names = ("difference", "gap", "local_gap", "passed")
        completeness = Completeness(**{name: getattr(found, name)[0].item() for name in names})
    return Explained(
        target=explanation.target,
        method=explanation.method,
        baseline=explanation.baseline,
        tolerance=explanation.tolerance,
        clamped=explanation.clamped,
        steps=int(found.gradients[0]) if found else None,
        completeness=completeness,
        overlay=_base64(png(overlay(image, explanation))),
        attribution=_base64(png(layer(explanation))),
    )


def _base64(data):
    return base64.b64encode(data).decode()
