"""At every scale the parts of a map add up to the same sum."""

import numpy as np
import pytest

from xnn.data import phantom
from xnn.explain import scales

DRAWN = [phantom.draw("virus", patient, 0, 64, 0) for patient in range(3)]
IMAGES = np.stack([each.image for each in DRAWN]) / 255
LUNGS = np.stack([each.lungs for each in DRAWN])
MAPS = np.random.default_rng(0).normal(1, 3, IMAGES.shape)
SUMS = MAPS.sum((1, 2))


def test_smoothing_keeps_the_sum_even_at_the_border():
    assert scales.smoothed(MAPS).sum((1, 2)) == pytest.approx(SUMS, rel=1e-9)
    corner = np.zeros((1, 64, 64))
    corner[0, 0, 0] = 5
    assert scales.smoothed(corner).sum() == pytest.approx(5)
    assert scales.smoothed(corner).max() < 1, "and it does smooth"


def test_superpixels_keep_the_sum():
    areas = scales.superpixels(IMAGES)
    assert areas.min() == 0
    assert 30 < areas.max() < 90
    pooled = scales.pooled(MAPS, areas)
    assert pooled.sum((1, 2)) == pytest.approx(SUMS, rel=1e-9)
    first = areas[0] == areas[0, 30, 30]
    assert pooled[0][first] == pytest.approx(MAPS[0][first].mean())


def test_zones_keep_the_sum():
    zones = scales.zones(LUNGS)
    found = scales.sums(MAPS, zones, len(scales.ZONES))
    assert found.shape == (3, len(scales.ZONES))
    assert found.sum(1) == pytest.approx(SUMS, rel=1e-9)


def test_zones_lie_where_their_names_say():
    zones = scales.zones(LUNGS)[0]
    rows, columns = np.indices(zones.shape)
    at = {name: (zones == number) for number, name in enumerate(scales.ZONES)}
    assert all(each.any() for each in at.values())
    assert columns[at["right middle zone"]].max() < columns[at["left middle zone"]].min()
    assert rows[at["left upper zone"]].max() < rows[at["left lower zone"]].min()
    lungs = sum(each for name, each in at.items() if name.endswith("zone"))
    assert np.array_equal(lungs > 0, LUNGS[0])
    middle = columns[at["mediastinum"]].mean()
    assert columns[at["right middle zone"]].mean() < middle < columns[at["left middle zone"]].mean()


def test_without_lungs_all_is_outside():
    assert (scales.zones(np.zeros((1, 8, 8), bool)) == 0).all()


def test_the_best_region_of_any_size_comes_first():
    halves = np.repeat([0, 0, 1, 1], 4).reshape(4, 4)
    columns = np.tile([0, 1, 1, 1], (4, 1))
    one = np.ones((4, 4))
    one[:2, 0] = 9  # means of the halves: 3 and 0.4, of the columns: 5 and 0.25
    one[3, 3] = -8
    found = scales.best_first(one, np.stack([halves, columns]))
    assert found[:, 0].tolist() == [5] * 4, "the first column has the highest mean"
    assert found[:2, 1:] == pytest.approx(1), "of what it left, the upper half is higher"
    assert found[2:, 1:] == pytest.approx(-0.5)
    assert scales.best_first(one, halves[None]) == pytest.approx(scales.pooled(one[None], halves[None])[0])


def test_regions_of_several_sizes_keep_the_sum():
    found = scales.xrai(MAPS, IMAGES)
    assert found.shape == MAPS.shape
    assert found.sum((1, 2)) == pytest.approx(SUMS, rel=1e-9)
