import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from torch import nn

from demo import fixed
from xnn import integrated_gradients
from xnn.explain import integrated

NOTHING = torch.zeros(1, 3, 6, 6)


class Linear(nn.Module):
    """Logits linear in the pixels: Integrated Gradients have the closed form w * (x - x')."""

    def __init__(self, size=6):
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(3, 3, size, size))

    def forward(self, x):
        return torch.einsum("nchw,kchw->nk", x, self.weight)


class Of(nn.Module):
    """Logits from a function of the images (N, 3 * H * W); the second is the negative of the first."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        total = self.function(x.flatten(1))
        return torch.stack([total, -total], 1)


SQUARES = Of(lambda x: (x**2).sum(1))
SATURATED = Of(lambda x: 1 - torch.relu(1 - 2 * x[:, 0]))  # Sundararajan et al. 2017, section 2.1
STEP = Of(lambda x: 5 * torch.sigmoid(400 * (x.mean(1) - 0.123)))  # jumps along the path


def images(count=4, size=6):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def network(smooth=False):
    """A small network with random weights, strongly curved along the paths."""
    torch.manual_seed(2)
    act = nn.GELU if smooth else nn.ReLU6
    body = [nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), act(), nn.Conv2d(12, 12, 3, padding=1), act()]
    model = nn.Sequential(*body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 3))
    for layer in body:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=1)
    return model


SCHEMES = {
    "adaptive": integrated_gradients,
    "uniform": lambda *given: fixed.uniform(*given, 20),
    "non-uniform": lambda *given: fixed.non_uniform(*given, 20),
}


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_a_linear_network_has_its_closed_form(scheme):
    model, base, targets = Linear(), torch.rand(1, 3, 6, 6), torch.tensor([0, 1, 2, 1])
    found = scheme(model, images(), targets, base)
    wanted = model.weight[targets].detach() * (images() - base)
    assert found.maps == pytest.approx(wanted.sum(1).numpy(), abs=1e-5)
    assert found.averaged == pytest.approx(model.weight[targets].sum(1).detach().numpy(), abs=1e-5)
    assert found.passed.all()
    assert found.local_gap == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_squares_have_their_closed_form(scheme):
    found = scheme(SQUARES, images(), torch.zeros(4).long(), NOTHING)
    assert found.maps == pytest.approx((images() ** 2).sum(1).numpy(), abs=1e-5)
    assert found.difference == pytest.approx((images() ** 2).sum((1, 2, 3)).numpy(), rel=1e-5)
    assert found.maps.dtype == found.averaged.dtype == np.float32


def test_a_linear_network_takes_no_more_than_the_first_points():
    found = integrated_gradients(Linear(), images(), torch.zeros(4).long(), NOTHING)
    assert (found.gradients == integrated.SEGMENTS + 1).all()


@pytest.mark.parametrize("smooth", [False, True], ids=["ReLU6", "GELU"])
def test_attributions_are_complete(smooth):
    model, targets = network(smooth), torch.tensor([0, 1, 2, 0])
    found = integrated_gradients(model, images(), targets, NOTHING, 1e-3, 5000)
    with torch.no_grad():
        logits = (model(images()) - model(NOTHING)).gather(1, targets[:, None])[:, 0].numpy()
    assert found.passed.all()
    assert found.difference == pytest.approx(logits, abs=1e-5)
    assert found.maps.sum((1, 2)) == pytest.approx(logits, rel=1.1e-3, abs=1.1e-4)


@pytest.mark.parametrize("smooth", [False, True], ids=["ReLU6", "GELU"])
def test_attributions_equal_a_very_fine_integral(smooth):
    model, targets = network(smooth), torch.tensor([0, 1, 2, 0])
    found = integrated_gradients(model, images(), targets, NOTHING, 1e-5, 5000)
    fine = fixed.uniform(model, images(), targets, NOTHING, 1000)
    error = np.abs(found.maps - fine.maps).sum((1, 2)) / np.abs(fine.maps).sum((1, 2))
    assert (error < 0.01).all()


def test_a_saturated_feature_has_its_attribution_where_the_gradient_has_none():
    image = torch.zeros(1, 3, 6, 6)
    image[0, 0, 0, 0] = 0.9
    image.requires_grad_()
    SATURATED(image)[0, 0].backward()
    assert image.grad.abs().sum() == 0
    found = integrated_gradients(SATURATED, image, torch.tensor([0]), NOTHING)
    assert found.maps[0, 0, 0] == pytest.approx(1, rel=0.01)
    assert np.abs(found.maps).sum() == pytest.approx(1, rel=0.01)


def test_networks_that_are_one_function_have_one_map():
    targets = torch.zeros(4).long()
    one = Of(lambda x: torch.relu(x.sum(1) - 20))
    other = Of(lambda x: torch.maximum(2 * x.sum(1) - 40, torch.zeros(())) / 2)
    maps = [integrated_gradients(each, images(), targets, NOTHING).maps for each in (one, other)]
    assert maps[0] == pytest.approx(maps[1], abs=1e-6)


def test_pixels_that_the_function_takes_alike_have_like_attributions():
    image = images(1)
    image[0, :, 2, 3] = image[0, :, 4, 1]
    symmetric = Of(lambda x: torch.tanh(x.mean(1) * 3) + (x**3).sum(1))
    found = integrated_gradients(symmetric, image, torch.tensor([0]), NOTHING)
    assert found.maps[0, 2, 3] == pytest.approx(found.maps[0, 4, 1], rel=1e-5)


def test_uniform_steps_are_captums():
    model, targets = network().eval(), torch.tensor([0, 1, 2, 0])
    base = torch.rand(4, 3, 6, 6)
    wanted, delta = IntegratedGradients(model).attribute(
        images(), base, target=targets, n_steps=40, return_convergence_delta=True
    )
    found = fixed.uniform(model, images(), targets, base, 40, tolerance=0.05)
    assert found.maps == pytest.approx(wanted.sum(1).numpy(), abs=1e-5)
    size = np.maximum(np.abs(found.difference), integrated.MIN_DIFFERENCE)
    assert found.gap == pytest.approx(delta.abs().numpy() / size, abs=1e-5)
    assert (found.passed == (found.gap <= 0.05)).all()
    assert (found.gradients == 40).all()


def test_the_internal_batch_has_no_effect_on_uniform_steps():
    model, targets = network(), torch.tensor([0, 1, 2, 0])
    small, large = (fixed.uniform(model, images(), targets, NOTHING, 30, batch=n) for n in (4, 64))
    assert small.maps == pytest.approx(large.maps, abs=1e-5)


def test_non_uniform_steps_are_where_the_logit_changes():
    assert fixed._allot(np.array([0.0, 3.0, 1.0, 0.0]), 12).tolist() == [1, 7, 3, 1]
    assert fixed._allot(np.zeros(4), 8).tolist() == [2, 2, 2, 2]
    given = STEP, images(2), torch.zeros(2).long(), NOTHING
    assert (fixed.non_uniform(*given, 40).gap < fixed.uniform(*given, 40).gap).all()
    with pytest.raises(ValueError, match="4 steps for 8 intervals"):
        fixed.non_uniform(*given, 4)


def test_steep_places_are_found():
    given = STEP, images(2), torch.zeros(2).long(), NOTHING
    found = integrated_gradients(*given)
    assert found.passed.all()
    assert (found.gradients < 100).all()
    assert not fixed.uniform(*given, 100).passed.any()


@pytest.mark.parametrize("smooth", [False, True], ids=["ReLU6", "GELU"])
def test_an_image_has_the_same_map_alone_and_among_others(smooth):
    model, many, targets = network(smooth), images(11), torch.arange(11) % 3
    together = integrated_gradients(model, many, targets, NOTHING)
    for n in (0, 7, 10):
        alone = integrated_gradients(model, many[[n]], targets[[n]], NOTHING)
        assert alone.maps[0] == pytest.approx(together.maps[n], abs=1e-5)
        assert alone.gradients[0] == together.gradients[n]


@pytest.mark.parametrize("cap", [9, 12, 57])
def test_the_cap_is_honoured_and_its_gap_is_that_of_the_map(cap):
    found = integrated_gradients(network(), images(), torch.zeros(4).long(), NOTHING, 1e-9, cap)
    assert not found.passed.any()
    assert (found.gradients == cap).all()
    missing = np.abs(found.maps.sum((1, 2), dtype=float) - found.difference)
    size = np.maximum(np.abs(found.difference), integrated.MIN_DIFFERENCE)
    assert found.gap == pytest.approx(missing / size, abs=1e-5)


def test_the_best_map_is_kept_where_more_points_are_worse():
    path = integrated._Path(0.1, 0, 10)
    ones = torch.ones(2, 1, 1)
    path.wanted = np.array([0.0, 1.0])
    path.add(np.array([0.0, 1.1]), ones, 2 * ones)
    assert path.wanted.tolist() == [0.5]
    path.add(np.array([0.2]), 9 * ones[:1], ones[:1])
    best = path.result()
    assert (best.maps, best.averaged, best.gradients) == (1, 2, 3)
    assert best.gap == pytest.approx(0.1 / 1.1)
    assert best.passed


def test_a_sum_that_is_right_by_chance_is_refined():
    wave = Of(lambda x: x.mean(1) + 0.2 * torch.sin(40 * x.mean(1)))
    given = wave, torch.full((1, 3, 6, 6), 0.9), torch.tensor([0]), NOTHING, 0.01, 1000
    either, both = (integrated_gradients(*given, local) for local in (np.inf, 0.1))
    assert either.passed.all()
    assert both.passed.all()
    assert either.local_gap[0] > 0.1 >= both.local_gap[0]
    assert both.gradients[0] > either.gradients[0]


def test_nothing_is_computed_in_less_than_float32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    allowed = []
    model = Of(lambda x: allowed.append(torch.backends.cudnn.allow_tf32) or x.sum(1))
    for scheme in SCHEMES.values():
        scheme(model, images(1), torch.tensor([0]), NOTHING)
    assert allowed
    assert not any(allowed)
    assert torch.backends.cudnn.allow_tf32


def test_the_local_gap_cannot_cancel():
    for scheme in SCHEMES.values():
        found = scheme(network(), images(), torch.tensor([0, 1, 2, 0]), NOTHING)
        assert (found.local_gap >= found.gap - 1e-9).all()


def test_an_image_equal_to_its_baseline_has_no_attribution():
    found = integrated_gradients(network(), NOTHING, torch.tensor([0]), NOTHING)
    assert (found.maps == 0).all()
    assert found.passed.all()
    assert np.isfinite(found.averaged).all()


def test_a_small_difference_counts_as_the_smallest_one():
    found = integrated_gradients(Of(lambda x: 1e-4 * (x**3).sum(1)), images(1), torch.tensor([0]), NOTHING)
    assert found.gap[0] < 0.01 * found.difference[0] / integrated.MIN_DIFFERENCE


def test_expected_gradients_are_the_mean_over_baselines():
    model, targets, bases = network(), torch.tensor([0, 1, 2, 0]), torch.rand(1, 3, 3, 6, 6)
    found = integrated_gradients(model, images(), targets, bases)
    each = [integrated_gradients(model, images(), targets, bases[:, k], 0.01, 333) for k in range(3)]
    for field in ("maps", "averaged", "difference"):
        mean = np.mean([getattr(one, field) for one in each], axis=0)
        assert getattr(found, field) == pytest.approx(mean, abs=1e-5)
    missing = np.abs(found.maps.sum((1, 2)) - found.difference)
    assert found.gap == pytest.approx(missing / np.maximum(np.abs(found.difference), 0.1), abs=1e-4)
    assert (found.gradients == sum(one.gradients for one in each)).all()


def test_what_cannot_be_explained_is_an_error():
    nobody = torch.zeros(0).long()
    with pytest.raises(ValueError, match="no image"):
        integrated_gradients(SQUARES, images(0), nobody, NOTHING)
    with pytest.raises(ValueError, match="at least 2"):
        integrated_gradients(SQUARES, images(1), torch.tensor([0]), NOTHING, max_gradients=1)
    with pytest.raises(ValueError, match="not finite"):
        integrated_gradients(Of(lambda x: torch.log(x.sum(1) - 5)), images(1), torch.tensor([0]), NOTHING)


def test_summary_counts_what_passed():
    given = integrated.Attribution(
        maps=None,
        averaged=None,
        gap=np.array([0.0, 0.5]),
        local_gap=None,
        difference=None,
        gradients=np.array([20, 40]),
        passed=np.array([True, False]),
    )
    assert given.summary() == {
        "images": 2,
        "relative_completeness_p95": pytest.approx(0.475),
        "completeness_passed": 0.5,
        "steps_median": 30.0,
    }
