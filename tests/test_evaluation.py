"""Scores equal the libraries', do not depend on row order or batches, and refuse bad input."""

import inspect
import json
import time

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from xnn import evaluation

CLASSES = ["bacteria", "normal", "virus"]
START = np.array([[239, 4, 35], [7, 149, 2], [55, 11, 84]])  # the starting point's published table


def sample(n=200, seed=0, decimals=None):
    """Labels, probabilities (float32 as a network gives them; rounded: with ties) and patients."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    odds = np.exp(rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[labels])
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    if decimals is None:
        return labels, probabilities.astype(np.float32), rng.integers(0, n // 2, n)
    probabilities = probabilities.round(decimals)
    probabilities[:, 2] = 1 - probabilities[:, 0] - probabilities[:, 1]
    return labels, np.abs(probabilities.round(decimals)), rng.integers(0, n // 2, n)


def table(n=200, seed=0):
    labels, probabilities, patients = sample(n, seed)
    records = pd.DataFrame(
        {
            "path": [f"{patient}/{i}.jpeg" for i, patient in enumerate(patients)],
            "label": np.array(CLASSES)[labels],
            "patient": patients.astype(str),
            "split": "test",
        }
    )
    return evaluation.predictions_table(records, probabilities, CLASSES)


def from_matrix(matrix):
    """Labels, sorted by class, and predictions with the given confusion matrix."""
    labels = np.repeat(np.arange(3), matrix.sum(axis=1))
    return labels, np.concatenate([np.repeat(np.arange(3), row) for row in matrix])


def by_scikit_learn(labels, probabilities, weight):
    p = np.asarray(probabilities, float)
    predicted, truth = p.argmax(axis=1), np.eye(3)[labels]
    ill, pair = labels != 1, labels != 1
    share, w = p[pair, 0] / (p[pair, 0] + p[pair, 2]), {"sample_weight": weight}
    f1 = {**w, "labels": [0, 1, 2], "zero_division": 0}
    return {
        "accuracy": sk.accuracy_score(labels, predicted, **w),
        "f1_weighted": sk.f1_score(labels, predicted, average="weighted", **f1),
        "f1_macro": sk.f1_score(labels, predicted, average="macro", **f1),
        **{
            f"average_precision_{name}": sk.average_precision_score(truth[:, c], p[:, c], **w)
            for c, name in enumerate(CLASSES)
        },
        "average_precision_micro": sk.average_precision_score(truth, p, average="micro", **w),
        "auroc_pneumonia": sk.roc_auc_score(ill, 1 - p[:, 1], **w),
        "accuracy_pneumonia": sk.accuracy_score(ill, predicted != 1, **w),
        "sensitivity_pneumonia": sk.recall_score(ill, predicted != 1, **w),
        "specificity_pneumonia": sk.recall_score(ill, predicted != 1, pos_label=0, **w),
        "accuracy_bacteria_vs_virus": sk.accuracy_score(
            labels[pair] == 0, share >= 0.5, sample_weight=weight[pair]
        ),
        "auroc_bacteria_vs_virus": sk.roc_auc_score(labels[pair] == 0, share, sample_weight=weight[pair]),
    }


def calibration_error(labels, probabilities):
    tensors = torch.tensor(np.asarray(probabilities, float)), torch.tensor(labels)
    return tm.multiclass_calibration_error(*tensors, num_classes=3, n_bins=15, norm="l1").item()


# ---- scores -------------------------------------------------------------------------------------


@pytest.mark.parametrize("decimals", [None, 2, 1])  # rounded probabilities have many ties
@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_scikit_learn_and_torchmetrics(seed, decimals):
    labels, probabilities, patients = sample(150, seed, decimals)
    weights = np.vstack([np.ones(150), evaluation.patient_weights(patients, 4, seed)]).astype(int)
    found = evaluation.scores(labels, probabilities, CLASSES, weights)
    for b, weight in enumerate(weights):
        rows = np.repeat(np.arange(150), weight)  # a weight of 2 is the row twice
        expected = by_scikit_learn(labels, probabilities, weight)
        for name, value in expected.items():
            assert found[name][b] == pytest.approx(value, abs=1e-9), name
        if decimals is None:  # a rounded confidence may lie on the edge of a bin
            error = calibration_error(labels[rows], probabilities[rows])
            assert found["ece"][b] == pytest.approx(error, abs=1e-6)
    assert set(found) == {*expected, "ece"}


def test_scores_equal_torchmetrics():
    labels, probabilities, _ = sample()
    found = evaluation.scores(labels, probabilities, CLASSES)
    p, t = torch.tensor(probabilities), torch.tensor(labels)
    expected = {
        "accuracy": tm.multiclass_accuracy(p, t, 3, average="micro"),
        "f1_weighted": tm.multiclass_f1_score(p, t, 3, average="weighted"),
        "f1_macro": tm.multiclass_f1_score(p, t, 3, average="macro"),
        "auroc_pneumonia": tm.binary_auroc(1 - p[:, 1], (t != 1).long()),
        "average_precision_micro": tm.binary_average_precision(p.flatten(), torch.eye(3)[t].long().flatten()),
    }
    average_precision = tm.multiclass_average_precision(p, t, 3, average=None)
    expected |= {f"average_precision_{n}": a for n, a in zip(CLASSES, average_precision, strict=True)}
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value.item(), abs=1e-6), name


def test_certain_and_right_is_perfect():
    labels = np.array([0, 1, 2, 0])
    for name, value in evaluation.scores(labels, np.eye(3)[labels], CLASSES).items():
        assert value == (0 if name == "ece" else 1), name


def test_calibration_error_in_closed_form():
    labels, p = np.array([0, 0, 1, 0]), np.array([[0.7, 0.2, 0.1]] * 3 + [[0.4, 0.3, 0.3]])
    # Three at 0.7 of which two are right, one at 0.4 that is right.
    expected = 3 / 4 * abs(2 / 3 - 0.7) + 1 / 4 * abs(1 - 0.4)
    assert evaluation.scores(labels, p, CLASSES)["ece"][0] == pytest.approx(expected)


def test_scores_do_not_depend_on_how_many_are_computed_at_once(monkeypatch):
    labels, probabilities, patients = sample(50)
    weights = evaluation.patient_weights(patients, 30)
    whole = evaluation.scores(labels, probabilities, CLASSES, weights)
    monkeypatch.setattr(evaluation, "CELLS", 1000)
    for name, value in evaluation.scores(labels, probabilities, CLASSES, weights).items():
        np.testing.assert_allclose(value, whole[name], rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("error")
def test_an_absent_class_leaves_its_scores_undefined():
    labels, probabilities, patients = sample(30)
    only = evaluation.scores(labels * 0, probabilities, CLASSES)
    undefined = {name for name, value in only.items() if np.isnan(value[0])}
    assert undefined == {
        "average_precision_normal",
        "average_precision_virus",
        "auroc_pneumonia",
        "specificity_pneumonia",
        "auroc_bacteria_vs_virus",
    }
    healthy = evaluation.scores(labels * 0 + 1, probabilities, CLASSES)
    assert np.isnan(healthy["accuracy_bacteria_vs_virus"][0])
    interval = evaluation.confidence_intervals(labels * 0, probabilities, CLASSES, patients, 20)
    assert np.isnan(interval["auroc_pneumonia"]["low"])
    assert interval["accuracy"]["low"] <= interval["accuracy"]["high"]


def test_scores_of_other_classes_leave_pneumonia_out():
    labels, probabilities, _ = sample(20)
    found = evaluation.scores(labels, probabilities, ["a", "b", "c"])
    assert not [name for name in found if "pneumonia" in name or "virus" in name]
    assert "average_precision_a" in found


# ---- batches and row order ----------------------------------------------------------------------


def test_scores_of_the_starting_point_in_closed_form():
    labels, predicted = from_matrix(START)
    np.testing.assert_array_equal(evaluation.confusion(labels, predicted, CLASSES), START)
    found = evaluation.scores(labels, np.eye(3)[predicted], CLASSES)
    f1 = 2 * np.diag(START) / (START.sum(axis=0) + START.sum(axis=1))
    assert found["f1_weighted"][0] == pytest.approx(f1 @ START.sum(axis=1) / START.sum())
    rounded = {name: round(float(found[name][0]), 3) for name in ("accuracy", "f1_weighted", "f1_macro")}
    assert rounded == {"accuracy": 0.805, "f1_weighted": 0.8, "f1_macro": 0.79}


def test_averaging_over_class_sorted_batches_is_the_known_trap():
    """Batches of one class have a precision of 1: their mean F1 is 0.88 where the truth is 0.80."""
    labels, predicted = from_matrix(START)
    rng = np.random.default_rng(0)
    predicted = np.concatenate([rng.permutation(predicted[labels == c]) for c in range(3)])

    def weighted_f1(rows):
        return evaluation.scores(labels[rows], np.eye(3)[predicted[rows]], CLASSES)["f1_weighted"][0]

    batches = np.split(np.arange(len(labels)), range(16, len(labels), 16))
    averaged = np.mean([weighted_f1(rows) for rows in batches])
    assert averaged == pytest.approx(0.878, abs=0.01)
    assert weighted_f1(np.concatenate(batches)) == pytest.approx(0.800, abs=0.0005)


@pytest.mark.parametrize("seed", range(3))
def test_metrics_do_not_depend_on_row_order(seed):
    predictions = table()
    expected = evaluation.metrics(predictions, CLASSES, resamples=50)
    shuffled = predictions.sample(frac=1, random_state=seed)
    assert evaluation.metrics(shuffled, CLASSES, resamples=50) == expected  # to the last bit


@pytest.mark.parametrize("size", [1, 7, 64])
def test_metrics_do_not_depend_on_batches(size):
    predictions = table()
    batches = [predictions.iloc[start : start + size] for start in range(0, len(predictions), size)]
    joined = pd.concat(batches[::-1])
    expected = evaluation.metrics(predictions, CLASSES, resamples=20)
    assert evaluation.metrics(joined, CLASSES, resamples=20) == expected


def test_metrics_of_a_table_read_back_are_the_same(tmp_path):
    predictions = table()
    predictions.to_csv(tmp_path / "predictions.csv", index=False)
    again = pd.read_csv(tmp_path / "predictions.csv")
    expected = evaluation.metrics(predictions, CLASSES, resamples=20)
    assert evaluation.metrics(again, CLASSES, resamples=20) == expected


# ---- intervals ----------------------------------------------------------------------------------


def test_patient_weights_draw_whole_patients():
    patients = np.array(["b", "a", "b", "c", "10", "9"])
    weights = evaluation.patient_weights(patients, 500, seed=1)
    assert weights.shape == (500, 6)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    assert (weights[:, [0, 1, 3, 4, 5]].sum(axis=1) == 5).all()  # as many patients as there are
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.15)
    order = [3, 5, 0, 1, 4, 2]
    np.testing.assert_array_equal(evaluation.patient_weights(patients[order], 500, seed=1), weights[:, order])


def test_interval_of_an_accuracy_is_the_binomial_one():
    labels = np.arange(400) % 2
    right = np.arange(400) < 320
    probabilities = np.eye(3)[np.where(right, labels, 2)]
    one = evaluation.confidence_intervals(labels, probabilities, CLASSES, np.arange(400))["accuracy"]
    half = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert one["value"] == pytest.approx(0.8)
    assert [one["low"], one["high"]] == pytest.approx([0.8 - half, 0.8 + half], abs=0.006)
    # Ten alike images a patient tell as much as one: the interval is wider by the root of 10.
    patients = np.arange(400) // 10
    ten = evaluation.confidence_intervals(labels, probabilities, CLASSES, patients)["accuracy"]
    width = (ten["high"] - ten["low"]) / (one["high"] - one["low"])
    assert width == pytest.approx(np.sqrt(10), rel=0.1)


def test_level_widens_the_interval_and_seed_repeats_it():
    labels, probabilities, patients = sample(60)
    given = (labels, probabilities, CLASSES, patients, 200)
    narrow, wide = (evaluation.confidence_intervals(*given, level=level) for level in (0.5, 0.95))
    assert wide["accuracy"]["low"] < narrow["accuracy"]["low"] <= narrow["accuracy"]["value"]
    assert evaluation.confidence_intervals(*given) == wide
    assert evaluation.confidence_intervals(*given, seed=1) != wide
    assert all(type(number) is float for each in wide.values() for number in each.values())


def test_intervals_of_a_test_split_take_seconds():
    labels, probabilities, patients = sample(600)
    start = time.process_time()
    evaluation.confidence_intervals(labels, probabilities, CLASSES, patients)
    assert time.process_time() - start < 10


# ---- tables -------------------------------------------------------------------------------------


def test_outcome_counts_of_the_starting_point():
    found = evaluation.outcome_counts(START)
    assert found.loc["virus"].to_dict() == {"TP": 84, "FP": 37, "FN": 66, "TN": 399}
    assert (found.sum(axis=1) == START.sum()).all()


def test_per_class_equals_scikit_learn():
    labels, probabilities, _ = sample()
    found = evaluation.per_class(labels, probabilities, CLASSES)
    report = sk.classification_report(
        labels, probabilities.argmax(axis=1), target_names=CLASSES, output_dict=True
    )
    for name in CLASSES:
        row = found.loc[name].drop("average_precision").rename({"f1": "f1-score"})
        assert row.to_dict() == pytest.approx(report[name])
    expected = evaluation.scores(labels, probabilities, CLASSES)["average_precision_virus"][0]
    assert found.loc["virus", "average_precision"] == expected


def test_precision_recall_curves_hold_their_average_precision():
    labels, probabilities, _ = sample()
    curves = evaluation.precision_recall(labels, probabilities, CLASSES)
    assert list(curves["curve"].unique()) == [*CLASSES, "micro"]
    single = evaluation.scores(labels, probabilities, CLASSES)
    for name, curve in curves.groupby("curve"):
        assert (curve["average_precision"] == curve["average_precision"].iloc[0]).all()
        value = single[f"average_precision_{name}"][0]
        assert curve["average_precision"].iloc[0] == pytest.approx(value)
    present = evaluation.precision_recall(labels[labels != 2], probabilities[labels != 2], CLASSES)
    assert "virus" not in set(present["curve"])


def test_metrics_keep_the_contract():
    predictions = table()
    found = evaluation.metrics(predictions, CLASSES, "val", resamples=20)
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
    for score in found["scores"].values():
        assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1 or score["value"] < 0.1
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_metrics_without_a_class_are_still_json():
    predictions = table().query("label != 'normal'")
    found = evaluation.metrics(predictions, CLASSES, resamples=20)
    assert found["scores"]["specificity_pneumonia"] == {"value": None, "low": None, "high": None}
    json.dumps(found, allow_nan=False)


# ---- errors -------------------------------------------------------------------------------------

THIRD = np.full((2, 3), 1 / 3)


@pytest.mark.parametrize(
    ("labels", "probabilities", "says"),
    [
        ([], np.empty((0, 3)), "no predictions"),
        ([0, 1], THIRD[:, :2], r"\(2, 2\), expected \(2, 3\)"),
        ([0, 1], THIRD[0], "one row a label"),
        ([0], THIRD, r"\(2, 3\), expected \(1, 3\)"),
        ([0, 1], np.where(np.eye(2, 3), np.nan, THIRD), "2 probabilities are not finite"),
        ([0, 1], THIRD * 1.01, "sum to 1"),
        ([0, 1], [[1.5, -0.5, 0], [1, 0, 0]], "negative"),
        ([0, 3], THIRD, "from 0 to 2"),
        ([0, -1], THIRD, "from 0 to 2"),
        (["normal", "virus"], THIRD, "whole numbers"),
    ],
)
def test_bad_predictions_are_refused_in_one_line(labels, probabilities, says):
    for function in (evaluation.scores, evaluation.per_class, evaluation.precision_recall):
        with pytest.raises(ValueError, match=says) as error:
            function(labels, probabilities, CLASSES)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("weights", [np.ones(2), np.ones((1, 3)), [[1, -1]], [[1, np.nan]]])
def test_bad_weights_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        evaluation.scores([0, 1], THIRD, CLASSES, weights)


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
        evaluation.metrics(spoil(table(20)), CLASSES, resamples=2)


def test_a_table_needs_a_row_of_probabilities_a_record():
    records = table(5)[["path", "label", "patient"]]
    with pytest.raises(ValueError, match=r"\(4, 3\), expected \(5, 3\)"):
        evaluation.predictions_table(records, np.full((4, 3), 1 / 3), CLASSES)
    with pytest.raises(ValueError, match="3 patients for 5 labels"):
        evaluation.confidence_intervals([0] * 5, np.full((5, 3), 1 / 3), CLASSES, ["a"] * 3)


def test_evaluation_imports_without_torch():
    assert "import torch" not in inspect.getsource(evaluation)


def test_rates_are_scikit_learns_per_class():
    rng = np.random.default_rng(3)
    labels, probabilities = rng.integers(0, 3, 80), rng.dirichlet([1, 1, 1], 80)
    found, table = evaluation.rates(labels, probabilities), evaluation.per_class(labels, probabilities)
    for name in evaluation.CLASSES:
        for kind in ("precision", "recall", "f1"):
            assert found[f"{kind}_{name}"] == pytest.approx([table.loc[name, kind]])


def test_a_paired_difference_is_surer_than_two_intervals():
    """The second predictions are the first with a few mended: the gain is certain, each level is not."""
    rng = np.random.default_rng(4)
    labels, patients = rng.integers(0, 3, 300), np.repeat(np.arange(100), 3)
    before = rng.dirichlet([1, 1, 1], 300)
    after = before.copy()
    after[::10] = np.eye(3)[labels[::10]]
    found = evaluation.differences(labels, after, before, evaluation.CLASSES, patients, resamples=400)
    levels = evaluation.confidence_intervals(labels, before, evaluation.CLASSES, patients, resamples=400)
    gain, level = found["accuracy"], levels["accuracy"]
    right = (after.argmax(1) == labels).mean() - (before.argmax(1) == labels).mean()
    assert gain["value"] == pytest.approx(right)
    assert 0 < gain["low"] < gain["value"] < gain["high"]
    assert gain["high"] - gain["low"] < level["high"] - level["low"]
    assert set(found) == set(levels) | set(evaluation.rates(labels, before))
