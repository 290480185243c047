"""Planted label errors are found, and sizes tell a class where they do."""

import numpy as np
import pandas as pd
import pytest

from support.samples import CLASSES, study_of
from xnn.explore import audit


@pytest.fixture(scope="module")
def planted():
    """300 images of 150 patients, features, and ten labels that are wrong: records, features, rows."""
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.integers(0, 3, 150), 2)
    features = np.eye(3)[truth] + 0.15 * rng.normal(size=(300, 3))
    labels = truth.copy()
    wrong = rng.choice(300, 10, replace=False)
    labels[wrong] = (labels[wrong] + 1) % 3
    records = pd.DataFrame({"label": np.array(CLASSES)[labels], "group": np.arange(300) // 2})
    records["width"] = records["height"] = 100
    records["bytes"] = 5000
    return records, features, wrong


def test_planted_errors_are_suspected(planted):
    records, features, wrong = planted
    probabilities = audit.out_of_fold(features, records, study_of())
    assert probabilities.shape == (300, 3)
    found = audit.label_errors(records, probabilities, study_of())
    suspected = set(found.index[found.suspect])
    assert suspected <= set(wrong)
    assert len(suspected) >= 7
    assert set(found.sort_values("label_quality").index[:10]) == set(wrong)
    assert (found.guess[wrong] != records.label[wrong]).all()


def test_no_image_is_judged_by_its_own_patient(planted):
    records, _, _ = planted
    own = np.eye(150)[records.group]  # all that it tells is which patient it is
    found = audit.out_of_fold(own, records, study_of())
    accuracy = (np.array(CLASSES)[found.argmax(axis=1)] == records.label).mean()
    assert accuracy < 0.5


def test_sizes_tell_a_class_only_where_they_differ(planted):
    records, _, _ = planted
    study = study_of()
    assert audit.size_scores(records, study) is None
    wide = records.assign(width=records.label.map({"normal": 150, "bacteria": 100, "virus": 100}))
    found = audit.size_scores(wide, study)
    assert found["columns"] == "width, aspect"
    assert found.auroc_pneumonia == pytest.approx(1)
    assert found.most_frequent < found.accuracy < 1


def test_the_fewest_patients_that_a_study_needs_are_enough():
    records = pd.DataFrame({"label": CLASSES * 3, "group": np.arange(9)})
    probabilities = audit.out_of_fold(np.eye(3)[[0, 1, 2] * 3], records, study_of())
    assert (probabilities.argmax(axis=1) == [0, 1, 2] * 3).all()
