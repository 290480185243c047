"""Example images of a study."""

from ..config.files import load_study
from ..config.schema import ParameterError
from . import phantom
from .archive import DataError
from .images import png
from .records import load_images, load_records


def examples(study: str) -> tuple[dict[str, bytes], str]:
    """Return images that the study set aside, or phantoms, as PNG files by name, and a sentence on them."""
    try:
        parent = load_study(study)
        records, store = load_records(parent), load_images(parent)
        chosen = records[records.split == "example"]
    except (ParameterError, DataError, FileNotFoundError):
        chosen = ()
    if not len(chosen):
        drawn = [phantom.draw(label, number, 0, 224, 0).image for number, label in enumerate(phantom.CLASSES)]
        source = "Examples: synthetic phantoms, no patients. Radiographs of this model's study are not here."
        return dict(zip(phantom.CLASSES, map(png, drawn), strict=True)), source
    number = chosen.groupby("label").cumcount() + 1
    names = chosen.label + number.map(" {}".format).where(number > 1, "")
    kind = "synthetic phantoms (no patients)" if parent.synthetic else "real radiographs"
    source = f"Examples: {kind} of study {study}, set aside before training. {parent.archive.attribution}"
    return {name: png(store[row]) for name, row in zip(names, chosen.row, strict=True)}, source.strip()
