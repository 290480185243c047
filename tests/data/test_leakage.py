"""What an audit finds in splits that leak."""

import pandas as pd
import pytest
import yaml

from support.project import PROJECT
from support.samples import cohort, data_error, sizes_of, study_of
from xnn.data.leakage import PATTERNS, audit, siblings
from xnn.data.splits import split


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
    assert list(found.loc["train", columns]) == pytest.approx([3, 2, 1, 2, 2 / 3, 1])
    assert list(found.loc["val", columns]) == pytest.approx([1, 1, 0, 0, 0, 1])
    assert list(found.loc["test", columns]) == pytest.approx([4, 3, 1, 1, 1 / 4, 0])
    assert found.duplicates_share.tolist() == pytest.approx([0, 1 / 3, 1])


def test_a_split_of_the_archive_s_file_names_needs_no_other_column():
    """As anyone may have it: paths, labels, splits. Patient 1 is in both splits under one reading only."""
    names = [
        ("train", "virus", "person1_virus_6.jpeg"),
        ("train", "normal", "NORMAL2-IM-0007-0001.jpeg"),
        ("test", "bacteria", "person1_bacteria_1.jpeg"),
        ("test", "bacteria", "person2_bacteria_3.jpeg"),
        ("test", "normal", "IM-0007-0001.jpeg"),
    ]
    table = pd.DataFrame(names, columns=["split", "label", "path"])
    found = audit(table.assign(path="anywhere/" + table.path))
    assert found.loc["test", ["images", "patients"]].tolist() == [3, 3]
    assert found.shared_images.tolist() == [1, 1]
    assert found.share.tolist() == pytest.approx([1 / 3, 1 / 2])
    assert found.shared_images_and_class.tolist() == [0, 0]
    assert found.images_bacteria.tolist() == [2, 0]
    assert found.class_share_bacteria.tolist() == pytest.approx([2 / 3, 0])
    assert found.duplicates.isna().all(), "without hashes nothing is known of them"


def test_a_table_that_cannot_be_audited_is_one_clear_line():
    table = pd.DataFrame({"path": ["a"], "label": ["normal"]})
    assert "there is no split" in data_error(audit, table)
    assert "without rows" in data_error(audit, table.assign(split="test")[:0])


def test_the_patterns_are_those_of_the_study():
    study = yaml.safe_load((PROJECT / "params/kermany/study.yaml").read_text())
    assert list(PATTERNS) == study["archive"]["patient"]
