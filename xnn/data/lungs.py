"""Lung masks of a study's radiographs, and the true sizes of the originals."""

import hashlib
import io
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from ..config.schema import Study, root
from .archive import Archive, DataError
from .images import ImageError, write_images
from .records import write_csv

PLAUSIBLE = (0.02, 0.9)  # share of the image that two lungs can cover
MISSING = "no mask"


class Lungs(NamedTuple):
    """Lung masks and original sizes, aligned with the records they were asked for."""

    masks: np.ndarray  # (N, size, size) bool; all False where there is none
    table: pd.DataFrame  # path, width, height (of the original, in pixels), area (share), reason (of no mask)

    @property
    def known(self) -> np.ndarray:
        """Whether each record has a mask, (N,)."""
        return (self.table.reason == "").to_numpy()


def masks_source() -> Archive | None:
    """Return the masks in ``MASKS``, a zip or folder; None if it is not set."""
    given = os.environ.get("MASKS")
    return Archive(root() / Path(given).expanduser()) if given else None


def join(study: Study, records: pd.DataFrame, source: Archive) -> pd.DataFrame:
    """Join masks to records by file name; write and return them as `store` does.

    A mask is an image of the study's size, or of the radiograph's, that is white on the lungs, and has the
    radiograph's name with any ending. A CSV file beside the masks with columns file, width and height gives
    the originals' sizes, for copies that have lost them. Raises DataError if no mask fits any radiograph.
    """
    files = {_stem(name): name for name in source.names() if not name.lower().endswith(".csv")}
    stems = records.path.map(_stem)
    twice = set(stems[stems.duplicated()])

    def found():
        for record, stem in zip(records.itertuples(), stems, strict=True):
            mask, reason = np.zeros((study.image_size,) * 2, bool), MISSING
            if stem in files and stem in twice:
                reason = "two radiographs have the name of its mask"
            elif stem in files:
                try:
                    mask, reason = _mask(source.read(files[stem]), study.image_size, record), ""
                except ImageError as error:
                    reason = str(error)
            yield mask, reason

    sizes = records[["width", "height"]].set_axis(stems)
    known = _original_sizes(source)
    if known is not None:
        sizes.update(known[~known.index.isin(twice)])
    table = store(study, records, sizes.to_numpy().astype(int), found())
    if (table.reason != "").all():
        (study.artifacts / "lungs.csv").unlink()
        raise DataError(f"{source.path}: no mask fits a radiograph: {table.reason.value_counts().index[0]}")
    return table


def store(study: Study, records: pd.DataFrame, sizes: np.ndarray, found: Iterable) -> pd.DataFrame:
    """Write masks to ``lungs.npy``, and to ``lungs.csv`` the table that is returned.

    ``sizes`` (N, 2) are the originals' widths and heights; ``found`` yields, for each record, a mask and the
    reason if it has none. Columns: path, sha256, width, height, area (share of the image), mask_sha256,
    reason.
    """
    rows = []

    def masks():
        for mask, reason in tqdm(found, "lung masks", len(records), leave=False):
            digest = "" if reason else hashlib.sha256(np.packbits(mask)).hexdigest()
            rows.append((mask.mean(), digest, reason))
            yield mask

    (study.artifacts / "lungs.csv").unlink(missing_ok=True)
    write_images(study.artifacts / "lungs.npy", len(records), study.image_size, masks())
    table = records[["path", "sha256"]].reset_index(drop=True)
    table[["width", "height"]] = sizes
    table[["area", "mask_sha256", "reason"]] = rows
    write_csv(table, study.artifacts / "lungs.csv")
    return table


def _stem(path: str) -> str:
    return PurePosixPath(path).stem


def _mask(data: bytes, size: int, record) -> np.ndarray:
    """Return the mask in a file, (size, size) bool; raise ImageError if it cannot be this radiograph's."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.size not in ((size, size), (record.width, record.height)):
                raise ImageError(f"a mask of {image.width} x {image.height} pixels fits neither size")
            mask = np.array(image.convert("L").resize((size, size), Image.Resampling.NEAREST)) > 127
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise a wide range of errors for damaged files
        raise ImageError(f"its mask is no image: {str(error)[:80]}") from None
    if not PLAUSIBLE[0] <= mask.mean() <= PLAUSIBLE[1]:
        raise ImageError(f"its mask covers {mask.mean():.0%} of the image")
    return mask


def _original_sizes(source: Archive) -> pd.DataFrame | None:
    """Return width and height by the stems of file names, from the first CSV file that has them."""
    for name in source.names():
        if name.lower().endswith(".csv"):
            table = pd.read_csv(io.BytesIO(source.read(name)))
            if {"file", "width", "height"} <= set(table):
                table.index = table.file.map(_stem)
                return table.loc[~table.index.duplicated(), ["width", "height"]]
    return None


def load_lungs(study: Study, records: pd.DataFrame) -> Lungs | None:
    """Return the lung masks of records, in their order; None if the study has none."""
    found = load_table(study, records)
    if found is None:
        return None
    stored = np.load(study.artifacts / "lungs.npy", mmap_mode="r")
    masks = stored[found.place.fillna(0).astype(int)].astype(bool)
    masks[(found.reason != "").to_numpy()] = False
    return Lungs(masks, found[["path", "width", "height", "area", "reason"]])


def load_table(study: Study, records: pd.DataFrame) -> pd.DataFrame | None:
    """Return the table of the lung masks of records, in their order, without the masks; None without any."""
    file = study.artifacts / "lungs.csv"
    if not file.exists():
        return None
    table = pd.read_csv(file, dtype=dict.fromkeys(("path", "sha256", "reason"), str), keep_default_na=False)
    table["place"] = range(len(table))
    # by content too: the records may have been made again, from another archive
    found = records[["path", "sha256"]].merge(table, "left", on=["path", "sha256"])
    return found.assign(reason=found.reason.fillna(MISSING))
