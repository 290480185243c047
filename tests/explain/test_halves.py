import numpy as np
import pytest
import torch

from support.samples import CLASSES
from xnn import Classifier
from xnn.explain.halves import Halves
from xnn.explain.integrated import evaluate, integrated_gradients
from xnn.explain.target import Evidence


@pytest.fixture(scope="module")
def evidence():
    torch.manual_seed(0)
    return Evidence(Classifier("mobilenet_v2", CLASSES, 32).eval(), flip=True)


@pytest.fixture
def images():
    return torch.rand(3, 3, 32, 32, generator=torch.manual_seed(1))


def test_value_and_gradient_are_those_of_the_evidence(evidence, images):
    targets = torch.tensor([0, 1, 2])
    expected = evaluate(evidence, images, targets)
    for part, same in zip(evaluate(Halves(evidence.network), images, targets), expected, strict=True):
        assert same.abs().max() > 0
        torch.testing.assert_close(part, same, rtol=1e-4, atol=1e-6)


def test_integrated_gradients_are_those_of_the_evidence(evidence, images):
    targets = torch.tensor([0, 1, 2])
    found, expected = (
        integrated_gradients(model, images, targets) for model in (Halves(evidence.network), evidence)
    )
    assert found.gradients.tolist() == expected.gradients.tolist()
    np.testing.assert_allclose(found.maps, expected.maps, rtol=1e-3, atol=1e-6)


def test_an_error_in_either_thread_is_raised(evidence, images, monkeypatch):
    monkeypatch.setattr(evidence.network, "forward", lambda images: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Halves(evidence.network)(images)
