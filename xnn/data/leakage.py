"""Leakage between splits: patients and images that they share."""

import pandas as pd

from .archive import DataError, patient_of

# for file names of the public archive, as in params/kermany/study.yaml
PATTERNS = (r"^(person\d+)_", r"^((?:NORMAL2-)?IM-\d+)-")


def audit(records: pd.DataFrame, patterns=PATTERNS) -> pd.DataFrame:
    """Return what each split shares with the others: patients, in two readings, and images; and its classes.

    The archive's file names leave open whether person7 with bacteria and person7 with a virus are one child.
    ``patient`` counts them as one, ``patient_and_class`` as two.

    Parameters
    ----------
    records : one row per image with path, label and split; patient and sha256 (of the content) if known.
    patterns : regular expressions that find the patient in the path, in a table without a column patient.

    Returns
    -------
    One row per split: images, and per class as in ``images_virus`` and ``class_share_virus``; patients,
    shared_patients (also in another split), shared_images (theirs) and share, in the second reading with
    ``_and_class``; duplicates (images whose content is also in another split) and duplicates_share, missing
    without sha256. Raises DataError for a table without rows or one of these columns.
    """
    wanted = ("label", "split") if "patient" in records else ("path", "label", "split")
    if missing := [name for name in wanted if name not in records]:
        raise DataError(f"an audit needs path, label and split: there is no {' and no '.join(missing)}")
    if records.empty:
        raise DataError("an audit of a table without rows: nothing is split")
    if "patient" not in records:
        records = records.assign(patient=[patient_of(path, patterns) or path for path in records.path])
    patient = records.patient.astype(str)
    images = records.groupby("split").size()
    columns = {"images": images}
    for label, count in pd.crosstab(records.split, records.label).items():
        columns |= {f"images_{label}": count, f"class_share_{label}": count / images}
    for reading, key in {"": patient, "_and_class": patient + "/" + records.label.astype(str)}.items():
        columns |= {f"{name}{reading}": found for name, found in _shared(key, records.split).items()}
    content = _shared(records.sha256, records.split) if "sha256" in records else {}
    columns["duplicates"] = content.get("shared_images", pd.NA)
    columns["duplicates_share"] = content.get("share", pd.NA)
    found = pd.DataFrame(columns).rename_axis(None)
    return found.astype({name: "Float64" if "share" in name.split("_") else "Int64" for name in found})


def siblings(records: pd.DataFrame) -> dict[str, float]:
    """Return the share of test images with a sibling in training, in both readings of `audit`."""
    test = audit(records[records.split.isin(("train", "test"))]).loc["test"]
    return {
        "test_images": int(test.images),
        "patient": float(test.share),
        "patient_and_class": float(test.share_and_class),
    }


def _shared(key: pd.Series, split: pd.Series) -> dict[str, pd.Series]:
    """Return for each split: its keys, those that another split has as well, and their images."""
    shared = split.groupby(key).transform("nunique") > 1
    return {
        "patients": key.groupby(split).nunique(),
        "shared_patients": key.where(shared).groupby(split).nunique(),
        "shared_images": shared.groupby(split).sum(),
        "share": shared.groupby(split).mean(),
    }
