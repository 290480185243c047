"""From a source of radiographs to records: checked, decoded once, and split by patient."""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from ..config.schema import Study
from . import phantom
from .images import ImageError, ImageStore, decode
from .records import NEEDED, SIZES, write_csv
from .sources import Archive, DataError, archive, label_of, patient_of, source_split_of
from .splits import groups, split


class Wrangled(NamedTuple):
    """What a study's source became."""

    records: pd.DataFrame  # the columns NEEDED and SIZES, group and row
    set_aside: pd.DataFrame  # path, reason


def wrangle(study: Study) -> Wrangled:
    """Make a study's records and image store; nothing is lost: what cannot be used is listed.

    Writes ``images.npy`` (for phantoms also ``masks.npy`` and ``markers.npy``), then ``records.csv``, to
    the study's artifacts. Raises DataError where the source as a whole cannot be used.
    """
    wrangled = _wrangle_phantoms(study) if study.synthetic else _wrangle_archive(study)
    records = wrangled.records
    _check_classes(records, study)
    records["group"] = groups(records)
    records["split"] = split(records, study)
    records = records[[*NEEDED, *SIZES, "group", "row"]]
    write_csv(records, study.artifacts / "records.csv")
    return Wrangled(records, wrangled.set_aside)


def _wrangle_phantoms(study: Study) -> Wrangled:
    records = phantom.cohort(study.patients, study.seed)
    drawn = [
        phantom.draw(r.label, r.patient, r.image, study.image_size, study.seed, study.marker)
        for r in tqdm(records.itertuples(), total=len(records), desc="drawing", leave=False)
    ]
    size, count = study.image_size, len(drawn)
    _forget(study)
    ImageStore.write(study.artifacts / "masks.npy", count, size, (d.mask for d in drawn))
    ImageStore.write(study.artifacts / "markers.npy", count, size, (d.marker for d in drawn))
    ImageStore.write(study.artifacts / "images.npy", count, size, (d.image for d in drawn))
    records["sha256"] = [hashlib.sha256(d.image.tobytes()).hexdigest() for d in drawn]
    records["path"] = [f"phantom/{r.label}/{r.patient:04d}-{r.image}.png" for r in records.itertuples()]
    records["patient"] = records.patient.map("phantom{:04d}".format)
    records["source_split"] = ""
    records["width"], records["height"], records["bytes"] = size, size, size * size  # there is no file
    records["row"] = range(count)
    return Wrangled(records, pd.DataFrame({"path": [], "reason": []}))


def _wrangle_archive(study: Study) -> Wrangled:
    source = archive(study)
    found, reasons = _candidates(source, study)
    if found.empty:
        raise DataError(_nothing_found(source, study))
    checked = []  # of each

    def images():
        with ThreadPoolExecutor() as pool:  # Pillow decodes outside of the interpreter's lock
            results = pool.map(lambda name: _read(source, name, study.image_size), found.path)
            for result in tqdm(results, total=len(found), desc="decoding", leave=False):
                checked.append(result[1:])
                yield result.image

    _forget(study)
    ImageStore.write(study.artifacts / "images.npy", len(found), study.image_size, images())
    found["row"] = range(len(found))
    found[["sha256", *SIZES, "reason"]] = checked
    found["reason"] = found.reason.where(found.reason != "", _conflicts(found))
    aside = pd.concat([reasons, found.loc[found.reason != "", ["path", "reason"]]])
    records = found[found.reason == ""].drop(columns="reason").reset_index(drop=True)
    return Wrangled(records, aside.sort_values("path").reset_index(drop=True))


def _forget(study: Study) -> None:
    """Remove the records of an earlier time: their rows must never point into other images."""
    (study.artifacts / "records.csv").unlink(missing_ok=True)


class _Read(NamedTuple):
    image: np.ndarray  # (size, size) uint8, black where there is a reason
    sha256: str
    width: int
    height: int
    bytes: int
    reason: str  # why it cannot be used, or ""


def _read(source: Archive, name: str, size: int) -> _Read:
    try:
        data = source.read(name)
        image = decode(data, size)
        with Image.open(io.BytesIO(data)) as file:  # its header alone
            return _Read(image, hashlib.sha256(data).hexdigest(), *file.size, len(data), "")
    except ImageError as error:
        return _Read(np.zeros((size, size), np.uint8), "", 0, 0, 0, str(error))


def _candidates(source: Archive, study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Files whose path names a class, and the others with the reason why not."""
    found, reasons = [], []
    for name in source.names():
        try:
            name.encode()
            label = label_of(name, study.classes)
        except UnicodeEncodeError:
            reasons.append((ascii(name)[1:-1], "its name is not text in UTF-8: rename it"))
            continue
        except ImageError as error:
            reasons.append((name, str(error)))
            continue
        patient = patient_of(name, study.archive.patient)
        found.append((name, label, patient, source_split_of(name)))
    columns = ["path", "label", "patient", "source_split"]
    return pd.DataFrame(found, columns=columns), pd.DataFrame(reasons, columns=["path", "reason"])


def _conflicts(found: pd.DataFrame) -> pd.Series:
    """Reason for images whose file name or content stands under two classes, else ""."""
    good = found[found.reason == ""]
    reason = pd.Series("", index=found.index)
    for what, key in (
        ("content", good.sha256),
        ("file name", good.path.map(lambda path: PurePosixPath(path).name)),
    ):
        same = good.groupby(key).label
        labels = same.transform(lambda each: " and ".join(sorted(set(each))))
        for row in good.index[same.transform("nunique") > 1]:
            reason[row] = f"two classes for one {what}: {labels[row]}; keep the right one"
    return reason


def _nothing_found(source: Archive, study: Study) -> str:
    folders = sorted({str(PurePosixPath(name).parent) for name in source.names()})[:8]
    return (
        f"{source.path}: no radiograph found: expected folders or file names that hold one of "
        f"{', '.join(study.classes)}; found {', '.join(folders) or 'nothing'}"
    )


def _check_classes(records: pd.DataFrame, study: Study) -> None:
    patients = records.groupby("label").patient.nunique()
    for label in study.classes:
        if patients.get(label, 0) < 3 + study.set_aside:
            raise DataError(
                f"study {study.name}: class {label!r} has {patients.get(label, 0)} patients, at least "
                f"{3 + study.set_aside} are needed; is its folder missing from the archive?"
            )
