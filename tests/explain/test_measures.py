"""Measures that ask a network, on networks small enough for their closed forms."""

import numpy as np
import pytest
import torch
from torch import nn

from xnn import Classifier
from xnn.explain import measures

SIZE = 8
PIXELS = np.tile(np.arange(SIZE * SIZE).reshape(1, SIZE, SIZE), (2, 1, 1))  # every pixel a region
ROWS = np.tile(np.repeat(np.arange(SIZE), SIZE).reshape(1, SIZE, SIZE), (2, 1, 1))
TARGETS = torch.tensor([1, 1])


class Sum(nn.Module):
    """The evidence of two classes: minus and plus a weighted sum of grey values."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        total = (x.mean(1) * self.weight).flatten(1).sum(1)
        return torch.stack([-total, total], 1)


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


def contributions(model, images, fill):
    """What each pixel of a linear network adds where the image replaces the fill."""
    return ((images - measures.filled(images, fill))[:, 0] * model.weight).detach().numpy()


def curve(model, images, maps, targets, regions, fill="blur", shares=measures.SHARES):
    """The curves of one map."""
    given = {"own": maps}, targets, regions, measures.filled(images, fill), shares
    return measures.curves(model, images, *given)["own"]


def test_deletion_of_a_linear_network_is_known():
    model, images = Sum(torch.zeros(SIZE, SIZE)), torch.ones(1, 3, SIZE, SIZE)
    model.weight.data[0] = 1.0  # the first row, 8 of 64 pixels, holds everything
    images[:, :, 4:] = 0  # the mean grey is a half
    shares = np.array([0, 4, 8, 64]) / 64
    maps = contributions(model, images, "mean")
    found = curve(model, images, maps, TARGETS[:1], PIXELS[:1], "mean", shares)
    assert found.deletion[0] == pytest.approx(1 / (1 + np.exp(-np.array([8, 4 + 2, 4, 4]))))
    assert found.insertion[0] == pytest.approx(1 / (1 + np.exp(-np.array([4, 6, 8, 8]))))
    areas = found.areas()
    assert areas["deletion_auc"] == pytest.approx(np.trapezoid(found.deletion, shares))
    assert areas["insertion_auc"] > areas["deletion_auc"]


def test_regions_go_as_a_whole_and_grain_decides_nothing():
    model, images = Sum(torch.randn(SIZE, SIZE)), grey()
    maps = contributions(model, images, "mean")
    coarse = measures.scales.pooled(maps, ROWS)
    fine, same = (curve(model, images, each, TARGETS, ROWS, "mean") for each in (maps, coarse))
    assert fine.insertion == pytest.approx(same.insertion)


def test_the_endpoints_are_the_image_and_the_fill():
    model, images = Sum(torch.randn(SIZE, SIZE)), grey()
    found = curve(model, images, np.zeros((2, SIZE, SIZE)), TARGETS, ROWS)
    own = model(images)[:, 1].sigmoid().detach().numpy()
    assert found.insertion[:, -1] == pytest.approx(own, abs=1e-6)
    assert found.deletion[:, 0] == pytest.approx(own, abs=1e-6)
    assert found.insertion[:, 0] == pytest.approx(found.deletion[:, -1])
    assert found.shares[[0, -1]].tolist() == [0, 1]


def test_wrong_fills_and_shapes_are_refused():
    model, images = Sum(torch.ones(SIZE, SIZE)), grey()
    with pytest.raises(ValueError, match="choose blur or mean"):
        measures.filled(images, "white")
    with pytest.raises(ValueError, match="maps are"):
        curve(model, images, np.zeros((1, SIZE, SIZE)), TARGETS, ROWS)


@pytest.mark.parametrize("fill", measures.FILLS)
def test_what_a_linear_network_says_of_removals_is_known(fill):
    model, images = Sum(torch.randn(SIZE, SIZE)), grey()
    removed = measures.removals(model, images, TARGETS, ROWS, measures.filled(images, fill))
    maps = contributions(model, images, fill)
    assert removed.chosen.shape == (2, measures.DRAWS, SIZE)
    expected = (removed.chosen * measures.scales.sums(maps, ROWS)[:, None]).sum(2)
    assert removed.change == pytest.approx(expected, abs=1e-5)
    assert measures.removal_correlation(maps, ROWS, removed) == pytest.approx(1, abs=1e-6)
    assert measures.removal_correlation(-3 * maps, ROWS, removed) == pytest.approx(-1, abs=1e-6)
    assert measures.removal_correlation(0 * maps, ROWS, removed).tolist() == [0, 0]
    others = np.random.default_rng(3).normal(size=(50, *maps.shape))
    found = [measures.removal_correlation(each, ROWS, removed) for each in others]
    assert np.mean(found) == pytest.approx(0, abs=0.2), "chance"


def test_an_offset_that_no_map_explains_does_not_count():
    removed = measures.Removals(np.eye(4, dtype=bool)[None], np.array([[1.0, 2.0, 3.0, 4.0]]))
    shifted = removed._replace(change=removed.change + 100)
    area, one = np.arange(4).reshape(1, 2, 2), np.array([[[1.0, 2.0], [3.0, 4.0]]])
    for each in (removed, shifted):
        assert measures.removal_correlation(one, area, each) == pytest.approx(1)


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


def test_neither_a_random_map_nor_the_image_depends_on_what_was_learnt():
    model, images = Tiny().eval(), grey(4)
    rng = np.random.default_rng(0)
    targets = torch.tensor([1, 0, 1, 0])
    ways = {
        "random": lambda m, x, t: rng.normal(size=(len(x), SIZE, SIZE)),
        "image": lambda m, x, t: x.mean(1).numpy(),
    }
    given = model, images, targets
    found = {name: measures.dependence(way, *given, way(*given)) for name, way in ways.items()}
    assert found["image"]["repeated"].min() > 0.9
    assert found["image"]["randomised"].min() > 0.9, "nothing learnt changes nothing"
    assert found["random"]["repeated"].mean() < 0.6, "it does not repeat"


def test_correlation():
    one = np.random.default_rng(0).normal(size=(2, 30, 30))
    assert measures.correlation(one, 2 * one + 3) == pytest.approx(1)
    assert measures.correlation(one, -one) == pytest.approx(-1)
    assert measures.correlation(one, np.zeros_like(one)).tolist() == [0, 0]


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet18", "convnextv2"])
def test_every_backbone_can_be_randomised(backbone):
    config = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]} if backbone == "convnextv2" else None
    model = Classifier(backbone, ["a", "b", "c"], 32, backbone_config=config).eval()
    other = measures.randomised(model)
    logits = other(torch.rand(2, 3, 32, 32))
    assert torch.isfinite(logits).all()
    assert logits.std() > 1e-6, "a signal comes through"
