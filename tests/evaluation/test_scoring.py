"""Scores equal the libraries', and bad input is refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from support.samples import CLASSES, sample
from xnn.evaluation import curves, intervals, scoring
from xnn.evaluation.predictions import predictions_table

START = np.array([[239, 4, 35], [7, 149, 2], [55, 11, 84]])  # the starting point's published table
THIRD = np.full((2, 3), 1 / 3)


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


@pytest.mark.parametrize("decimals", [None, 2, 1])  # rounded probabilities have many ties
@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_scikit_learn_and_torchmetrics(seed, decimals):
    labels, probabilities, patients = sample(150, seed, decimals)
    weights = np.vstack([np.ones(150), intervals.patient_weights(patients, 4, seed)]).astype(int)
    found = scoring.scores(labels, probabilities, CLASSES, weights)
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
    found = scoring.scores(labels, probabilities, CLASSES)
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
    for name, value in scoring.scores(labels, np.eye(3)[labels], CLASSES).items():
        assert value == (0 if name == "ece" else 1), name


def test_calibration_error_in_closed_form():
    labels, p = np.array([0, 0, 1, 0]), np.array([[0.7, 0.2, 0.1]] * 3 + [[0.4, 0.3, 0.3]])
    # Three at 0.7 of which two are right, one at 0.4 that is right.
    expected = 3 / 4 * abs(2 / 3 - 0.7) + 1 / 4 * abs(1 - 0.4)
    assert scoring.scores(labels, p, CLASSES)["ece"][0] == pytest.approx(expected)


def test_scores_do_not_depend_on_how_many_are_computed_at_once(monkeypatch):
    labels, probabilities, patients = sample(50)
    weights = intervals.patient_weights(patients, 30)
    whole = scoring.scores(labels, probabilities, CLASSES, weights)
    monkeypatch.setattr(scoring, "CELLS", 1000)
    for name, value in scoring.scores(labels, probabilities, CLASSES, weights).items():
        np.testing.assert_allclose(value, whole[name], rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("error")
def test_an_absent_class_leaves_its_scores_undefined():
    labels, probabilities, patients = sample(30)
    only = scoring.scores(labels * 0, probabilities, CLASSES)
    undefined = {name for name, value in only.items() if np.isnan(value[0])}
    assert undefined == {
        "average_precision_normal",
        "average_precision_virus",
        "auroc_pneumonia",
        "specificity_pneumonia",
        "auroc_bacteria_vs_virus",
    }
    healthy = scoring.scores(labels * 0 + 1, probabilities, CLASSES)
    assert np.isnan(healthy["accuracy_bacteria_vs_virus"][0])
    interval = intervals.confidence_intervals(labels * 0, probabilities, CLASSES, patients, 20)
    assert np.isnan(interval["auroc_pneumonia"]["low"])
    assert interval["accuracy"]["low"] <= interval["accuracy"]["high"]


def test_scores_of_other_classes_leave_pneumonia_out():
    labels, probabilities, _ = sample(20)
    found = scoring.scores(labels, probabilities, ["a", "b", "c"])
    assert not [name for name in found if "pneumonia" in name or "virus" in name]
    assert "average_precision_a" in found


def test_scores_of_the_starting_point_in_closed_form():
    labels, predicted = from_matrix(START)
    records = pd.DataFrame({"path": range(len(labels)), "label": np.array(CLASSES)[labels], "patient": 0})
    table = predictions_table(records, np.eye(3)[predicted], CLASSES)
    assert intervals.metrics(table, CLASSES, resamples=2)["confusion"] == START.tolist()
    found = scoring.scores(labels, np.eye(3)[predicted], CLASSES)
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
        return scoring.scores(labels[rows], np.eye(3)[predicted[rows]], CLASSES)["f1_weighted"][0]

    batches = np.split(np.arange(len(labels)), range(16, len(labels), 16))
    averaged = np.mean([weighted_f1(rows) for rows in batches])
    assert averaged == pytest.approx(0.878, abs=0.01)
    assert weighted_f1(np.concatenate(batches)) == pytest.approx(0.800, abs=0.0005)


@pytest.mark.parametrize(
    ("labels", "probabilities", "says"),
    [
        ([], np.empty((0, 3)), "no predictions"),
        ([0, 1], THIRD[:, :2], r"\(2, 2\), expected \(2, 3\)"),
        ([0, 1], THIRD[0], "one row per label"),
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
    for function in (scoring.scores, intervals.per_class, curves.precision_recall):
        with pytest.raises(ValueError, match=says) as error:
            function(labels, probabilities, CLASSES)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("weights", [np.ones(2), np.ones((1, 3)), [[1, -1]], [[1, np.nan]]])
def test_bad_weights_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        scoring.scores([0, 1], THIRD, CLASSES, weights)


def test_rates_are_scikit_learns_per_class():
    rng = np.random.default_rng(3)
    labels, probabilities = rng.integers(0, 3, 80), rng.dirichlet([1, 1, 1], 80)
    found, table = (
        scoring.rates(labels, probabilities, CLASSES),
        intervals.per_class(labels, probabilities, CLASSES),
    )
    for name in CLASSES:
        for kind in ("precision", "recall", "f1"):
            assert found[f"{kind}_{name}"] == pytest.approx([table.loc[name, kind]])
