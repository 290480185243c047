"""From an archive or phantoms to records: images checked, decoded once, and split by patient."""

import hashlib
import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from ..config.schema import Study
from . import lungs, phantom
from .archive import Archive, DataError, archive, label_of, patient_of, source_split_of
from .images import ImageError, decode, write_images
from .records import COLUMNS, SIZES, write_csv
from .splits import groups, split


class Wrangled(NamedTuple):
    """The radiographs of a study, and the files that cannot be used."""

    records: pd.DataFrame  # COLUMNS, SIZES, group and row
    set_aside: pd.DataFrame  # path, reason


def wrangle(study: Study) -> Wrangled:
    """Return a study's records, and each file that cannot be used with the reason.

    Writes ``images.npy`` (for phantoms also ``masks.npy`` and ``markers.npy``), then ``records.csv`` to the
    study's artifacts; with lung masks (phantoms have them) also ``lungs.npy`` and ``lungs.csv``. Raises
    DataError if the source as a whole cannot be used.
    """
    records, set_aside = _draw(study) if study.synthetic else _read_archive(study)
    _check_classes(records, study)
    records["group"] = groups(records)
    records["split"] = split(records, study)
    records = records[[*COLUMNS, *SIZES, "group", "row"]]
    write_csv(records, study.artifacts / "records.csv")
    if (masks := lungs.masks_source()) and not study.synthetic:
        lungs.join(study, records, masks)
    return Wrangled(records, set_aside)


def _write(study: Study, name: str, count: int, images) -> None:
    """Write images, after earlier records are removed: their rows must not refer to other images."""
    (study.artifacts / "records.csv").unlink(missing_ok=True)
    write_images(study.artifacts / name, count, study.image_size, images)


def _check_classes(records: pd.DataFrame, study: Study) -> None:
    patients = records.groupby("label").patient.nunique().reindex(study.classes, fill_value=0)
    needed = 3 + study.set_aside
    for label, count in patients[patients < needed].items():
        raise DataError(
            f"study {study.name}: class {label!r} has {count} patients, at least {needed} are needed; is its "
            "folder missing from the archive?"
        )


def _draw(study: Study) -> Wrangled:
    records = phantom.cohort(study.patients, study.seed)
    count, size = len(records), study.image_size
    drawn = [
        phantom.draw(r.label, r.patient, r.image, size, study.seed, study.marker)
        for r in tqdm(records.itertuples(), total=count, desc="drawing", leave=False)
    ]
    for name in ("mask", "marker", "image"):
        _write(study, f"{name}s.npy", count, (getattr(each, name) for each in drawn))
    records["sha256"] = [hashlib.sha256(each.image.tobytes()).hexdigest() for each in drawn]
    records["path"] = [f"phantom/{r.label}/{r.patient:04d}-{r.image}.png" for r in records.itertuples()]
    records["patient"] = records.patient.map("phantom{:04d}".format)
    records["source_split"] = ""
    records[SIZES] = size, size, size * size  # there is no file
    records["row"] = range(count)
    lungs.store(study, records, records[["width", "height"]].to_numpy(), ((each.lungs, "") for each in drawn))
    return Wrangled(records, pd.DataFrame(columns=["path", "reason"]))


def _read_archive(study: Study) -> Wrangled:
    source = archive(study)
    found, aside = _labelled(source, study)
    if found.empty:
        folders = sorted({str(PurePosixPath(name).parent) for name in source.names()})[:8]
        raise DataError(
            f"{source.path}: no radiograph found: expected folders or file names that hold one of "
            f"{', '.join(study.classes)}; found {', '.join(folders) or 'nothing'}"
        )
    facts = []

    def images():
        # Pillow decodes in parallel, and warns of a bomb that `decode` refuses
        quiet = warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning)
        with quiet, ThreadPoolExecutor() as pool:
            read = pool.map(lambda name: _read(source, name, study.image_size), found.path)
            for image, *others in tqdm(read, total=len(found), desc="decoding", leave=False):
                facts.append(others)
                yield image

    _write(study, "images.npy", len(found), images())
    found["row"] = range(len(found))
    found[["sha256", *SIZES, "reason"]] = facts
    found["reason"] = found.reason.where(found.reason != "", _conflicts(found))
    usable = found.reason == ""
    aside = pd.concat([aside, found.loc[~usable, ["path", "reason"]]])
    records = found[usable].drop(columns="reason").reset_index(drop=True)
    return Wrangled(records, aside.sort_values("path").reset_index(drop=True))


def _labelled(source: Archive, study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the files whose path names a class, and the others with the reason."""
    found, aside = [], []
    for name in source.names():
        try:
            name.encode()
            label = label_of(name, study.classes)
            found.append((name, label, patient_of(name, study.archive.patient), source_split_of(name)))
        except UnicodeEncodeError:
            aside.append((ascii(name)[1:-1], "its name is not text in UTF-8: rename it"))
        except ImageError as error:
            aside.append((name, str(error)))
    columns = ["path", "label", "patient", "source_split"]
    return pd.DataFrame(found, columns=columns), pd.DataFrame(aside, columns=["path", "reason"])


def _read(source: Archive, name: str, size: int) -> tuple[np.ndarray, str, int, int, int, str]:
    """Return image, sha256, SIZES and "" of a file; a black image and the reason if it cannot be used."""
    try:
        data = source.read(name)
        image = decode(data, size)
        with Image.open(io.BytesIO(data)) as file:  # the header alone
            return image, hashlib.sha256(data).hexdigest(), *file.size, len(data), ""
    except ImageError as error:
        return np.zeros((size, size), np.uint8), "", 0, 0, 0, str(error)


def _conflicts(found: pd.DataFrame) -> pd.Series:
    """Return the reason for images whose content or file name stands under two classes, else ""."""
    good = found[found.reason == ""]
    keys = {"content": good.sha256, "file name": good.path.map(lambda path: PurePosixPath(path).name)}
    reason = pd.Series("", index=found.index)
    for what, key in keys.items():
        same = good.groupby(key).label
        labels = same.transform(lambda each: " and ".join(sorted(set(each))))
        for row in good.index[same.transform("nunique") > 1]:
            reason[row] = f"two classes for one {what}: {labels[row]}; keep the right one"
    return reason
