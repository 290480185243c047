"""What is known of every radiograph, and the table of splits that goes with the public archive."""

import numpy as np
import pandas as pd
import pytest

from support.project import PROJECT, SMALL, write_study
from support.samples import data_error
from xnn import load_records, load_study, wrangle
from xnn.config import provenance
from xnn.explore import audit

SPLITS = PROJECT / "reports/kermany/splits.csv"


@pytest.fixture(scope="module")
def explored(small):
    return audit.explore(load_study(small))


def test_every_record_has_a_row_and_its_records_stay_as_they_are(small, explored):
    study = load_study(small)
    before = provenance.records_sha256(study)
    records = load_records(study)
    table, embedding = audit.load_audit(study)
    assert table.path.tolist() == records.path.tolist()
    assert len(embedding) == len(records)
    assert table.patient_images.tolist() == records.patient.map(records.patient.value_counts()).tolist()
    assert table[study.classes].sum(axis=1).to_numpy() == pytest.approx(np.ones(len(table)), abs=1e-4)
    other = records.set_index("path").label[table.other].to_numpy()
    assert (other != records.label).all()
    assert provenance.records_sha256(study) == before
    assert explored.table.suspect.tolist() == table.suspect.tolist()


def test_the_verdict_counts(small, explored):
    records = load_records(load_study(small))
    told = audit.verdict(load_study(small), records, explored, None)
    assert "0 exact and" in told
    assert f"Likely label errors: {explored.table.suspect.sum()} (" in told
    assert "sizes" not in told
    sizes = pd.Series({"columns": "bytes", "accuracy": 0.6, "most_frequent": 0.47, "auroc_pneumonia": 0.88})
    told = audit.verdict(load_study(small), records, explored, sizes)
    assert "(bytes) predict the class of 60% of the images" in told
    assert "AUROC of 0.88" in told


def test_the_composition_counts_images_and_each_patient_once():
    rows = [
        ("test", "normal", "a"),
        ("train", "virus", "b"),
        ("train", "virus", "b"),
        ("train", "normal", "b"),
    ]
    table = audit.composition(pd.DataFrame(rows, columns=["split", "label", "patient"]))
    assert table.index.tolist() == ["train", "test", "all"]
    assert table.loc["train"].to_dict() == {
        "normal": "1 (1 patient)",
        "virus": "2 (1 patient)",
        "all": "3 (1 patient)",
    }
    assert table.loc["test", "virus"] == "0 (0 patients)"
    assert table.loc["all", "all"] == "4 (2 patients)"


def test_what_was_not_looked_at_says_what_to_run(root):
    write_study("unseen", SMALL)
    assert "run notebook 2-explore" in data_error(audit.load_audit, load_study("unseen"))


def test_the_splits_of_other_protocols_are_those_of_their_own_records(small, explored):
    write_study("torn", SMALL.replace("}", ", split: image}"))
    write_study("whole", SMALL.replace("}", ", compare_with: [torn]}"))
    for name in ("torn", "whole"):
        wrangle(load_study(name))
    table = audit.split_table(load_study("whole"), explored.table)
    assert list(table) == [
        *("file", "label", "patient", "patient split", "image split", "duplicate_group"),
        *("likelier_class", "doubtful_label", "label_quality", "true_width", "true_height", "mask_id"),
    ]
    assert table.doubtful_label.sum() == explored.table.suspect.sum()
    for name, column in (("torn", "image split"), ("whole", "patient split")):
        records = load_records(load_study(name))
        own = records.set_index(records.path.str.rsplit("/", n=1).str[-1]).split
        assert table[column].tolist() == own[table.file].tolist()


@pytest.mark.skipif(not SPLITS.exists(), reason="2-explore of kermany has not been executed")
def test_the_committed_splits_keep_patients_apart():
    table = pd.read_csv(SPLITS, dtype=str, keep_default_na=False)
    assert len(table) == table.file.nunique() == 5840
    grouped = table.groupby("patient")["patient split"].nunique()
    assert grouped.max() == 1
    assert table.groupby("patient")["image split"].nunique().max() > 1
    assert (table["official split"] == "test").sum() == 624
    assert (table.duplicate_group != "").sum() > 0
    assert set(table.doubtful_label) == {"True", "False"}
    assert table.mask_id[table.mask_id != ""].is_unique
    assert ((table.mask_id == "") == (table.true_width == "")).all()
