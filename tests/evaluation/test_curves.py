"""Curves hold the scores that belong to them; bands hold the curves."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from support.samples import CLASSES, sample, table
from xnn.evaluation import curves, intervals, scoring


def test_precision_recall_curves_hold_their_average_precision():
    labels, probabilities, _ = sample()
    found = curves.precision_recall(labels, probabilities, CLASSES)
    assert list(found["curve"].unique()) == [*CLASSES, "micro"]
    single = scoring.scores(labels, probabilities, CLASSES)
    for name, curve in found.groupby("curve"):
        assert (curve["average_precision"] == curve["average_precision"].iloc[0]).all()
        value = single[f"average_precision_{name}"][0]
        assert curve["average_precision"].iloc[0] == pytest.approx(value)
    present = curves.precision_recall(labels[labels != 2], probabilities[labels != 2], CLASSES)
    assert "virus" not in set(present["curve"])


def test_bands_of_precision_hold_the_curve_and_narrow_with_more_patients():
    widths = []
    for n in (150, 1500):
        labels, probabilities, patients = sample(n)
        weights = intervals.patient_weights(patients, 200)
        bands = curves.precision_recall_bands(labels, probabilities, weights, CLASSES)
        assert set(bands.curve) == {*CLASSES, "micro"}
        assert (bands.low <= bands.high).all()
        single = curves.precision_recall_bands(labels, probabilities, np.ones((1, n)), CLASSES)
        inside = (bands.low <= single.low + 1e-9) & (single.low <= bands.high + 1e-9)
        assert inside.mean() > 0.9
        widths.append((bands.high - bands.low).mean())
    assert widths[1] < widths[0] / 2


def test_a_band_of_one_weighting_is_the_precision_that_first_reaches_the_recall():
    labels, probabilities = (
        np.array([0, 0, 1, 0]),
        np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.7, 0.3, 0], [0.5, 0.5, 0]]),
    )
    bands = curves.precision_recall_bands(labels, probabilities, np.ones((1, 4)), CLASSES)
    found = bands[bands.curve == "bacteria"].set_index(bands.recall[:101].round(2)).low
    assert found[0.33] == 1
    assert found[0.5] == pytest.approx(2 / 3)
    assert found[1.0] == pytest.approx(3 / 4)


def test_f1_by_threshold_is_scikit_learns():
    labels, probabilities, _ = sample(120, decimals=2)
    found = curves.f1_by_threshold(labels, probabilities, CLASSES)
    for row in found.sample(40, random_state=0).itertuples():
        c = CLASSES.index(row[1])
        assert row.f1 == pytest.approx(sk.f1_score(labels == c, probabilities[:, c] >= row.threshold))
    best = curves.best_thresholds(found)
    assert curves.f1_at(found, best).to_dict() == pytest.approx(found.groupby("class").f1.max().to_dict())
    assert (curves.f1_at(found, best * 0 + 2) == 0).all()


def test_risk_falls_to_nothing_where_the_unsure_answers_are_the_wrong_ones():
    labels = np.array([0] * 8 + [1] * 2)
    probabilities = np.array([[0.9, 0.1, 0]] * 8 + [[0.6, 0.4, 0]] * 2)
    found = curves.risk_coverage(labels, probabilities, np.ones((3, 10)), CLASSES).set_index("coverage")
    assert found.risk.loc[:0.8].eq(0).all()
    assert found.risk.iloc[-1] == pytest.approx(0.2)
    assert found.index.min() > 0


def test_risk_at_full_coverage_is_the_error_rate():
    labels, probabilities, patients = sample()
    weights = intervals.patient_weights(patients, 300)
    last = curves.risk_coverage(labels, probabilities, weights, CLASSES).iloc[-1]
    interval = intervals.confidence_intervals(labels, probabilities, CLASSES, patients, 300)["accuracy"]
    assert [1 - last.risk, 1 - last.high, 1 - last.low] == pytest.approx(list(interval.values()))


def test_the_reliability_table_adds_up_to_the_calibration_error():
    labels, probabilities, patients = sample()
    found = curves.reliability(labels, probabilities, intervals.patient_weights(patients, 50), CLASSES)
    error = (found.images * (found.accuracy - found.confidence).abs()).sum() / found.images.sum()
    assert error == pytest.approx(scoring.scores(labels, probabilities, CLASSES)["ece"][0], abs=1e-6)
    assert found.images.sum() == len(labels)


def test_mistakes_are_the_surest_wrong_ones_of_each_kind():
    predictions = table(200)
    found = curves.mistakes(predictions, CLASSES, 2)
    assert (found.label != found.predicted).all()
    kinds = found.groupby(["label", "predicted"])
    assert kinds.size().max() == 2
    sure = predictions[CLASSES].max(axis=1)[predictions[CLASSES].idxmax(axis=1) != predictions.label].max()
    assert found.probability.max() == sure
    assert kinds.probability.apply(lambda p: p.is_monotonic_decreasing).all()


def test_no_mistake_is_an_empty_table():
    predictions = table(30)
    predictions[CLASSES] = pd.get_dummies(predictions.label)[CLASSES].astype(float)
    assert curves.mistakes(predictions, CLASSES).empty
