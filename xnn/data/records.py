"""A study's records and images, as every later step reads them."""

from pathlib import Path

import pandas as pd

from ..config.schema import Study
from ..config.writing import whole
from .images import ImageStore
from .leakage import audit
from .sources import DataError

__all__ = ["audit", "file_features", "load_images", "load_markers", "load_masks", "load_records", "write_csv"]

NEEDED = ["path", "label", "patient", "source_split", "split", "sha256"]
SIZES = ["width", "height", "bytes"]  # of the file that a radiograph came in, pixels and bytes


def load_records(study: Study) -> pd.DataFrame:
    """The study's records.csv; raise DataError where 1-wrangle has not made it."""
    file = study.artifacts / "records.csv"
    if not file.exists():
        raise DataError(f"study {study.name} has no records yet: run notebook 1-wrangle or `make report`")
    text = dict.fromkeys(NEEDED, str)
    return pd.read_csv(file, dtype=text, keep_default_na=False)


def load_images(study: Study) -> ImageStore:
    """The study's decoded images, row for row as the column `row` of its records says."""
    return ImageStore(study.artifacts / "images.npy")


def load_masks(study: Study) -> ImageStore | None:
    """The lesion masks (0 or 1) of a phantom study, None where the truth is not known."""
    return ImageStore(study.artifacts / "masks.npy") if study.synthetic else None


def load_markers(study: Study) -> ImageStore | None:
    """The markers' rectangles (0 or 1) of a phantom study, None where their place is not known."""
    return ImageStore(study.artifacts / "markers.npy") if study.synthetic else None


def file_features(records: pd.DataFrame, images=None) -> pd.DataFrame:
    """Width, height, aspect and bytes of each record's file, with images their mean grey level too.

    Columns that are the same everywhere, and so predict nothing, are left out.
    """
    table = records[SIZES].astype(float)
    table["aspect"] = table.width / table.height
    if images is not None:
        table["mean intensity"] = [images[row].mean() for row in records.row]
    return table.loc[:, table.nunique() > 1]


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table, whole or not at all."""
    with whole(path) as partial:
        table.to_csv(partial, index=False)
