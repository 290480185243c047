"""The card: intervals over patients, verdicts against the floors, the alarm, and the words about them."""

import numpy as np
import pandas as pd
import pytest

from xnn import card

METHOD = "integrated_gradients"


def measured(**values):
    """A method of which only these measures were taken."""
    from xnn.evidence import Measured

    return Measured({name: np.asarray(each, float) for name, each in values.items()}, {})


def table(**rows):
    """A table from measure to {method: (value, low, high)}."""
    return pd.DataFrame(
        [
            {"method": method, "measure": name, "value": v, "low": low, "high": high}
            for name, methods in rows.items()
            for method, (v, low, high) in methods.items()
        ]
    )


def against(own, random, sobel):
    return {METHOD: own, "random": random, "sobel": sobel}


def test_an_interval_is_of_patients():
    same = card.interval([0, 1, 0, 1], ["a"] * 4)
    assert same == {"value": 0.5, "low": 0.5, "high": 0.5, "images": 4}, "one patient does not vary"
    apart = card.interval([0, 1, 0, 1], list("abcd"))
    assert apart["low"] < 0.5 < apart["high"]
    assert card.interval([0, 1, np.nan], list("abc"))["images"] == 2
    with pytest.raises(ValueError, match="no image has a value"):
        card.interval([np.nan], ["a"])


def test_the_table_leaves_out_what_is_never_defined():
    given = {METHOD: measured(insertion_auc=[0.5, 0.7], pointing_game=[np.nan, np.nan])}
    found = card.table(given, ["a", "b"])
    assert found.measure.tolist() == ["insertion_auc"]
    assert found.value[0] == pytest.approx(0.6)
    assert card.wide(found).loc[METHOD, "insertion_auc"].startswith("0.60 [")
    result = card.results(found)[METHOD]
    assert result["insertion_auc"] == pytest.approx(0.6)
    assert set(result["intervals"]["insertion_auc"]) == {"low", "high"}


@pytest.mark.parametrize(
    ("own", "verdict"),
    [
        ((0.9, 0.8, 1.0), "better"),
        ((0.9, 0.6, 1.0), "not told apart"),
        ((0.2, 0.1, 0.3), "worse"),
        ((0.5, 0.45, 0.6), "not told apart"),
    ],
)
def test_verdicts_need_intervals_apart_from_both_floors(own, verdict):
    floors = (0.5, 0.4, 0.55), (0.6, 0.5, 0.7)
    assert card.verdicts(table(insertion_auc=against(own, *floors))) == {"insertion_auc": verdict}
    # less is better: everything mirrored
    turned = [tuple(1 - each for each in (v, high, low)) for v, low, high in (own, *floors)]
    assert card.verdicts(table(deletion_auc=against(*turned))) == {"deletion_auc": verdict}


def test_the_alarm_prefers_the_marker_and_needs_more_than_its_edges():
    frame = against((0.1, 0.05, 0.15), (0.36, 0.35, 0.37), (0.3, 0.28, 0.32))
    marker = against((0.2, 0.1, 0.3), (0.01, 0.0, 0.02), (0.05, 0.04, 0.06))
    assert not card.alarm(table(frame_share=frame))["fires"]
    told = card.alarm(table(frame_share=frame, marker_share=marker))
    assert told == {"measure": "marker_share", "value": 0.2, "floors": 0.05, "fires": True}
    marker["sobel"] = (0.12, 0.08, 0.16)
    assert not card.alarm(table(marker_share=marker))["fires"]


def test_the_sentence_says_what_the_table_does():
    rows = {
        "insertion_auc": against((0.9, 0.8, 1.0), (0.5, 0.4, 0.6), (0.5, 0.4, 0.6)),
        "deletion_auc": against((0.5, 0.4, 0.6), (0.5, 0.4, 0.6), (0.5, 0.4, 0.6)),
        "relevance_mass": against((0.0, 0.0, 0.1), (0.5, 0.4, 0.6), (0.5, 0.4, 0.6)),
        "randomisation_spearman": against((0.1, 0.0, 0.2), (0, 0, 0), (1, 1, 1)),
        "frame_share": against((0.6, 0.5, 0.7), (0.36, 0.36, 0.36), (0.3, 0.2, 0.4)),
    }
    said = card.sentence(table(**rows))
    assert "beat both floors, with intervals apart, on insertion auc" in said
    assert "cannot be told from a floor on deletion auc" in said
    assert "worse than a floor on relevance mass" in said
    assert "They depend on what was learnt" in said
    assert "Alarm: 60.0% of the absolute attribution lies in the outer frame" in said
    rows["randomisation_spearman"][METHOD] = (0.9, 0.8, 1.0)
    rows["frame_share"][METHOD] = (0.2, 0.1, 0.3)
    said = card.sentence(table(**rows))
    assert "They are not shown to depend" in said
    assert "No alarm: 20.0%" in said


def test_agreement_has_intervals():
    found = card.agreement({"baseline mean": {"spearman": np.array([0.2, 0.4])}}, ["a", "b"])
    assert found.method.tolist() == ["baseline mean"]
    assert found.value[0] == pytest.approx(0.3)
