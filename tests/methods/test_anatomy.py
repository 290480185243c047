"""Parameters and multiply-adds against closed forms and the numbers that everybody knows."""

import pytest
import torch
import torchvision
from torch import nn

from demo import anatomy, modernise


def test_a_convolution_costs_what_the_formula_says():
    full = anatomy.cost(nn.Conv2d(16, 24, 3, padding=1, bias=False), (16, 10, 12))
    assert full == (9 * 16 * 24, 9 * 16 * 24 * 120)
    strided = anatomy.cost(nn.Conv2d(16, 24, 5, stride=2, padding=2), (16, 10, 12))
    assert strided == (25 * 16 * 24 + 24, 25 * 16 * 24 * 30)


@pytest.mark.parametrize(("kernel", "entering", "leaving"), [(3, 16, 24), (5, 8, 64)])
def test_a_depthwise_separable_convolution_costs_what_the_formula_says(kernel, entering, leaving):
    depthwise = nn.Conv2d(entering, entering, kernel, padding="same", groups=entering, bias=False)
    pair = nn.Sequential(depthwise, nn.Conv2d(entering, leaving, 1, bias=False))
    parameters = kernel**2 * entering + entering * leaving
    assert anatomy.cost(pair, (entering, 7, 7)) == (parameters, parameters * 49)


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds"),
    [
        ("mobilenet_v2", 3_504_872, 300.8e6),
        ("resnet18", 11_689_512, 1.814e9),
        ("resnet50", 25_557_032, 4.089e9),
    ],
)
def test_known_networks_have_the_known_cost(name, parameters, multiply_adds):
    found = anatomy.cost(anatomy.outline(getattr(torchvision.models, name)))
    assert found.parameters == parameters
    assert found.multiply_adds == pytest.approx(multiply_adds, rel=1e-3)


def test_an_outline_counts_as_the_network_itself_does():
    network = torchvision.models.mobilenet_v2()
    shape = (3, 64, 64)
    assert anatomy.cost(network, shape) == anatomy.cost(
        anatomy.outline(torchvision.models.mobilenet_v2), shape
    )


def test_layers_add_up_to_the_network():
    network = anatomy.outline(torchvision.models.mobilenet_v2)
    table, whole = anatomy.layers(network), anatomy.cost(network)
    assert (table.parameters.sum(), table.multiply_adds.sum()) == whole
    first = table.iloc[0]
    assert (first.kind, first.output, first["values"]) == ("3 x 3 convolution", "32 x 112 x 112", 32 * 112**2)
    assert (table.kind == "3 x 3 convolution, depthwise").sum() == 17
    assert anatomy.layers(nn.Linear(4, 3), (4,)).multiply_adds.tolist() == [12]


@pytest.fixture(scope="module")
def ladder():
    return modernise.ladder().set_index("step")


class TestLadder:
    def test_it_starts_at_resnet_50_and_passes_convnext(self, ladder):
        for step, name in {"ResNet-50": "resnet50", "LayerScale: ConvNeXt-T": "convnext_tiny"}.items():
            known = anatomy.cost(anatomy.outline(getattr(torchvision.models, name)))
            assert tuple(ladder.loc[step]) == known

    def test_it_ends_at_convnextv2(self, ladder):
        from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

        config = ConvNextV2Config(num_labels=1000)  # tiny, by default
        known = anatomy.cost(anatomy.outline(ConvNextV2ForImageClassification, config))
        assert tuple(ladder.iloc[-1]) == known
        assert known.parameters == 28_635_496

    def test_every_step_computes(self):
        design = modernise.Design()
        for changes in modernise.STEPS.values():
            design = design._replace(**changes)
            small = design._replace(depths=(1, 1, 1, 1), width=8)
            assert modernise.network(small, classes=5)(torch.zeros(2, 3, 64, 64)).shape == (2, 5)
