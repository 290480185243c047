"""Answers as they leave the API: JSON with pictures in base64, or one picture with headers."""

import base64
import io
from urllib.parse import quote

import numpy as np
from PIL import Image
from pydantic import BaseModel

from .. import plots
from .explaining import Answer, Explanation, flags
from .served import Served

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
