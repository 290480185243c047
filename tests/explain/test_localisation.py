"""Closed forms: a perfect map scores 1, a blank one as chance does."""

import numpy as np
import pytest

from xnn.explain import localisation

SIZE = 20
MASK = np.zeros((2, SIZE, SIZE), bool)
MASK[0, 4:9, 5:11] = True  # 30 of 400 pixels; the second image has no lesion
AREA = MASK[0].mean()
BLANK = np.zeros(MASK.shape)
AGAINST_MASKS = (localisation.relevance_mass, localisation.relevance_rank, localisation.share_within)


@pytest.mark.parametrize("measure", [*AGAINST_MASKS, localisation.pointing_game])
def test_a_perfect_map_scores_one_and_its_opposite_nothing(measure):
    assert measure(MASK.astype(float), MASK)[0] == 1
    far = ~np.roll(MASK, 0) & (np.indices(MASK.shape)[1] > 12)
    assert measure(far.astype(float), MASK)[0] == 0


@pytest.mark.parametrize("measure", AGAINST_MASKS)
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_an_even_map_scores_the_share_of_the_area(measure, value):
    assert measure(BLANK + value, MASK)[0] == pytest.approx(AREA)


@pytest.mark.parametrize("measure", [*AGAINST_MASKS, localisation.pointing_game])
def test_without_a_lesion_there_is_no_score(measure):
    assert np.isnan(measure(np.ones(MASK.shape), MASK)[1])


def test_negative_attribution_is_not_relevance():
    maps = np.where(MASK, 1.0, -5.0)
    assert localisation.relevance_mass(maps, MASK)[0] == 1
    assert localisation.share_within(maps, MASK)[0] == pytest.approx(30 / (30 + 5 * 370))


def test_the_pointing_game_has_a_tolerance_and_counts_ties_as_shares():
    maps = BLANK.copy()
    maps[0, 9, 7] = 1  # one row below the mask
    assert localisation.pointing_game(maps, MASK, tolerance=0.05)[0] == 1
    assert localisation.pointing_game(maps, MASK, tolerance=0)[0] == 0
    maps[0, 5, 7] = 1
    assert localisation.pointing_game(maps, MASK, tolerance=0)[0] == 0.5
    assert localisation.pointing_game(BLANK, MASK, tolerance=0)[0] == pytest.approx(AREA)


def test_rank_counts_the_best_pixels_and_shares_a_tie():
    maps = BLANK.copy()
    maps[0, 4:9, 5:8] = 2  # half of the mask, the highest
    maps[0, 15:20, 0:10] = 1  # 50 pixels outside for the 15 places left
    assert localisation.relevance_rank(maps, MASK)[0] == pytest.approx(15 / 30)
    maps[0, 4:9, 8:11] = 1  # 15 within the mask among 65 equal ones
    assert localisation.relevance_rank(maps, MASK)[0] == pytest.approx((15 + 15 * 15 / 65) / 30)


def test_the_frame():
    assert localisation.frame(100).mean() == pytest.approx(1 - 0.8**2)
    assert localisation.share_within(np.ones((3, 50, 50)), localisation.frame(50)) == pytest.approx(0.36)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="maps are"):
        localisation.relevance_mass(np.zeros((2, 4, 4)), MASK)
