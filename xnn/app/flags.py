"""Flags: reasons to doubt an answer. Limits were measured on validation images (benchmarks/flags.md)."""

from dataclasses import dataclass

WORDS = {  # sentences for a flag that is raised, not raised, not known
    "no_lungs": (
        "No lungs found: this does not look like an upright frontal chest radiograph. Do not read the class "
        "(likeness {value:.2f}; 99 % of radiographs have {limit:.2f} or more).",
        "Lungs found in the usual place and shape (likeness {value:.2f}).",
        "Whether the image shows lungs is not known: there is no lung segmenter.",
    ),
    "far_from_training": (
        "This image is unlike the training images: do not rely on the answer (distance {value:.1f}; 99 % of "
        "radiographs are below {limit:.1f}).",
        "This image is no farther from the training images than other radiographs (distance {value:.1f}).",
        "How far this image is from the training images is not known for this model.",
    ),
    "in_the_frame": (
        "{value:.0%} of the explanation lies in the outer frame of the image: the answer may come from "
        "markers or borders (99 % of radiographs have at most {limit:.0%}).",
        "{value:.0%} of the explanation lies in the outer frame of the image, which is usual.",
        "How much of an explanation usually lies in the outer frame is not known for this model.",
    ),
    "incomplete": (
        "The parts of the explanation miss the change of the log-odds by {value:.1%}: the map is inexact.",
        "The parts of the explanation add up to the change of the log-odds within {value:.1%}.",
        "This method has no known sum to check its map against.",
    ),
    "uncalibrated": (
        "The probabilities are not calibrated: no temperature is known for this model.",
        "The probabilities are calibrated (temperature {value:.2f}).",
    ),
}


@dataclass
class Flag:
    """A flag: raised, not raised, or (null) not known."""

    name: str
    raised: bool | None
    value: float | None
    limit: float | None
    words: str


def flag(name: str, value: float | None, limit: float | None, least: bool = False) -> Flag:
    """Return a flag, raised above its limit; below it if the limit is the `least` that is usual."""
    raised = None if value is None or limit is None else bool(value < limit if least else value > limit)
    sentence = WORDS[name][{True: 0, False: 1, None: 2}[raised]]
    return Flag(name, raised, value, limit, sentence.format(value=value, limit=limit))


def uncalibrated(temperature: float | None) -> Flag:
    """Return the flag of a model whose probabilities are as its network gives them."""
    words = WORDS["uncalibrated"][temperature is not None].format(value=temperature)
    return Flag("uncalibrated", temperature is None, temperature, None, words)
