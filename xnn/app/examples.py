"""Images to try the page with: those set aside of a study whose data is present, else drawn phantoms."""

import io
from typing import NamedTuple

from PIL import Image

from ..config.files import load_study
from ..config.schema import ParameterError
from ..data import phantom
from ..data.archive import DataError
from ..data.records import load_images, load_records

SIDE, SEED = 224, 0  # of phantoms, as in the phantom study


class Examples(NamedTuple):
    """Name to PNG file, and where they are from, in words."""

    files: dict[str, bytes]
    words: str


def find(study: str) -> Examples:
    """Of the study of that name, where its data is here."""
    try:
        return _set_aside(load_study(study))
    except (ParameterError, DataError, FileNotFoundError):
        return _drawn()


def _set_aside(study):
    records, store = load_records(study), load_images(study)
    chosen = records[records.split == "example"]
    if chosen.empty:
        return _drawn()
    number = chosen.groupby("label").cumcount() + 1
    names = chosen.label + number.map(" {}".format).where(number > 1, "")
    files = {name: png(store[row]) for name, row in zip(names, chosen.row, strict=True)}
    kind = "drawn phantoms (no patients)" if study.synthetic else "real radiographs"
    words = f"Examples: {kind} of study {study.name}, set aside before training. {study.archive.attribution}"
    return Examples(files, words.strip())


def _drawn():
    files = {
        label: png(phantom.draw(label, number, 0, SIDE, SEED).image)
        for number, label in enumerate(phantom.CLASSES)
    }
    words = "Examples: drawn phantoms, no patients; radiographs of this model's study are not here."
    return Examples(files, words)


def png(grey) -> bytes:
    """A grey image (H, W) uint8 as a file."""
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    return file.getvalue()
