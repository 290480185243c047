"""One temperature mends what one temperature spoiled, and a class mix is found again."""

import numpy as np
import pytest
from scipy.special import softmax

from support.samples import CLASSES, sample, table
from xnn.evaluation import calibration


def calibrated(n=20_000, seed=0, shares=(0.5, 0.25, 0.25)):
    """Labels drawn from the very probabilities, which come from a network that knows Bayes' rule."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=shares)
    seen = rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[labels]
    # of normal densities that differ in their means alone: log odds 1.5 x, and the prior
    return labels, softmax(1.5 * seen + np.log(shares), axis=1)


@pytest.mark.parametrize("spoiled", [0.5, 1, 3])
def test_the_temperature_that_spoiled_probabilities_is_found(spoiled):
    labels, probabilities = calibrated()
    made = calibration.tempered(probabilities, 1 / spoiled)
    assert calibration.temperature(labels, made, CLASSES) == pytest.approx(spoiled, rel=0.05)


def test_tempering_keeps_the_order_and_sums_to_one():
    _, probabilities, _ = sample()
    for temperature in (0.1, 1, 10):
        found = calibration.tempered(probabilities, temperature)
        assert found.sum(axis=1) == pytest.approx(np.ones(len(found)))
        assert (found.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert calibration.tempered(probabilities, 1) == pytest.approx(probabilities, abs=1e-6)
    assert np.isfinite(calibration.tempered(np.array([[1.0, 0, 0]]), 2)).all()


def test_quality_in_closed_form():
    labels, probabilities = np.array([0, 1]), np.array([[0.5, 0.25, 0.25], [1.0, 0, 0]])
    found = calibration.quality(labels[:1], probabilities[:1], CLASSES)
    assert found["nll"][0] == pytest.approx(np.log(2))
    assert found["brier"][0] == pytest.approx(0.25 + 2 / 16)
    weighted = calibration.quality(labels, probabilities, CLASSES, np.array([[3, 1]]))
    assert weighted["brier"][0] == pytest.approx((3 * 0.375 + 2) / 4)


def test_a_report_tells_of_the_test_before_and_after():
    test, validation = table(300, seed=1), table(300, seed=2)
    found = calibration.report(test, validation, CLASSES, resamples=100)
    assert found["after"]["nll"]["value"] < found["before"]["nll"]["value"]
    for when in ("before", "after"):
        assert found[when].pop("ece")["low"] is None
        for each in found[when].values():
            assert 0 <= each["low"] <= each["high"]


def test_another_class_mix_is_estimated_and_asked_for():
    trained, wanted = np.array([0.5, 0.25, 0.25]), np.array([0.2, 0.6, 0.2])
    _, here = calibrated(shares=trained)
    labels, there = calibrated(shares=wanted)
    # what the first network would say of the second one's images: Bayes' rule backwards
    said = calibration.for_mix(there, wanted, trained)
    assert calibration.estimated_mix(said, trained) == pytest.approx(wanted, abs=0.02)
    assert calibration.estimated_mix(here, trained) == pytest.approx(trained, abs=0.02)
    assert calibration.for_mix(said, trained, wanted) == pytest.approx(there)
    accuracies = [(p.argmax(axis=1) == labels).mean() for p in (said, there)]
    assert accuracies[1] > accuracies[0]


def test_temperature_and_biases_that_spoiled_probabilities_are_found():
    labels, probabilities = calibrated()
    biases = np.array([0, 1.0, -0.7])  # as class weights would
    spoiled = calibration.corrected(probabilities, 0.5, biases)
    temperature, found = calibration.bias_corrected(labels, spoiled, CLASSES)
    assert temperature == pytest.approx(2, rel=0.05)
    assert found == pytest.approx(-biases / 2, abs=0.1)
    assert calibration.corrected(spoiled, temperature, found) == pytest.approx(probabilities, abs=0.03)


def test_a_network_with_class_weights_is_corrected_by_its_own_prior_and_not_by_the_labels():
    """Two hospitals with one disease and other shares; the network was trained with class weights."""
    trained, wanted, weights = np.array([0.5, 0.25, 0.25]), np.array([0.2, 0.6, 0.2]), np.array([0.5, 1, 2])

    def weighted(shares, mix):
        labels, there = calibrated(shares=mix)
        said = calibration.for_mix(there, mix, shares * weights)  # Bayes' rule for the mix that it assumes
        return labels, calibration.tempered(said, 0.6)

    (labels, here), (_, there) = weighted(trained, trained), weighted(trained, wanted)
    fitted = calibration.bias_corrected(labels, here, CLASSES)
    own = calibration.corrected(here, *fitted).mean(axis=0)
    assert own == pytest.approx(trained, abs=0.01), "calibrated with biases, it assumes the mix of validation"
    estimated = calibration.estimated_mix(calibration.corrected(there, *fitted), own)
    assert estimated == pytest.approx(wanted, abs=0.02)
    temperature = calibration.temperature(labels, here, CLASSES)
    naive = calibration.estimated_mix(calibration.tempered(there, temperature), trained)
    assert np.abs(naive - wanted).max() > 0.05
