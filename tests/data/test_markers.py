"""Markers are found where phantoms have them, and changed without touching the rest."""

import numpy as np
import pytest

from xnn.data import markers, phantom, regions
from xnn.data.changes import CHANGES


@pytest.fixture(scope="module")
def drawn():
    return [phantom.draw("normal", patient, 0, 128, seed=0) for patient in range(40)]


def test_most_markers_are_found_and_little_else(drawn):
    found = [markers.find_marker(each.image, each.lungs) for each in drawn]
    known = [each.marker.any() for each in drawn]
    hit = [(each.marker & mask).any() for each, mask in zip(drawn, found, strict=True)]
    assert sum(hit) >= 0.8 * sum(known)
    wrong = [mask.any() and not there for mask, there in zip(found, hit, strict=True)]
    assert sum(wrong) <= 0.15 * len(drawn)


def test_a_marker_is_removed_moved_and_pasted(drawn):
    with_one = next(each for each in drawn if each.marker.any())
    without_one = next(each for each in drawn if not each.marker.any())
    image, marker = with_one.image, with_one.marker
    clean = markers.without(image, marker)
    changed = clean != image
    assert changed[marker].any()
    assert not changed[~regions.wider(marker, 4 / 128)].any()
    assert clean[marker].mean() < image[marker].mean()
    moved = markers.moved(image, marker)
    there = marker[:, ::-1]
    assert moved[there].mean() > clean[there].mean()
    assert (moved[marker & ~there] == clean[marker & ~there]).all()
    pasted = markers.pasted(without_one.image, image, marker)
    assert (pasted[~marker] == without_one.image[~marker]).all()
    assert pasted[marker].max() >= image[marker].max()


def test_no_marker_changes_nothing(drawn):
    image, none = drawn[0].image, np.zeros((128, 128), bool)
    assert (markers.without(image, none) == image).all()
    assert (markers.moved(image, none) == image).all()


@pytest.mark.parametrize("name", CHANGES)
def test_small_changes_are_small(drawn, name):
    image = drawn[0].image
    changed = CHANGES[name](image, np.random.default_rng(0))
    assert changed.shape == image.shape
    assert changed.dtype == np.uint8
    difference = np.abs(changed.astype(int) - image)
    assert 0 < difference.mean() < 8  # phantoms are noisy: a blur takes that away
