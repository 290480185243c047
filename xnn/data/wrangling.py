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
from tqdm.auto import tqdm

from ..config.schema import Study
from . import lungs, phantom
from .archive import Archive, DataError, archive, described, patient_of
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
    found = _draw(study) if study.synthetic else _read(study)
    records = found[found.reason == ""].reset_index(drop=True)
    records["group"] = groups(records)
    records["split"] = split(records, study, found)
    for pattern in [] if study.synthetic else study.archive.patient:
        if not any(patient_of(path, [pattern]) for path in records.path):
            where = f"{study.file}: archive.patient: {pattern!r}"
            raise DataError(f"{where} is found in no path, for example not in {records.path[0]}")
    records = records[[*COLUMNS, *SIZES, "group", "row"]].astype(dict.fromkeys([*SIZES, "row"], int))
    if (masks := lungs.masks_source()) and not study.synthetic:
        lungs.join(study, records, masks)
    write_csv(records, study.artifacts / "records.csv")
    return Wrangled(records, found.loc[found.reason != "", ["path", "reason"]].reset_index(drop=True))


def _forget(study: Study) -> None:
    """Remove earlier records: their rows must not refer to other images."""
    (study.artifacts / "records.csv").unlink(missing_ok=True)


def _draw(study: Study) -> pd.DataFrame:
    records = phantom.cohort(study.patients, study.seed)
    size, rows = study.image_size, list(records.itertuples())
    drawn = [
        phantom.draw(r.label, r.patient, r.image, size, study.seed, study.marker)
        for r in tqdm(rows, desc="drawing", leave=False)
    ]
    _forget(study)
    for name in ("mask", "marker", "image"):
        write_images(study.artifacts / f"{name}s.npy", len(rows), size, (getattr(r, name) for r in drawn))
    records["sha256"] = [hashlib.sha256(each.image.tobytes()).hexdigest() for each in drawn]
    records["path"] = [f"phantom/{r.label}/{r.patient:04d}-{r.image}.png" for r in rows]
    records["patient"] = records.patient.map("phantom{:04d}".format)
    records[SIZES] = size, size, size * size  # there is no file
    lungs.store(study, records, records[["width", "height"]].to_numpy(), ((each.lungs, "") for each in drawn))
    return records.assign(source_split="", reason="", row=range(len(rows)))


def _read(study: Study) -> pd.DataFrame:
    source = archive(study)
    found = described(source, study)
    named, facts = found.path[found.reason == ""], []

    def images():
        # Pillow decodes in parallel, and warns of a bomb that `decode` refuses
        quiet = warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning)
        with quiet, ThreadPoolExecutor() as pool:
            read = pool.map(lambda name: _decoded(source, name, study.image_size), named)
            for image, *others in tqdm(read, total=len(named), desc="decoding", leave=False):
                facts.append((len(facts), *others))
                yield image

    _forget(study)
    write_images(study.artifacts / "images.npy", len(named), study.image_size, images())
    facts = pd.DataFrame(facts, named.index, ["row", "sha256", *SIZES, "reason"])
    found = found.join(facts.drop(columns="reason"))
    found.update(facts.reason)
    found.update(_repeated(found[found.reason == ""]))
    found.update(_patients(found[found.reason == ""], study))
    return found


def _decoded(source: Archive, name: str, size: int) -> tuple[np.ndarray, str, int, int, int, str]:
    """Return image, sha256, SIZES and "" of a file; a black image and the reason if it cannot be used."""
    try:
        data = source.read(name)
        image = decode(data, size)
        with Image.open(io.BytesIO(data)) as file:  # the header alone
            return image, hashlib.sha256(data).hexdigest(), *file.size, len(data), ""
    except ImageError as error:
        return np.zeros((size, size), np.uint8), "", 0, 0, 0, str(error)


def _repeated(good: pd.DataFrame) -> pd.Series:
    """Return the reason for copies of a file in another folder, and for content under two classes."""
    name = [PurePosixPath(path).name for path in good.path]
    copies = good.assign(name=name).duplicated(["name", "sha256", "label", "patient", "source_split"])
    classes = good.groupby("sha256").label.agg(set).to_dict()
    reasons = [
        f"two classes for one content: {' and '.join(sorted(classes[key]))}; keep the right one"
        if len(classes[key]) > 1
        else "a copy of a file in another folder" * copy
        for key, copy in zip(good.sha256, copies, strict=True)
    ]
    return pd.Series(reasons, good.index, str, name="reason")


def _patients(good: pd.DataFrame, study: Study) -> pd.Series:
    """Return each record's patient; without one in its path, the file is one.

    Where a file name stands for several images, numbers begin afresh in each class or split, and so do the
    patients in them.
    """
    files = [PurePosixPath(path) for path in good.path]
    stem = pd.Series([file.stem for file in files], good.index)
    place = (good.source_split + "/" + good.label + "/").str.lstrip("/")
    holds = np.array([patient in file.stem for patient, file in zip(good.patient, files, strict=True)], bool)
    afresh = (place.groupby(stem).transform("nunique") > 1) & holds & (study.archive.labels is None)
    local = afresh.groupby(good.patient).transform("any")
    whole = [path.removesuffix(file.suffix) for path, file in zip(good.path, files, strict=True)]
    return good.patient.mask(local, place + good.patient).where(good.patient != "", whole)
