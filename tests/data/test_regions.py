"""Parts of radiographs: what is removed is gone, and what is kept is unchanged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnn.data import phantom, regions


@pytest.fixture(scope="module")
def drawn():
    return phantom.draw("bacteria", 3, 0, 96, seed=0)


def test_a_lesion_lies_in_the_lungs():
    for label in ("bacteria", "virus"):
        for patient in range(8):
            each = phantom.draw(label, patient, 0, 96, seed=0)
            assert (each.mask & each.lungs).sum() > 0.95 * each.mask.sum()
            assert 0.15 < each.lungs.mean() < 0.5


@pytest.mark.parametrize("fill", regions.FILLS)
@pytest.mark.parametrize("name", [name for name in regions.INPUTS if name not in regions.UNFILLED])
def test_nothing_of_a_removed_part_is_left(drawn, name, fill):
    """A part filled in one image is filled alike in another that differs only there."""
    kept = regions.part(drawn.image, drawn.lungs, name, fill) == drawn.image
    removed = regions._removed(drawn.lungs, name)
    assert kept[~removed].all()
    other = np.where(removed, 255 - drawn.image, drawn.image).astype(np.uint8)
    filled = [regions.part(image, drawn.lungs, name, fill) for image in (drawn.image, other)]
    np.testing.assert_array_equal(*filled)


def test_the_parts_are_what_their_names_say(drawn):
    lungs = drawn.lungs
    sizes = {name: regions._removed(lungs, name).mean() for name in regions.INPUTS[1:-1]}
    assert sizes["lungs_removed"] == lungs.mean() == pytest.approx(1 - sizes["lungs_only"])
    assert sizes["lungs_removed"] < sizes["lungs_removed_wide"]
    assert sizes["lungs_only"] > sizes["lungs_only_wide"]
    rows, columns = np.nonzero(regions.box(lungs))
    assert lungs[rows.min()].any()
    assert lungs[:, columns.max()].any()
    assert set(np.unique(regions.part(drawn.image, lungs, "outline_only"))) == set(regions.OUTLINE)
    assert regions.part(drawn.image, lungs, "whole") is drawn.image


def test_a_margin_is_a_distance():
    mask = np.zeros((112, 112), bool)
    mask[56, 56] = True
    grown = regions.wider(mask)
    assert (grown[56, 60], grown[52, 56], grown[56, 61], grown[59, 59]) == (True, True, False, False)


@given(st.integers(0, 2**32 - 1), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_any_mask_can_be_painted_over(seed, percent):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (32, 32), dtype=np.uint8)
    removed = rng.random((32, 32)) < percent / 100
    filled = regions.inpaint(image, removed)
    assert filled.dtype == np.uint8
    assert (filled[~removed] == image[~removed]).all()


def test_unknown_names_are_refused(drawn):
    with pytest.raises(ValueError, match="lungs_removed"):
        regions.part(drawn.image, drawn.lungs, "heart_removed")
    with pytest.raises(ValueError, match="inpainted"):
        regions.part(drawn.image, drawn.lungs, "lungs_removed", "white")
