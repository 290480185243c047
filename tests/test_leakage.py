"""What an audit finds in splits that leak."""

import pandas as pd
import pytest
from samples import cohort, sizes_of, study_of

from xnn.leakage import audit, siblings
from xnn.splits import split


def test_an_image_split_leaks_and_the_audit_counts_it():
    records = cohort(sizes_of(100))
    records["split"] = split(records, study_of(split="image", set_aside=0))
    found = audit(records)
    where = records.groupby("patient").split.agg(set)
    for name, row in found.iterrows():
        part = records[records.split == name]
        torn = [len(where[patient]) > 1 for patient in part.patient]
        assert row.images == len(part)
        assert row.shared_images == sum(torn) > 0
        assert row.share == pytest.approx(sum(torn) / len(part))


def test_siblings_under_both_readings_of_the_patient_number():
    records = pd.DataFrame(
        {
            "patient": ["person1", "person1", "person2", "IM-1", "person1"],
            "label": ["virus", "bacteria", "virus", "normal", "bacteria"],
            "split": ["train", "test", "test", "test", "test"],
        }
    )
    wanted = {"test_images": 4, "patient": 0.5, "patient_and_class": 0.0}
    assert siblings(records) == wanted
    records.loc[0, "label"] = "bacteria"
    assert siblings(records) == wanted | {"patient_and_class": 0.5}


def test_the_audit_of_a_table_made_by_hand():
    records = pd.DataFrame(
        [
            ("train", "a", "1"),
            ("train", "a", "2"),
            ("train", "b", "3"),
            ("val", "c", "3"),
            ("test", "a", "4"),
            ("test", "d", "5"),
            ("test", "d", "6"),
            ("test", "e", "6"),
        ],
        columns=["split", "patient", "sha256"],
    ).assign(path="", label="normal")
    found = audit(records)
    columns = ["images", "patients", "shared_patients", "shared_images", "share", "duplicates"]
    assert list(found) == columns
    assert list(found.loc["train"]) == pytest.approx([3, 2, 1, 2, 2 / 3, 1])
    assert list(found.loc["val"]) == pytest.approx([1, 1, 0, 0, 0, 1])
    assert list(found.loc["test"]) == pytest.approx([4, 3, 1, 1, 1 / 4, 0])
