import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from xnn import attribution, baseline, integrated_gradients

CLASSES = ["bacteria", "normal", "virus"]


class Linear(nn.Module):
    """Logits linear in the pixels: Integrated Gradients have the closed form w * (x - x')."""

    def __init__(self, size=6):
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(3, 3, size, size))

    def forward(self, x):
        return torch.einsum("nchw,kchw->nk", x, self.weight)


class Squares(nn.Module):
    """Logit 0 is the sum of squared pixels: attributions of a black baseline are x squared."""

    def forward(self, x):
        total = (x**2).flatten(1).sum(1)
        return torch.stack([total, -total], 1)


class Step(nn.Module):
    """A logit that jumps along the path: a fixed number of steps cannot be complete."""

    def forward(self, x):
        total = torch.sigmoid(400 * (x.flatten(1).mean(1) - 0.123)) * 5
        return torch.stack([total, -total], 1)


def test_a_linear_network_has_its_closed_form():
    model, images = Linear(), torch.rand(4, 3, 6, 6)
    base = torch.rand(1, 3, 6, 6)
    targets = torch.tensor([0, 1, 2, 1])
    found = integrated_gradients(model, images, targets, base)
    wanted = ((images - base) * model.weight[targets]).sum(1)
    assert found.maps == pytest.approx(wanted.detach().numpy(), abs=1e-5)
    assert found.passed.all()
    assert (found.steps == attribution.FIRST_STEPS).all()


def test_squares_have_their_closed_form():
    images = torch.rand(2, 3, 5, 5)
    found = integrated_gradients(Squares(), images, torch.tensor([0, 0]), torch.zeros(1, 3, 5, 5))
    assert found.maps == pytest.approx((images**2).sum(1).numpy(), abs=1e-5)
    assert found.difference == pytest.approx((images**2).sum((1, 2, 3)).numpy(), rel=1e-5)


def test_steps_are_doubled_until_the_sum_is_right():
    images = torch.full((1, 3, 4, 4), 0.9)
    found = integrated_gradients(Step(), images, torch.tensor([0]), torch.zeros(1, 3, 4, 4), 0.01, 2560)
    assert found.passed.all()
    assert found.steps[0] > attribution.FIRST_STEPS
    assert found.maps.sum() == pytest.approx(found.difference[0], rel=0.01)


def test_the_cap_keeps_the_best_map_and_says_that_it_failed():
    images = torch.full((1, 3, 4, 4), 0.9)
    found = integrated_gradients(Step(), images, torch.tensor([0]), torch.zeros(1, 3, 4, 4), 1e-9, 20)
    assert not found.passed.any()
    assert np.isfinite(found.gap).all()
    assert found.steps[0] == 20


def test_an_image_equal_to_its_baseline_has_no_attribution():
    images = torch.full((1, 3, 4, 4), 0.5)
    found = integrated_gradients(Squares(), images, torch.tensor([0]), images)
    assert (found.maps == 0).all()
    assert found.passed.all()


def test_no_image_is_an_error():
    with pytest.raises(ValueError, match="no image"):
        integrated_gradients(
            Squares(), torch.zeros(0, 3, 4, 4), torch.zeros(0).long(), torch.zeros(1, 3, 4, 4)
        )


def test_baselines():
    images = torch.rand(2, 3, 32, 32)
    assert (baseline("black", images) == 0).all()
    mean = baseline("mean", images, np.full((32, 32), 0.25, np.float32))
    assert mean.shape == (1, 3, 32, 32)
    assert (mean == 0.25).all()
    blurred = baseline("blur", images)
    assert blurred.shape == images.shape
    assert blurred.std() < images.std() / 3
    with pytest.raises(ValueError, match="choose black, mean or blur"):
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
    given = attribution.Attribution(
        None, np.array([0.0, 0.5]), None, np.array([20, 40]), np.array([True, False])
    )
    assert attribution.summary(given) == {
        "images": 2,
        "relative_completeness_p95": pytest.approx(0.475),
        "completeness_passed": 0.5,
        "steps_median": 30.0,
    }
