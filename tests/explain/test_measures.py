"""Measures that ask a network, on networks small enough for their closed forms."""

import numpy as np
import pytest
import torch
from torch import nn

from xnn import Classifier
from xnn.explain import measures

SIZE = 8
METHODS = {"blank": lambda m, x, t: np.zeros((len(x), *x.shape[-2:]), np.float32)}


class Sum(nn.Module):
    """Two logits, 0 and a weighted sum of grey values: the probability is a sigmoid of the sum."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        total = (x.mean(1) * self.weight).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(total), total], 1)


class Tiny(nn.Module):
    """A backbone of two blocks and a head, as a Classifier has them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.head = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(4 * SIZE * SIZE, 2))

    def forward(self, x):
        return self.head(self.backbone(x))


def grey(count=2, seed=0):
    images = torch.rand(count, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    return images.expand(-1, 3, -1, -1)


def linear_map(model, images, targets):
    """Input times gradient, exact for Sum."""
    return (images.mean(1) * model.weight).detach().numpy()


def test_deletion_of_a_linear_network_is_known():
    model, images = Sum(torch.zeros(SIZE, SIZE)), torch.ones(1, 3, SIZE, SIZE)
    model.weight.data[0] = 1.0  # the first row, 8 of 64 pixels, holds everything
    images[:, :, 4:] = 0  # the mean grey is a half
    targets = torch.tensor([1])
    shares = np.array([0, 4, 8, 64]) / 64
    found = measures.curves(model, images, linear_map(model, images, targets), targets, "mean", shares)
    sums = np.array([8, 4 + 2, 4, 4])  # of the first row, ones replaced by halves
    assert found.deletion[0] == pytest.approx(1 / (1 + np.exp(-sums)))
    assert found.insertion[0] == pytest.approx(1 / (1 + np.exp(-np.array([4, 6, 8, 8]))))
    areas = found.areas()
    assert areas["deletion_auc"] == pytest.approx(np.trapezoid(found.deletion, shares))
    assert areas["insertion_auc"] > areas["deletion_auc"]


def test_the_endpoints_are_the_image_and_the_fill():
    model, images, targets = Sum(torch.randn(SIZE, SIZE)), grey(), torch.tensor([1, 0])
    found = measures.curves(model, images, np.zeros((2, SIZE, SIZE)), targets)
    own = model(images).softmax(1)[[0, 1], targets].detach().numpy()
    assert found.insertion[:, -1] == pytest.approx(own, abs=1e-6)
    assert found.deletion[:, 0] == pytest.approx(own, abs=1e-6)
    assert found.insertion[:, 0] == pytest.approx(found.deletion[:, -1])
    assert found.shares[[0, -1]].tolist() == [0, 1]


def test_ties_are_taken_in_random_order_and_the_same_one_every_time():
    blank = np.zeros((2, SIZE, SIZE))
    ranks = measures._ranks(blank, seed=0)
    assert np.array_equal(ranks, measures._ranks(blank, seed=0))
    assert np.array_equal(np.sort(ranks[0].ravel()), np.arange(SIZE**2) / SIZE**2)
    assert not np.array_equal(ranks[0].ravel(), np.sort(ranks[0].ravel()))


def test_wrong_fills_and_shapes_are_refused():
    model, images, targets = Sum(torch.ones(SIZE, SIZE)), grey(), torch.tensor([1, 1])
    with pytest.raises(ValueError, match="choose blur or mean"):
        measures.curves(model, images, np.zeros((2, SIZE, SIZE)), targets, "white")
    with pytest.raises(ValueError, match="maps are"):
        measures.curves(model, images, np.zeros((1, SIZE, SIZE)), targets)


def test_infidelity_is_nothing_for_the_gradient_of_a_linear_network():
    model, images, targets = Sum(torch.randn(SIZE, SIZE)), grey(), torch.tensor([1, 1])
    exact = model.weight.detach().expand(2, -1, -1).numpy()
    assert measures.infidelity(model, images, exact, targets) == pytest.approx(0, abs=1e-6)
    assert measures.infidelity(model, images, 7 * exact, targets) == pytest.approx(0, abs=1e-6)
    assert measures.infidelity(model, images, 0 * exact, targets) == pytest.approx(1)
    other = np.random.default_rng(0).normal(size=exact.shape).astype(np.float32)
    assert (measures.infidelity(model, images, other, targets) > 0.3).all()


def test_sensitivity():
    model, images, targets = Sum(torch.randn(SIZE, SIZE)), grey(), torch.tensor([1, 1])

    def gradient(model, x, t):
        return model.weight.detach().expand(len(x), -1, -1).numpy()

    assert measures.sensitivity(gradient, model, images, targets) == pytest.approx(0)
    assert measures.sensitivity(METHODS["blank"], model, images, targets) == pytest.approx(0)
    moved = measures.sensitivity(linear_map, model, images, targets)
    assert ((moved > 0) & (moved < 0.1)).all()
    known = linear_map(model, images, targets)
    assert measures.sensitivity(linear_map, model, images, targets, known) == pytest.approx(moved)


def test_randomisation_goes_from_the_head_down():
    model = Tiny().eval()
    head, half, whole = (measures.randomised(model, depth) for depth in (0.0, 0.5, 1.0))
    assert torch.equal(head.backbone[0].weight, model.backbone[0].weight)
    assert not torch.equal(head.head[2].weight, model.head[2].weight)
    assert torch.equal(half.backbone[0].weight, model.backbone[0].weight)
    assert not torch.equal(whole.backbone[0].weight, model.backbone[0].weight)
    assert (whole.head[2].bias == 0).all()
    again = measures.randomised(model, 1.0)
    assert torch.equal(whole.backbone[0].weight, again.backbone[0].weight)


def test_a_map_of_the_image_alone_survives_randomisation():
    model, images, targets = Tiny().eval(), grey(), torch.tensor([1, 0])

    def brightness(model, x, t):
        return x.mean(1).numpy()

    own = brightness(model, images, targets)
    assert measures.randomisation(brightness, model, images, targets, own) == pytest.approx(1)
    blank = METHODS["blank"](model, images, targets)
    assert measures.randomisation(METHODS["blank"], model, images, targets, blank) == pytest.approx(0)


def test_the_cascade_tells_the_factor_from_the_network():
    model, images = Tiny().eval(), grey(4)
    targets = torch.tensor([1, 0, 1, 0])
    found = measures.cascade(model, images, targets, torch.zeros(1, 3, SIZE, SIZE), depths=(0.0, 1.0))
    assert list(found) == [
        "with x - x', signed",
        "without, signed",
        "with x - x', absolute",
        "without, absolute",
    ]
    assert all(values.shape == (2, 4) for values in found.values())
    assert abs(found["without, signed"][1].mean()) < 0.4
    assert found["with x - x', absolute"][1].mean() > found["without, absolute"][1].mean()


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet18", "convnextv2"])
def test_every_backbone_can_be_randomised(backbone):
    config = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]} if backbone == "convnextv2" else None
    model = Classifier(backbone, ["a", "b", "c"], 32, backbone_config=config).eval()
    other = measures.randomised(model)
    logits = other(torch.rand(2, 3, 32, 32))
    assert torch.isfinite(logits).all()
    assert logits.std() > 1e-6, "a signal comes through"
