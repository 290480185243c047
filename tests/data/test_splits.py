"""No patient in two splits, and shares as asked."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.samples import CLASSES, cohort, data_error, sizes_of, study_of
from xnn.data.leakage import audit
from xnn.data.splits import groups, split


@settings(max_examples=10, derandomize=True, deadline=None, database=None)
@given(patients=st.integers(60, 120), seed=st.integers(0, 2**32 - 1))
def test_no_patient_is_in_two_splits(patients, seed):
    records = cohort(sizes_of(patients, seed), seed)
    records["split"] = split(records, study_of(seed=seed, set_aside=0))
    assert set(records.split) == {"train", "val", "test"}
    assert (records.groupby("patient").split.nunique() == 1).all()
    assert audit(records).shared_images.sum() == 0


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.6, 0.15, 0.25)])
@pytest.mark.parametrize("kind", ["patient", "image"])
def test_shares_and_class_mix_are_as_asked(kind, fractions):
    records = cohort(sizes_of(240))
    parts = split(records, study_of(split=kind, fractions=fractions))
    shares = parts[parts != "example"].value_counts(normalize=True)
    assert shares[["train", "val", "test"]].to_numpy() == pytest.approx(fractions, abs=0.02)
    mix = pd.crosstab(parts, records.label, normalize="index").drop("example")
    whole = records.label.value_counts(normalize=True)[mix.columns]
    assert (mix - whole).abs().to_numpy().max() < 0.03


@pytest.mark.parametrize("kind", ["patient", "image"])
def test_the_seed_decides_the_split(kind):
    records = cohort(sizes_of(80))
    one, same, other = (split(records, study_of(split=kind, seed=seed)) for seed in (3, 3, 4))
    assert one.equals(same)
    assert not one.equals(other)


def test_an_official_split_needs_a_test_folder_and_every_class_outside_of_it():
    records = cohort(sizes_of(80))
    study = study_of(split="official", set_aside=0)
    assert "needs an archive with a test folder" in data_error(split, records, study)
    records["source_split"] = np.where(records.label == "virus", "test", "train")
    assert "class 'virus' has 0 patients, at least 2 are needed" in data_error(split, records, study)


def test_too_few_patients_for_three_splits_is_an_error():
    records = cohort([1] * 6).assign(label=CLASSES * 2)
    message = data_error(split, records, study_of(set_aside=0))
    assert "class 'bacteria' has 2 patients, at least 3 are needed" in message


@pytest.mark.parametrize("set_aside", [0, 1, 2])
@pytest.mark.parametrize("seed", range(10))
def test_as_many_patients_as_needed_are_enough_however_many_images_they_have(set_aside, seed):
    count = 3 * (3 + set_aside)
    records = cohort(sizes_of(count, seed) ** 2)
    records["label"] = [CLASSES[int(patient[1:]) % 3] for patient in records.patient]
    records["split"] = split(records, study_of(seed=seed, set_aside=set_aside))
    assert (records[records.split != "example"].groupby("label").split.nunique() == 3).all()


def test_a_class_that_patients_of_several_classes_leave_no_split_for_is_named():
    """Every patient has both classes; each is set aside for one of them."""
    records = cohort([1] * 8).assign(label=["bacteria", "virus"] * 4, patient=list("aabbccdd"))
    records["group"] = groups(records)
    study = study_of(classes=["bacteria", "virus"], seed=0)
    message = data_error(split, records, study)
    assert "class 'bacteria' has no patient left for " in message


@pytest.mark.parametrize("kind", ["patient", "image"])
def test_examples_are_of_patients_that_no_other_split_knows(kind):
    records = cohort(sizes_of(100))
    records["split"] = split(records, study_of(split=kind, set_aside=2))
    examples = records[records.split == "example"]
    assert examples.label.value_counts().to_dict() == dict.fromkeys(CLASSES, 2)
    assert not records[records.split != "example"].patient.isin(examples.patient).any()
    assert audit(records).shared_images["example"] == 0


@pytest.mark.parametrize("kind", ["patient", "image"])
def test_where_every_patient_has_several_images_all_of_one_are_set_aside(kind):
    records = cohort(2 + sizes_of(80))  # three at least
    records["split"] = split(records, study_of(split=kind))
    examples = records[records.split == "example"]
    assert examples.groupby("label").path.size().to_dict() == dict.fromkeys(CLASSES, 3)
    assert examples.groupby("label").patient.nunique().eq(1).all()
    assert not set(examples.patient) & set(records[records.split != "example"].patient)


def test_more_examples_than_single_patients_is_an_error():
    message = data_error(split, cohort(sizes_of(80)), study_of(set_aside=500))
    assert "at least 503 are needed (test, val, train and 500 set aside)" in message


def test_patients_that_share_an_image_are_one_group():
    records = pd.DataFrame(
        {"patient": ["a", "a", "b", "b", "c", "d"], "sha256": ["1", "2", "2", "3", "3", "4"]}
    )
    found = groups(records)
    assert len(set(found[:5])) == 1, "a and b share 2, b and c share 3"
    assert found[5] not in found[:5]


def test_shared_images_are_never_torn_apart():
    records = cohort([1] * 120)
    records["sha256"] = [f"{label}{i % 40}" for i, label in enumerate(records.label)]
    records["group"] = groups(records)
    records["split"] = split(records, study_of(set_aside=0))
    assert records.sha256.duplicated().any()
    assert audit(records).duplicates.sum() == 0
