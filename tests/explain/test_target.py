"""What is explained: log-odds of the run's own answers."""

import pytest
import torch

from xnn import Classifier
from xnn.explain import methods, target

CLASSES = ["bacteria", "normal", "virus"]


@pytest.fixture(params=["mobilenet_v2", "resnet18", "convnextv2"])
def network(request):
    torch.manual_seed(0)
    config = (
        {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]} if request.param == "convnextv2" else None
    )
    made = Classifier(request.param, CLASSES, 32, backbone_config=config)
    made.train()(torch.rand(8, 3, 32, 32))  # norm layers see other means than 0
    return made.eval()


def images(count=3):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_log_odds_are_those_of_the_softmax():
    logits = torch.randn(5, 3, dtype=torch.float64)
    p = logits.softmax(1)
    torch.testing.assert_close(target.log_odds(logits), (p / (1 - p)).log())
    two = torch.tensor([[1.0, 3.0]])
    assert target.log_odds(two).tolist() == [[-2, 2]]


def test_it_is_the_network_with_faster_layers(network):
    with torch.no_grad():
        expected = network(images())
        found = target.Evidence(network, "logit")(images())
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert any(p.requires_grad for p in network.parameters()), "the network itself is as it was"


def test_a_mirrored_run_explains_the_mean_of_both_views(network):
    evidence = target.Evidence(network, flip=True)
    with torch.no_grad():
        expected = target.log_odds((network(images()) + network(images().flip(-1))) / 2)
        torch.testing.assert_close(evidence(images()), expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(evidence(images()), evidence(images().flip(-1)), atol=1e-4, rtol=1e-4)


def test_grad_cam_of_a_mirrored_run_is_mirrored_with_the_image(network):
    evidence, classes = target.Evidence(network, flip=True), torch.tensor([0, 1, 2])
    one = methods.grad_cam(evidence, images(), classes)
    other = methods.grad_cam(evidence, images().flip(-1), classes)
    assert one.shape == (3, 32, 32)
    assert one == pytest.approx(other[..., ::-1], abs=1e-5)
