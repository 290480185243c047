"""Global response normalisation against its formula and that of transformers; diversity and rivalry."""

import pytest
import torch
from transformers.models.convnextv2.modeling_convnextv2 import ConvNextV2GRN

from demo import responses

FEATURES = torch.rand(2, 6, 5, 4, generator=torch.Generator().manual_seed(0))


def filled(layer, gamma, beta):
    torch.nn.init.constant_(layer.gamma if hasattr(layer, "gamma") else layer.weight, gamma)
    torch.nn.init.constant_(layer.beta if hasattr(layer, "beta") else layer.bias, beta)
    return layer


def test_it_is_the_formula():
    layer = filled(responses.Responses(6), 0.5, 0.25)
    norms = (FEATURES**2).sum(dim=(2, 3)).sqrt()
    relative = norms / norms.mean(dim=1, keepdim=True)
    wanted = 0.5 * relative[:, :, None, None] * FEATURES + 0.25 + FEATURES
    torch.testing.assert_close(layer(FEATURES), wanted)


def test_it_is_that_of_transformers():
    theirs = filled(ConvNextV2GRN(6), 0.5, 0.25)(FEATURES.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(filled(responses.Responses(6), 0.5, 0.25)(FEATURES), theirs)


def test_it_does_nothing_at_first():
    torch.testing.assert_close(responses.Responses(6)(FEATURES), FEATURES)


def test_diversity_is_none_of_copies_and_full_of_opposites():
    one = FEATURES[:1, :1]
    assert responses.diversity(one.expand(1, 4, -1, -1)).item() == pytest.approx(0, abs=1e-6)
    opposite = torch.cat([one, -one], dim=1)
    assert responses.diversity(opposite).item() == pytest.approx(
        0.5
    )  # half of the pairs are of one with itself
    layer = responses.Responses(6, gamma=1.0)
    torch.testing.assert_close(responses.diversity(layer(FEATURES)), responses.diversity(FEATURES))


def test_channels_compete_only_where_the_layer_does_something():
    still = responses.rivalry(responses.Responses(6), FEATURES[:1])
    torch.testing.assert_close(still, torch.eye(6))
    rates = responses.rivalry(responses.Responses(6, gamma=1.0), FEATURES[:1])
    assert (rates[~torch.eye(6, dtype=torch.bool)] < 0).all()
    torch.testing.assert_close(rates.sum(dim=1), torch.ones(6), atol=1e-5, rtol=0)  # all louder: no change
