import numpy as np
import pytest
import torch
from torch import nn

from xnn import Classifier
from xnn.explain import methods
from xnn.explain.methods import METHODS, attributions

TINY = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]}
BACKBONES = {"mobilenet_v2": {}, "resnet18": {}, "resnet50": {}, "convnextv2": TINY}


def classifier(backbone="convnextv2", size=32):
    torch.manual_seed(0)
    model = Classifier(backbone, ["a", "b", "c"], size, backbone_config=BACKBONES[backbone])
    return model.eval()


def images(count=2, size=32):
    grey = torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(1))
    return grey.expand(-1, 3, -1, -1)


@pytest.fixture(scope="module", params=BACKBONES)
def model(request):
    return classifier(request.param)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A random deep network may need a thousand gradients; that is tested elsewhere, as are long paths."""
    monkeypatch.setattr(methods, "STEPS", 4)
    monkeypatch.setitem(methods.SMOOTHGRAD, "n_steps", 2)
    real = methods.integrated_gradients
    monkeypatch.setattr(methods, "integrated_gradients", lambda *given: real(*given, 0.05, 20))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_explains_every_backbone(model, name):
    found = attributions(name, model, images(), torch.tensor([0, 2]), seed=3)
    assert found.maps.shape == (2, 32, 32)
    assert found.maps.dtype == np.float32
    assert np.isfinite(found.maps).all()
    assert found.images_per_second > 0
    again = METHODS[name](model, images(), torch.tensor([0, 2]), None, 3)
    assert again == pytest.approx(found.maps, abs=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_maps_have_the_size_of_the_image_not_of_the_network(name):
    maps = METHODS[name](classifier(), images(size=48), torch.tensor([0, 1]))
    assert maps.shape == (2, 48, 48)


@pytest.mark.parametrize("name", METHODS)
def test_a_blank_image_and_frozen_weights_are_explained(name):
    model = classifier().requires_grad_(False)
    maps = METHODS[name](model, torch.zeros(1, 3, 32, 32), torch.tensor([1]))
    assert np.isfinite(maps).all()


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"random"}))
def test_an_image_has_the_same_map_alone_and_among_others(name):
    model, many, targets = classifier("resnet18"), images(3), torch.tensor([0, 1, 2])
    together = METHODS[name](model, many, targets, torch.full_like(many, 0.2))
    alone = METHODS[name](model, many[[2]], targets[[2]], torch.full_like(many[:1], 0.2))
    assert alone[0] == pytest.approx(together[2], abs=1e-5 * max(1.0, float(np.abs(alone).max())))


def test_hooks_and_modes_are_left_as_they_were():
    model = classifier("resnet18")
    state = torch.random.get_rng_state()
    for method in METHODS.values():
        method(model, images(1), torch.tensor([0]))
    assert not any(m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in model.modules())
    assert (torch.random.get_rng_state() == state).all()
    assert all(p.grad is None for p in model.parameters())


class Linear(nn.Module):
    """Logit k is the sum of the grey values, k + 1 times that of the upper left quarter."""

    def forward(self, x):
        quarter = x[..., :16, :16].sum((1, 2, 3))
        return torch.stack([x.sum((1, 2, 3)) + k * quarter for k in range(3)], 1)


def test_methods_of_a_linear_network():
    model, targets, given = Linear(), torch.tensor([0, 1]), images()
    weight = np.full((2, 32, 32), 3.0)
    weight[1, :16, :16] = 6
    grey = given[:, 0].numpy()
    for name in ("gradient", "saliency", "averaged_gradients"):
        assert METHODS[name](model, given, targets) == pytest.approx(weight, rel=1e-5)
    for name in ("gradient_x_input", "integrated_gradients"):
        assert METHODS[name](model, given, targets) == pytest.approx(weight * grey, rel=1e-4)
    assert METHODS["smoothgrad_ig"](model, given, targets) == pytest.approx(weight * grey, abs=2)


def test_occlusion_is_what_the_logit_loses():
    given = torch.zeros(1, 3, 32, 32)
    given[0, :, 8:12, 8:12] = 1
    found = METHODS["occlusion"](Linear(), given, torch.tensor([0]))[0]
    assert found[9, 9] > 0
    assert (found[20:, :] == 0).all()
    same = METHODS["occlusion"](Linear(), given, torch.tensor([0]), given)
    assert (same == 0).all()


def test_grad_cam_is_coarse_and_not_negative():
    found = METHODS["grad_cam"](classifier("resnet18", 64), images(size=64), torch.tensor([0, 1]))
    assert (found >= 0).all()
    assert np.abs(np.diff(found, axis=2)).max() < 0.5 * max(found.max(), 1e-9)


def test_the_random_control_is_seeded():
    given = None, images(), torch.tensor([0, 1]), None
    assert (METHODS["random"](*given, 1) == METHODS["random"](*given, 1)).all()
    assert not (METHODS["random"](*given, 1) == METHODS["random"](*given, 2)).any()


def test_sobel_sees_edges_and_nothing_else():
    given = torch.zeros(2, 3, 32, 32)
    given[0] = 0.7
    given[1, :, :, 16:] = 1
    flat, edge = METHODS["sobel"](None, given, torch.tensor([0, 0]))
    assert (flat == 0).all()
    assert (edge[:, 15:17] > 0).all()
    assert (edge[:, :15] == 0).all()


def test_what_cannot_be_explained_is_an_error():
    with pytest.raises(ValueError, match=r"choose integrated_gradients, .* sobel"):
        attributions("lime", Linear(), images(), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="no image"):
        attributions("sobel", Linear(), images(0), torch.zeros(0).long())
