"""Scores by input are those of each input alone, and their differences are paired."""

import numpy as np
import pytest

from xnn.evaluation.intervals import confidence_intervals
from xnn.evaluation.regions import by_input, moved

CLASSES = ["bacteria", "normal", "virus"]


@pytest.fixture(scope="module")
def given():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    logits = 2 * np.eye(3)[labels] + rng.normal(0, 1, (300, 3))
    blind = rng.normal(0, 1, (300, 3))
    softmax = [np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in (logits, blind)]
    return labels, *softmax, np.arange(300) // 2


def test_each_input_has_its_own_scores_and_a_paired_difference(given):
    labels, whole, blind, patients = given
    found = by_input(labels, {"whole": whole, "again": whole, "blind": blind}, CLASSES, patients, 400)
    alone = confidence_intervals(labels, blind, CLASSES, patients, 400)["auroc_pneumonia"]
    assert {key: found["blind"]["auroc_pneumonia"][key] for key in alone} == pytest.approx(alone)
    assert found["again"]["f1_weighted"]["difference"] == {"value": 0, "low": 0, "high": 0}
    lost = found["blind"]["f1_weighted"]["difference"]
    assert lost["value"] == found["blind"]["f1_weighted"]["value"] - found["whole"]["f1_weighted"]["value"]
    assert lost["low"] < lost["value"] < lost["high"] < -0.2


def test_scores_of_two_classes_leave_out_the_others(given):
    labels, whole, _, patients = given
    two = whole[:, :2] / whole[:, :2].sum(axis=1, keepdims=True)
    found = by_input(labels % 2, {"whole": two}, ["cat", "dog"], patients, 20)
    assert set(found["whole"]) == {"f1_weighted"}


def test_moved_answers_are_counted_and_measured():
    before = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.5, 0.5]])
    after = np.array([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.5, 0.5]])
    found = moved(before, after, ["a", "b", "c", "d"], 200)
    assert found["changed"]["value"] == 0.25
    assert found["shift"]["value"] == pytest.approx(2 * np.log(1.5) / 4)
    assert found["changed"]["low"] == 0 < found["changed"]["high"]
    assert moved(before, before, ["a", "b", "c", "d"], 20)["shift"] == {"value": 0, "low": 0, "high": 0}
