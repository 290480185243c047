"""Sets of classes cover the true one as often as promised, for new patients with several images each."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from support.samples import CLASSES, table
from xnn.evaluation import conformal
from xnn.evaluation.predictions import predictions_table


def cohort(patients, seed, shift=0.0):
    """Predictions for patients with 1 to 6 images of a class, which are alike within a patient."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, patients)
    owner = np.repeat(np.arange(patients), sizes)
    labels = rng.integers(0, 3, patients)[owner]
    # those with more images are harder: counted by image the threshold would be too wide
    evidence = (
        1.5 * np.eye(3)[labels] * (1.2 - sizes[owner] / 8)[:, None] + rng.normal(size=(patients, 3))[owner]
    )
    odds = evidence + 0.3 * rng.normal(size=(len(owner), 3)) + shift * np.array([0, -1, 0])
    records = pd.DataFrame({"path": [f"{seed}/{i}" for i in range(len(owner))], "patient": owner.astype(str)})
    records["label"] = np.array(CLASSES)[labels]
    return predictions_table(records, softmax(2 * odds, axis=1), CLASSES)


def test_each_class_is_covered_as_often_as_promised():
    reached = []
    for seed in range(40):
        found = conformal.report(cohort(400, 1000 + seed), cohort(150, seed), CLASSES, resamples=2)
        reached.append([found[f"coverage_{name}"]["value"] for name in CLASSES])
    means = np.mean(reached, axis=0)
    error = np.std(reached) / np.sqrt(len(reached))
    assert (means >= 0.9 - 2 * error).all()
    assert (means <= 0.9 + 1 / 51 + 3 * error).all(), "about 50 patients a class: at most 1 / 51 too many"


def test_coverage_is_lost_where_a_class_looks_otherwise():
    found = conformal.report(cohort(400, 1, shift=2), cohort(400, 2), CLASSES, resamples=50)
    assert found["coverage_normal"]["high"] < 0.8


def test_a_threshold_in_closed_form():
    """Nine patients of a class and the one to come: the ninth of ten, each counted once."""
    scores = np.arange(1, 10) / 20
    records = pd.DataFrame({"path": [str(i) for i in range(9)], "patient": [str(i) for i in range(9)]})
    predictions = predictions_table(
        records.assign(label="virus"), np.stack([scores, 0 * scores, 1 - scores], axis=1), CLASSES
    )
    found = conformal.thresholds(predictions, CLASSES)
    assert found["virus"] == pytest.approx(9 / 20)
    assert conformal.thresholds(predictions[:8], CLASSES)["virus"] == 1, "eight are too few for 90 %"
    assert found["bacteria"] == found["normal"] == 1
    twice = pd.concat([predictions, predictions.iloc[[0] * 5].assign(path=list("abcde"))])
    assert conformal.thresholds(twice, CLASSES) == found, "more images of a patient count no more"


def test_sets_of_one_image():
    limits = {"bacteria": 0.4, "normal": 0.5, "virus": 0.8}
    given = conformal.sets([[0.6, 0.0, 0.4], [0.5, 0.4, 0.1], [0.6, 0.2, 0.2]], CLASSES, limits)
    assert given.tolist() == [[True, False, True], [False, False, False], [True, False, True]]


def test_a_report_adds_up():
    test = table(300, seed=1)
    found = conformal.report(test, table(300, seed=2), CLASSES, resamples=50)
    shares = {name: each["value"] for name, each in found["sets"].items()}
    assert sum(shares.values()) == pytest.approx(1)
    sizes = {name: 0 if name == "none" else len(name.split(" or ")) for name in shares}
    assert found["mean_size"]["value"] == pytest.approx(sum(shares[name] * sizes[name] for name in shares))
    for name in ("coverage", *(f"coverage_{each}" for each in CLASSES), "mean_size"):
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
    assert set(found["thresholds"]) == set(CLASSES)
