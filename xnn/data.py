"""From a source of radiographs to records: checked, decoded once, split by patient, audited."""

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from . import phantom
from .images import ImageError, ImageStore, decode
from .params import Study
from .sources import Archive, DataError, archive, label_of, patient_of, source_split_of

EXAMPLE = "example"  # the split of the images set aside for the app
FOLDS = 20  # a split is made of this many stratified folds: shares are exact to 5 %
NEEDED = ["path", "label", "patient", "source_split", "split", "sha256"]
SIZES = ["width", "height", "bytes"]  # of the file that a radiograph came in, pixels and bytes


class Wrangled(NamedTuple):
    """What a study's source became."""

    records: (
        pd.DataFrame
    )  # path, label, patient, source_split, split, sha256, width, height, bytes, group, row
    set_aside: pd.DataFrame  # path, reason


# ---- wrangling ----------------------------------------------------------------------------------


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


# ---- splits -------------------------------------------------------------------------------------


def groups(records: pd.DataFrame) -> np.ndarray:
    """(N,) int: what must not be torn apart. A patient, joined with those who share an image."""
    patient = pd.factorize(records.patient)[0]
    content = pd.factorize(records.sha256)[0] + patient.max() + 1
    n = content.max() + 1
    joined = coo_matrix((np.ones(len(records)), (patient, content)), shape=(n, n))
    return connected_components(joined, directed=False)[1][patient]


def split(records: pd.DataFrame, study: Study) -> pd.Series:
    """Split of each record: train, val, test, or example for the few set aside for the app.

    ``patient`` keeps every group whole, ``image`` does not (to measure what that leaks), and
    ``official`` keeps the archive's own test images and takes val from the rest, by patient.
    Stratified by class and seeded.
    """
    result = pd.Series("", index=records.index)
    result[_examples(records, study)] = EXAMPLE
    train, val, test = study.fractions
    if study.split == "official":
        if not (records.source_split == "test").any():
            raise DataError(f"study {study.name}: split: official needs an archive with a test folder")
        result[(records.source_split == "test") & (result == "")] = "test"
        shares = {"val": val / (train + val), "train": train / (train + val)}
    else:
        shares = {"test": test, "val": val, "train": train}
    rest = records[result == ""]
    result[rest.index] = _stratified(rest, shares, study)
    return result


def _examples(records: pd.DataFrame, study: Study) -> pd.Index:
    """Images to set aside: of patients with no other image, and never of the official test."""
    alone = records.groupby("group").path.transform("size") == 1
    pool = records[alone & (records.source_split != "test" if study.split == "official" else True)]
    if pool.groupby("label").size().reindex(study.classes, fill_value=0).min() < study.set_aside:
        raise DataError(
            f"study {study.name}: set_aside: fewer than {study.set_aside} patients with a single image "
            "in some class; set it lower"
        )
    return pool.groupby("label").sample(study.set_aside, random_state=study.seed).index


def _stratified(records: pd.DataFrame, shares: dict[str, float], study: Study) -> np.ndarray:
    """Assign many small stratified folds to splits, in turn, until each has its share."""
    whole = np.arange(len(records)) if study.split == "image" else records.group
    units = pd.Series(whole, index=records.index).groupby(records.label).nunique()
    units = units.reindex(study.classes, fill_value=0).min()
    if units < 2:
        raise DataError(f"study {study.name}: too few patients of some class to be split")
    folds = StratifiedGroupKFold(min(FOLDS, int(units)), shuffle=True, random_state=study.seed)
    ends = np.round(np.cumsum(list(shares.values())) * folds.n_splits)
    result = np.empty(len(records), object)
    for number, (_, members) in enumerate(folds.split(records, records.label, whole)):
        result[members] = list(shares)[int(np.searchsorted(ends, number, side="right"))]
    missing = set(shares) - set(result)
    if missing:
        raise DataError(f"study {study.name}: too few patients for a {' and a '.join(missing)} split")
    return result


def audit(records: pd.DataFrame) -> pd.DataFrame:
    """Images of each split that share a patient, or their very content, with another split.

    Parameters
    ----------
    records : columns path, patient, sha256 and split; a hand-made table needs all four.

    Returns
    -------
    One row a split: images, patients, shared_patients, shared_images, share (of its images whose
    patient is in another split), duplicates (images whose content is in another split).
    """
    rows = {}
    for name, part in records.groupby("split"):
        others = records[records.split != name]
        shared = part.patient.isin(others.patient)
        rows[name] = {
            "images": len(part),
            "patients": part.patient.nunique(),
            "shared_patients": part.patient[shared].nunique(),
            "shared_images": int(shared.sum()),
            "share": float(shared.mean()),
            "duplicates": int(part.sha256.isin(others.sha256).sum()),
        }
    return pd.DataFrame(rows).T.convert_dtypes()


def siblings(records: pd.DataFrame) -> dict[str, float]:
    """Share of the test images that have a sibling among the training images, under both readings.

    The archive's file names leave open whether person7 with bacteria and person7 with a virus are one
    child: ``patient`` takes the bare number, ``patient_and_class`` takes them for two.
    """
    train, test = (records[records.split == name] for name in ("train", "test"))
    both = [part.patient + "/" + part.label for part in (test, train)]
    return {
        "test_images": len(test),
        "patient": float(test.patient.isin(train.patient).mean()),
        "patient_and_class": float(both[0].isin(both[1]).mean()),
    }


# ---- reading and writing ------------------------------------------------------------------------


def load_records(study: Study) -> pd.DataFrame:
    """The study's records.csv; raise DataError where 1-wrangle has not made it."""
    file = study.artifacts / "records.csv"
    if not file.exists():
        raise DataError(f"study {study.name} has no records yet: run notebook 1-wrangle or `make report`")
    text = dict.fromkeys(("path", "label", "patient", "source_split", "split", "sha256"), str)
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


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table through a temporary file, so that a half-written one is never seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        table.to_csv(partial, index=False)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
