"""The small experiments of the pages on methods: chains, the loss of a ReLU, decay."""

import numpy as np
import pytest
import torch
from torch import nn

from demo import bottleneck, decay, saturation, toys


def test_phantoms_come_with_masks_and_classes_in_turn():
    drawn = toys.phantoms(4, 32, seed=0)
    assert drawn.images.shape == drawn.masks.shape == (4, 32, 32)
    assert drawn.labels.tolist() == [0, 1, 0, 1]
    assert drawn.masks.any(axis=(1, 2)).tolist() == [False, True, False, True]


def test_plain_and_residual_chains_have_the_same_parameters():
    plain, residual = (toys.chain(8, kind, seed=0) for kind in (False, True))
    sizes = [sum(p.numel() for p in network.parameters()) for network in (plain, residual)]
    assert sizes[0] == sizes[1]
    assert sum(isinstance(m, nn.Linear) for m in plain.modules()) == 8


def test_a_residual_pair_passes_on_its_input_while_its_layers_give_nothing():
    pair = toys.Pair(4, residual=True)
    nn.init.zeros_(pair.body[-1].weight)
    inputs = torch.rand(8, 4)
    torch.testing.assert_close(pair(inputs), inputs)


def test_a_chain_learns_and_its_gradients_are_told():
    (row,) = [each for each in toys.degradation([4], [0], steps=40) if each["residual"]]
    assert np.mean(row["losses"][-5:]) < np.mean(row["losses"][:5]) / 2
    inputs, targets = toys.digits()
    norms = toys.gradient_norms(row["network"], inputs[:64], targets[:64])
    assert len(norms) == 2
    assert norms[-1] == 1
    whole, without = toys.without_each(row["network"], inputs, targets)
    assert whole > without
    alike = toys.likeness(toys.chain(4, False, 0), inputs[:64], [0.0, 1.0])
    assert alike[0] == pytest.approx(1)
    assert alike[1] < 0.9


def test_the_loss_of_a_relu_is_counted_as_the_formula_says():
    for dimensions, width in ((2, 2), (2, 5), (8, 16)):
        counted = bottleneck.lost(dimensions, width, seed=0, matrices=400)
        assert counted == pytest.approx(bottleneck.lost_by_formula(dimensions, width), abs=0.02)
    assert bottleneck.lost_by_formula(2, 2) == pytest.approx(0.75)


def test_a_wide_relu_leaves_the_spiral_in_one_piece():
    spiral = bottleneck.spiral()
    narrow, wide = (
        np.mean(
            [
                1 - abs(np.corrcoef(spiral[:, 0], bottleneck.through_relu(spiral, n, seed)[:, 0])[0, 1])
                for seed in range(20)
            ]
        )
        for n in (2, 60)
    )
    assert wide < narrow / 2


def test_decay_is_alike_for_all_weights_under_adamw_only():
    table = decay.pulled([0.01, 100.0], steps=200, rate=1e-3, decay=0.1, seed=0)
    wanted = (1 - 1e-4) ** 200
    for name in ("SGD, L2", "AdamW", "decay alone"):
        assert table[name].tolist() == pytest.approx([wanted] * 2, abs=1e-3)
    assert table["Adam, L2"].iloc[0] < wanted - 0.05
    assert table["Adam, L2"].iloc[1] > wanted + 0.01
    step = decay.first_step(1.0, 10.0, rate=0.01, decay=0.1)["of decay"]
    assert step["AdamW"] == pytest.approx(-0.001)
    assert step["Adam, L2"] == pytest.approx(0, abs=1e-9)


def test_the_gradient_misses_what_is_saturated_and_integrated_gradients_do_not():
    table = saturation.saturation(a=2.0, b=1.0)
    assert table.gradient["a"] == 0
    assert table.integrated_gradients["a"] == pytest.approx(1, abs=0.02)
    assert table.integrated_gradients["b"] == pytest.approx(0.5)
    assert table.integrated_gradients["sum"] == pytest.approx(table.difference["sum"], abs=0.02)
    assert table.gradient_x_input["sum"] == pytest.approx(0.5)
    assert table.difference["sum"] == pytest.approx(1.5)
