"""What a split lets through: patients and images that training shares with the test."""

import pandas as pd


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
