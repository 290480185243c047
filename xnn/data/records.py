"""Records and images of a study, as all later steps read them."""

from pathlib import Path

import numpy as np
import pandas as pd

from ..config.provenance import whole
from ..config.schema import Study
from .archive import DataError

COLUMNS = ["path", "label", "patient", "source_split", "split", "sha256"]  # the first of records.csv
SIZES = ["width", "height", "bytes"]  # of a radiograph's original file, in pixels and bytes


def load_records(study: Study) -> pd.DataFrame:
    """Return the study's records.csv; raise DataError if 1-wrangle has not made it yet."""
    file = study.artifacts / "records.csv"
    if not file.exists():
        raise DataError(f"study {study.name} has no records yet: run notebook 1-wrangle or `make report`")
    return pd.read_csv(file, dtype=dict.fromkeys(COLUMNS, str), keep_default_na=False)


def load_images(study: Study) -> np.ndarray:
    """Return the study's images (N, size, size) uint8, memory-mapped; a record's `row` is its index."""
    return np.load(study.artifacts / "images.npy", mmap_mode="r")


def load_masks(study: Study) -> np.ndarray | None:
    """Return the lesion masks (0 or 1) of a phantom study; None for real radiographs."""
    return np.load(study.artifacts / "masks.npy", mmap_mode="r") if study.synthetic else None


def load_markers(study: Study) -> np.ndarray | None:
    """Return the rectangles (0 or 1) of the markers in a phantom study; None for real radiographs."""
    return np.load(study.artifacts / "markers.npy", mmap_mode="r") if study.synthetic else None


def file_features(records: pd.DataFrame) -> pd.DataFrame:
    """Return width, height, bytes and aspect of each record's file.

    Columns with a single value are left out: they predict nothing.
    """
    table = records[SIZES].astype(float)
    table["aspect"] = table.width / table.height
    return table.loc[:, table.nunique() > 1]


def write_csv(table: pd.DataFrame, path: Path, **options) -> None:
    """Write a table, completely or not at all; options are those of pandas."""
    with whole(path) as partial:
        table.to_csv(partial, index=False, **options)
