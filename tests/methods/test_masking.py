"""Hidden patches, and what leaks into them."""

import pytest
import torch

from demo import masking


def test_as_many_whole_patches_are_hidden_in_every_image():
    hidden = masking.hide(5, 56, 8, 0.6, seed=0)
    assert hidden.shape == (5, 56, 56)
    patches = hidden.reshape(5, 7, 8, 7, 8).float().mean(dim=(2, 4))
    assert set(patches.unique().tolist()) == {0, 1}
    assert (patches.sum(dim=(1, 2)) == round(0.6 * 49)).all()
    assert not torch.equal(hidden[0], hidden[1])
    assert torch.equal(hidden, masking.hide(5, 56, 8, 0.6, seed=0))


def test_a_plain_convolution_reaches_its_radius_and_a_sparse_one_nothing():
    hidden = torch.ones(1, 20, 20, dtype=torch.bool)
    hidden[:, :, :10] = False
    assert masking.reached(hidden, 4, 7, sparse=False) == pytest.approx([0, 0.3, 0.6, 0.9, 1])
    assert masking.reached(hidden, 4, 7, sparse=True) == [0] * 5
