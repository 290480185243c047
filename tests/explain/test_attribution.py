import numpy as np
import pandas as pd
import pytest
import torch

from xnn import baseline
from xnn.explain import attribution, integrated

CLASSES = ["bacteria", "normal", "virus"]


def test_baselines():
    images = torch.rand(2, 3, 32, 32)
    assert (baseline("black", images) == 0).all()
    mean = baseline("mean", images, np.full((32, 32), 0.25, np.float32))
    assert mean.shape == (1, 3, 32, 32)
    assert (mean == 0.25).all()
    blurred = baseline("blur", images)
    assert blurred.shape == images.shape
    assert blurred.std() < images.std() / 3
    healthy = torch.rand(5, 3, 32, 32)
    assert baseline("expected", images, healthy=healthy).shape == (1, 5, 3, 32, 32)
    for name in ("mean", "expected"):
        with pytest.raises(ValueError, match="not given"):
            baseline(name, images)
    with pytest.raises(ValueError, match="choose black, mean, blur, expected"):
        baseline("grey", images)


def test_cases_are_drawn_of_every_class_right_and_wrong():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.dirichlet([1, 1, 1], 90), columns=CLASSES)
    table["path"] = [f"{i:03}.png" for i in range(90)]
    table["label"] = CLASSES * 30
    table["patient"] = table.path
    drawn = attribution.cases(table, CLASSES, 3, seed=1)
    assert (drawn.groupby(["label", "right"]).size() == 3).all()
    assert ((drawn.predicted == drawn.label) == drawn.right).all()
    again = attribution.cases(table.sample(frac=1, random_state=5), CLASSES, 3, seed=1)
    assert again.equals(drawn)


def test_summary_counts_what_passed():
    given = integrated.Attribution(
        maps=None,
        averaged=None,
        gap=np.array([0.0, 0.5]),
        local_gap=None,
        difference=None,
        gradients=np.array([20, 40]),
        forwards=None,
        passed=np.array([True, False]),
    )
    assert attribution.summary(given) == {
        "images": 2,
        "relative_completeness_p95": pytest.approx(0.475),
        "completeness_passed": 0.5,
        "steps_median": 30.0,
    }
