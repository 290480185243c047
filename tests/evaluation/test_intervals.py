"""Intervals cover what they claim; metrics do not depend on row order or batches; bad tables are refused."""

import inspect
import json
import time

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from support.samples import CLASSES, sample, table
from xnn.evaluation import intervals, scoring
from xnn.evaluation.predictions import predictions_table

START = np.array([[239, 4, 35], [7, 149, 2], [55, 11, 84]])  # the starting point's published table


# ---- batches and row order ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_metrics_do_not_depend_on_row_order(seed):
    predictions = table()
    expected = intervals.metrics(predictions, CLASSES, resamples=50)
    shuffled = predictions.sample(frac=1, random_state=seed)
    assert intervals.metrics(shuffled, CLASSES, resamples=50) == expected  # to the last bit


@pytest.mark.parametrize("size", [1, 7, 64])
def test_metrics_do_not_depend_on_batches(size):
    predictions = table()
    batches = [predictions.iloc[start : start + size] for start in range(0, len(predictions), size)]
    joined = pd.concat(batches[::-1])
    expected = intervals.metrics(predictions, CLASSES, resamples=20)
    assert intervals.metrics(joined, CLASSES, resamples=20) == expected


def test_metrics_of_a_table_read_back_are_the_same(tmp_path):
    predictions = table()
    predictions.to_csv(tmp_path / "predictions.csv", index=False)
    again = pd.read_csv(tmp_path / "predictions.csv")
    expected = intervals.metrics(predictions, CLASSES, resamples=20)
    assert intervals.metrics(again, CLASSES, resamples=20) == expected


# ---- intervals ----------------------------------------------------------------------------------


def test_patient_weights_draw_whole_patients():
    patients = np.array(["b", "a", "b", "c", "10", "9"])
    weights = intervals.patient_weights(patients, 500, seed=1)
    assert weights.shape == (500, 6)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    assert (weights[:, [0, 1, 3, 4, 5]].sum(axis=1) == 5).all()  # as many patients as there are
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.15)
    order = [3, 5, 0, 1, 4, 2]
    np.testing.assert_array_equal(intervals.patient_weights(patients[order], 500, seed=1), weights[:, order])


def test_interval_of_an_accuracy_is_the_binomial_one():
    labels = np.arange(400) % 2
    right = np.arange(400) < 320
    probabilities = np.eye(3)[np.where(right, labels, 2)]
    one = intervals.confidence_intervals(labels, probabilities, CLASSES, np.arange(400))["accuracy"]
    half = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert one["value"] == pytest.approx(0.8)
    assert [one["low"], one["high"]] == pytest.approx([0.8 - half, 0.8 + half], abs=0.006)
    # Ten alike images a patient tell as much as one: the interval is wider by the root of 10.
    patients = np.arange(400) // 10
    ten = intervals.confidence_intervals(labels, probabilities, CLASSES, patients)["accuracy"]
    width = (ten["high"] - ten["low"]) / (one["high"] - one["low"])
    assert width == pytest.approx(np.sqrt(10), rel=0.1)


@pytest.mark.parametrize(("unit", "low", "high"), [("patients", 0.92, 0.97), ("images", 0, 0.9)])
def test_intervals_cover_where_patients_are_resampled_and_not_where_images_are(unit, low, high):
    """Patients of three images that are named alike: benchmarks/coverage.py has every score."""
    rng, held = np.random.default_rng(0), 0
    for number in range(400):
        right = np.repeat(rng.random(100) < 0.8, 3) ^ (rng.random(300) < 0.1)
        truth = 0.8 * 0.9 + 0.2 * 0.1
        units = np.repeat(np.arange(100), 3) if unit == "patients" else np.arange(300)
        drawn = intervals.patient_weights(units, 300, number)
        edges = intervals.interval(drawn @ right / drawn.sum(axis=1))
        held += edges["low"] <= truth <= edges["high"]
    assert low < held / 400 < high


def test_level_widens_the_interval_and_seed_repeats_it():
    labels, probabilities, patients = sample(60)
    given = (labels, probabilities, CLASSES, patients, 200)
    narrow, wide = (intervals.confidence_intervals(*given, level=level) for level in (0.5, 0.95))
    assert wide["accuracy"]["low"] < narrow["accuracy"]["low"] <= narrow["accuracy"]["value"]
    assert intervals.confidence_intervals(*given) == wide
    assert intervals.confidence_intervals(*given, seed=1) != wide
    limited = [each for name, each in wide.items() if name not in intervals.UNLIMITED]
    assert all(type(number) is float for each in limited for number in each.values())


def test_intervals_take_less_time_than_scoring_each_resample_by_itself():
    labels, probabilities, patients = sample(600)
    given = (labels, probabilities, CLASSES, patients)

    def spent(call) -> float:
        start = time.process_time()
        call()
        return time.process_time() - start

    def a_few_scores():
        sk.f1_score(labels, probabilities.argmax(axis=1), average="weighted")
        sk.roc_auc_score(labels, probabilities, multi_class="ovr")

    a_few_scores()  # the first call of anything takes longer
    once = np.median([spent(a_few_scores) for _ in range(20)])
    assert spent(lambda: intervals.confidence_intervals(*given, resamples=2000)) < 500 * once


# ---- tables -------------------------------------------------------------------------------------


def test_outcome_counts_of_the_starting_point():
    found = intervals.outcome_counts(START, CLASSES)
    assert found.loc["virus"].to_dict() == {"TP": 84, "FP": 37, "FN": 66, "TN": 399}
    assert (found.sum(axis=1) == START.sum()).all()


def test_per_class_equals_scikit_learn():
    labels, probabilities, _ = sample()
    found = intervals.per_class(labels, probabilities, CLASSES)
    report = sk.classification_report(
        labels, probabilities.argmax(axis=1), target_names=CLASSES, output_dict=True
    )
    for name in CLASSES:
        row = found.loc[name].drop("average_precision").rename({"f1": "f1-score"})
        assert row.to_dict() == pytest.approx(report[name])
    expected = scoring.scores(labels, probabilities, CLASSES)["average_precision_virus"][0]
    assert found.loc["virus", "average_precision"] == expected


def test_metrics_keep_the_contract():
    predictions = table()
    found = intervals.metrics(predictions, CLASSES, "val", resamples=20)
    assert list(predictions.columns) == ["path", "label", "patient", *CLASSES]
    assert (found["split"], found["n"], found["classes"]) == ("val", 200, CLASSES)
    assert found["patients"] == predictions["patient"].nunique()
    counts = predictions["label"].value_counts()
    assert [sum(row) for row in found["confusion"]] == [counts[name] for name in CLASSES]
    assert set(found["scores"]) == {
        "accuracy",
        "f1_weighted",
        "f1_macro",
        *(f"average_precision_{name}" for name in [*CLASSES, "micro"]),
        *(f"{name}_pneumonia" for name in ("auroc", "accuracy", "sensitivity", "specificity")),
        "accuracy_bacteria_vs_virus",
        "auroc_bacteria_vs_virus",
        "ece",
    }
    assert found["scores"].pop("ece")["low"] is None, "its percentiles are biased"
    for score in found["scores"].values():
        assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1 or score["value"] < 0.1
    json.dumps(found, allow_nan=False)


def test_metrics_without_a_class_are_still_json():
    predictions = table().query("label != 'normal'")
    found = intervals.metrics(predictions, CLASSES, resamples=20)
    assert found["scores"]["specificity_pneumonia"] == {"value": None, "low": None, "high": None}
    json.dumps(found, allow_nan=False)


# ---- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda t: t.drop(columns=["patient", "virus"]),
            r"lack the columns \['patient', 'virus'\]",
        ),
        (lambda t: t.assign(label="tuberculosis"), r"unknown labels \['tuberculosis'\]"),
        (lambda t: t.assign(path="same.jpeg"), "a path twice"),
        (lambda t: t.assign(patient=None), "empty cells"),
        (lambda t: t.assign(virus=2.0), "sum to 1"),
        (lambda t: t.iloc[:0], "no predictions"),
    ],
)
def test_bad_tables_are_refused(spoil, says):
    with pytest.raises(ValueError, match=says):
        intervals.metrics(spoil(table(20)), CLASSES, resamples=2)


def test_a_table_needs_a_row_of_probabilities_a_record():
    records = table(5)[["path", "label", "patient"]]
    with pytest.raises(ValueError, match=r"\(4, 3\), expected \(5, 3\)"):
        predictions_table(records, np.full((4, 3), 1 / 3), CLASSES)
    with pytest.raises(ValueError, match="3 patients for 5 labels"):
        intervals.confidence_intervals([0] * 5, np.full((5, 3), 1 / 3), CLASSES, ["a"] * 3)


def test_evaluation_imports_without_torch():
    assert "import torch" not in inspect.getsource(intervals)


def test_a_paired_difference_is_surer_than_two_intervals():
    """The second predictions are the first with a few mended: the gain is certain, each level is not."""
    rng = np.random.default_rng(4)
    labels, patients = rng.integers(0, 3, 300), np.repeat(np.arange(100), 3)
    before = rng.dirichlet([1, 1, 1], 300)
    after = before.copy()
    after[::10] = np.eye(3)[labels[::10]]
    found = intervals.paired_differences(labels, after, before, CLASSES, patients, resamples=400)
    levels = intervals.confidence_intervals(labels, before, CLASSES, patients, resamples=400)
    gain, level = found["accuracy"], levels["accuracy"]
    right = (after.argmax(1) == labels).mean() - (before.argmax(1) == labels).mean()
    assert gain["value"] == pytest.approx(right)
    assert 0 < gain["low"] < gain["value"] < gain["high"]
    assert gain["high"] - gain["low"] < level["high"] - level["low"]
    assert set(found) == set(levels) | set(scoring.rates(labels, before, CLASSES))
