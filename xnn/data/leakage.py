"""What a split lets through: patients and images that training shares with the test."""

import pandas as pd

from .sources import DataError, patient_of

# of the public archive's file names, as params/kermany/study.yaml has them
PATTERNS = (r"^(person\d+)_", r"^((?:NORMAL2-)?IM-\d+)-")


def audit(records: pd.DataFrame, patterns=PATTERNS) -> pd.DataFrame:
    """What the splits of any table share: patients, under both readings, and images; and their classes.

    The archive's file names leave open whether person7 with bacteria and person7 with a virus are one
    child: ``patient`` takes the bare number, ``patient_and_class`` takes them for two.

    Parameters
    ----------
    records : a row an image, with the columns path, label and split, and where they are known patient
        and sha256 (of the image's content).
    patterns : regular expressions; where there is no column patient, group 1 of the first one that
        matches the file name is the patient, and the name itself where none does.

    Returns
    -------
    One row a split, counts and shares of its images:

    - images, and of each class ``images_virus`` and ``class_share_virus``;
    - for each reading: patients, shared_patients (those that another split has too), shared_images
      (theirs) and share; columns of the second reading end in ``_and_class``;
    - duplicates (images whose content is in another split) and duplicates_share, missing where the
      table has no sha256.

    Raises
    ------
    DataError : where a column is missing, or the table has no rows.
    """
    table = _checked(records, patterns)
    person = table.patient.astype(str)
    keys = {"": person, "_and_class": person + "/" + table.label.astype(str)}
    columns = {"images": table.groupby("split").size()}
    for label, count in pd.crosstab(table.split, table.label).items():
        columns |= {f"images_{label}": count, f"class_share_{label}": count / columns["images"]}
    for reading, key in keys.items():
        columns |= {f"{name}{reading}": found for name, found in _shared(key, table.split).items()}
    if "sha256" in table:
        content = _shared(table.sha256, table.split)
        columns |= {"duplicates": content["shared_images"], "duplicates_share": content["share"]}
    else:
        columns |= {"duplicates": pd.NA, "duplicates_share": pd.NA}
    found = pd.DataFrame(columns).rename_axis(None)
    return found.astype({name: "Float64" if "share" in name.split("_") else "Int64" for name in found})


def _checked(records: pd.DataFrame, patterns) -> pd.DataFrame:
    """The table with a patient for every image; raise DataError where it cannot be audited."""
    if missing := [name for name in ("path", "label", "split") if name not in records]:
        raise DataError(
            f"an audit needs the columns path, label and split: there is no {' and no '.join(missing)}"
        )
    if records.empty:
        raise DataError("an audit of a table without rows: nothing is split")
    if "patient" in records:
        return records
    return records.assign(patient=records.path.map(lambda path: patient_of(path, list(patterns))))


def _shared(key: pd.Series, split: pd.Series) -> dict[str, pd.Series]:
    """Of each split: how many keys it has, those that another split has too, and their images."""
    torn = split.groupby(key).transform("nunique") > 1
    keys = key.groupby(split)
    return {
        "patients": keys.nunique(),
        "shared_patients": key.where(torn).groupby(split).nunique(),
        "shared_images": torn.groupby(split).sum(),
        "share": torn.groupby(split).mean(),
    }


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
