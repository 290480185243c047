"""The card: intervals over patients, verdicts against the controls, the alarm, and the words about them."""

import numpy as np
import pandas as pd
import pytest

from xnn.explain import card
from xnn.explain.evidence import CONTROLS, METHOD

IMAGES = np.linspace(0, 1, 12)  # images differ much more than methods
PATIENTS = np.arange(12)
NOISE = np.random.default_rng(0).normal(size=12)


def table(**rows):
    """A table from measure to {method: (value, low, high)}."""
    return pd.DataFrame(
        [
            {"method": method, "measure": name, "value": v, "low": low, "high": high, "n": 9}
            for name, methods in rows.items()
            for method, (v, low, high) in methods.items()
        ]
    )


def beside(own, *controls):
    return {METHOD: own} | dict(zip(CONTROLS, controls * (len(CONTROLS) // len(controls)), strict=True))


def compared(own, *controls, name="insertion_auc"):
    """What a method with one measure has more than the controls, image by image."""
    given = beside(own, *controls)
    return card.over_controls({key: {name: np.asarray(each)} for key, each in given.items()}, PATIENTS)


def test_an_interval_is_of_patients():
    same = card.mean_interval([0, 1, 0, 1], ["a"] * 4)
    assert same == {"value": 0.5, "low": 0.5, "high": 0.5, "n": 4}, "one patient does not vary"
    apart = card.mean_interval([0, 1, 0, 1], list("abcd"))
    assert apart["low"] < 0.5 < apart["high"]
    assert card.mean_interval([0, 1, np.nan], list("abc"))["n"] == 2
    with pytest.raises(ValueError, match="no image has a value"):
        card.mean_interval([np.nan], ["a"])


def test_the_more_is_asked_the_wider_the_interval():
    one, many = (card.mean_interval(NOISE, PATIENTS, questions) for questions in (1, 24))
    assert many["low"] < one["low"] < one["high"] < many["high"]


def test_the_table_leaves_out_what_is_never_defined():
    given = {METHOD: {"insertion_auc": np.array([0.5, 0.7]), "pointing_game": np.full(2, np.nan)}}
    found = card.table(given, ["a", "b"])
    assert found.measure.tolist() == ["insertion_auc"]
    assert found.value[0] == pytest.approx(0.6)
    assert card.wide(found).loc["integrated gradients", "insertion auc, n = 2"].startswith("0.60 (")
    result = card.as_json(found)[METHOD]["insertion_auc"]
    assert set(result) == {"value", "low", "high", "n"}
    assert result["n"] == 2


def test_a_difference_is_taken_image_by_image():
    found = compared(IMAGES + 0.1, IMAGES, IMAGES + 0.3).set_index("method")
    assert found.loc[CONTROLS[0], ["value", "low", "high"]].tolist() == pytest.approx([0.1, 0.1, 0.1])
    assert found.loc[CONTROLS[1], ["value", "low", "high"]].tolist() == pytest.approx([-0.2, -0.2, -0.2])
    assert found.wins.tolist() == [1, 0, 1, 0]


def test_a_difference_needs_both_to_be_known():
    own = np.where(PATIENTS < 3, IMAGES, np.nan)
    assert set(compared(own, IMAGES).n) == {3}
    assert compared(own * np.nan, IMAGES).empty


@pytest.mark.parametrize(
    ("gains", "better", "worse", "verdict"),
    [
        ((0.1, 0.1), 4, 0, "better"),
        ((0.1, 0), 2, 0, "mixed"),
        ((0, 0), 0, 0, "mixed"),
        ((0.1, -0.1), 2, 2, "mixed"),
        ((-0.1, -0.1), 0, 4, "worse"),
    ],
)
def test_better_and_worse_are_one_rule(gains, better, worse, verdict):
    controls = [IMAGES - gain + 0.02 * (NOISE - NOISE.mean()) for gain in gains]
    told = {"better": better, "worse": worse, "verdict": verdict}
    assert card.verdicts(compared(IMAGES, *controls)) == {"insertion_auc": told}
    # less is better: everything mirrored
    turned = compared(-IMAGES, *(-each for each in controls), name="deletion_auc")
    assert card.verdicts(turned) == {"deletion_auc": told}


def test_ranks_follow_the_direction_of_each_measure():
    good, bad = (0.9, 0.8, 1.0), (0.1, 0.0, 0.2)
    rows = {name: beside(good, bad) if card.BETTER[name] > 0 else beside(bad, good) for name in card.JUDGES}
    found = table(**rows)
    assert card.ranking(found).index[0] == METHOD
    assert card.disagreement(found) == pytest.approx(1)


def test_the_method_to_use_has_the_best_mean_rank_and_its_controls_are_counted():
    gains = {METHOD: 0.2, "grad_cam": -0.3} | dict.fromkeys(CONTROLS, 0.0)
    values = {
        name: {
            judge: IMAGES + gain * card.BETTER[judge] + 1e-3 * NOISE * (gain != 0) for judge in card.JUDGES
        }
        for name, gain in gains.items()
    }
    numbers = card.table(values, PATIENTS)
    chosen = card.choice(numbers, values, PATIENTS)
    assert chosen.index.tolist() == ["integrated gradients", "grad cam"]
    assert chosen.iloc[:, 1:].to_numpy().tolist() == [[4, 0, 4, 0], [0, 4, 0, 4]]
    told = card.recommendation(chosen, card.disagreement(numbers), len(PATIENTS))
    assert told.startswith("Use integrated gradients")
    assert "better than at least 4 of 4 controls and worse than at most 0" in told
    assert "tau of 1.00" in told


def test_the_alarm_needs_more_than_every_control():
    marker = beside((0.2, 0.1, 0.3), (0.01, 0.0, 0.02), (0.05, 0.04, 0.06))
    told = card.alarm(table(marker_share=marker))
    assert told == {"measure": "marker_share", "value": 0.2, "controls": 0.05, "fires": True}
    marker["centre"] = (0.12, 0.08, 0.16)
    assert not card.alarm(table(marker_share=marker))["fires"]
    assert card.alarm(table(lung_share=marker)) == {}
