"""The card: intervals over patients, verdicts against the controls, the alarm, and the words about them."""

import numpy as np
import pandas as pd
import pytest

from xnn.explain import card

METHOD = "integrated_gradients"


def measured(**values):
    """A method of which only these measures were taken."""
    return {name: np.asarray(each, float) for name, each in values.items()}


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
    same = card.mean_interval([0, 1, 0, 1], ["a"] * 4)
    assert same == {"value": 0.5, "low": 0.5, "high": 0.5, "images": 4}, "one patient does not vary"
    apart = card.mean_interval([0, 1, 0, 1], list("abcd"))
    assert apart["low"] < 0.5 < apart["high"]
    assert card.mean_interval([0, 1, np.nan], list("abc"))["images"] == 2
    with pytest.raises(ValueError, match="no image has a value"):
        card.mean_interval([np.nan], ["a"])


def test_the_table_leaves_out_what_is_never_defined():
    given = {METHOD: measured(insertion_auc=[0.5, 0.7], pointing_game=[np.nan, np.nan])}
    found = card.table(given, ["a", "b"])
    assert found.measure.tolist() == ["insertion_auc"]
    assert found.value[0] == pytest.approx(0.6)
    assert card.wide(found).loc[METHOD, "insertion_auc"].startswith("0.60 [")
    assert card.wide(found, 3).loc[METHOD, "insertion_auc"].startswith("0.600 [")
    result = card.as_json(found)[METHOD]
    assert result["insertion_auc"] == pytest.approx(0.6)
    assert set(result["intervals"]["insertion_auc"]) == {"low", "high"}


IMAGES = np.linspace(0, 1, 12)  # images differ much more than methods
PATIENTS = np.arange(12)


def compared(own, random=IMAGES, sobel=IMAGES, name="insertion_auc"):
    """What a method with one measure has more than the controls, image by image."""
    given = {METHOD: own, "random": random, "sobel": sobel}
    values = {key: measured(**{name: each}) for key, each in given.items()}
    return card.table(card.over_controls(values), PATIENTS)


def test_a_difference_is_taken_image_by_image():
    found = compared(IMAGES + 0.1, sobel=IMAGES + 0.3).set_index("method")
    assert found.loc["random", ["value", "low", "high"]].tolist() == pytest.approx([0.1, 0.1, 0.1])
    assert found.loc["sobel", ["value", "low", "high"]].tolist() == pytest.approx([-0.2, -0.2, -0.2])
    levels = card.table(
        {METHOD: measured(insertion_auc=IMAGES), "random": measured(insertion_auc=IMAGES + 0.1)}, PATIENTS
    )
    assert levels.low.max() < levels.high.min(), "means alone tell nothing"


def test_a_difference_needs_both_to_be_known():
    own = np.where(PATIENTS < 3, IMAGES, np.nan)
    assert compared(own).images.tolist() == [3, 3]
    assert compared(own * np.nan).empty
    assert set(compared(IMAGES, name="frame_share")) == set(), "nothing is better there"


NOISE = np.random.default_rng(0).normal(size=12)


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((0.1, 0.1), "better"),
        ((0.1, 0), "not told apart"),
        ((0, 0), "not told apart"),
        ((0.1, -0.1), "worse"),
        ((0, -0.1), "worse"),
    ],
)
def test_verdicts_need_more_than_chance_against_both_controls(gains, verdict):
    random, sobel = (IMAGES - gain + 0.05 * (NOISE - NOISE.mean()) for gain in gains)
    assert card.verdicts(compared(IMAGES, random, sobel)) == {"insertion_auc": verdict}
    # less is better: everything mirrored
    turned = compared(-IMAGES, -random, -sobel, name="deletion_auc")
    assert card.verdicts(turned) == {"deletion_auc": verdict}


def test_the_alarm_prefers_the_marker_and_needs_more_than_its_edges():
    frame = against((0.1, 0.05, 0.15), (0.36, 0.35, 0.37), (0.3, 0.28, 0.32))
    marker = against((0.2, 0.1, 0.3), (0.01, 0.0, 0.02), (0.05, 0.04, 0.06))
    assert not card.alarm(table(frame_share=frame))["fires"]
    told = card.alarm(table(frame_share=frame, marker_share=marker))
    assert told == {"measure": "marker_share", "value": 0.2, "floors": 0.05, "fires": True}
    marker["sobel"] = (0.12, 0.08, 0.16)
    assert not card.alarm(table(marker_share=marker))["fires"]


def test_the_sentence_says_what_the_tables_do():
    rows = {
        "randomisation_spearman": against((0.1, 0.0, 0.2), (0, 0, 0), (1, 1, 1)),
        "frame_share": against((0.6, 0.5, 0.7), (0.36, 0.36, 0.36), (0.3, 0.2, 0.4)),
    }
    gains = {
        "insertion_auc": {"random": (0.4, 0.3, 0.5), "sobel": (0.4, 0.3, 0.5)},
        "deletion_auc": {"random": (0.0, -0.1, 0.1), "sobel": (0.0, -0.1, 0.1)},
        "relevance_mass": {"random": (-0.5, -0.6, -0.4), "sobel": (0.0, -0.1, 0.1)},
    }
    said = card.sentence(table(**rows), table(**gains))
    assert "beat both controls on insertion auc" in said
    assert "are no better than a control on deletion auc" in said
    assert "worse than a control on relevance mass" in said
    assert "They depend on what was learnt" in said
    assert "Alarm: 60.0% of the absolute attribution lies in the outer frame" in said
    rows["randomisation_spearman"][METHOD] = (0.9, 0.8, 1.0)
    rows["frame_share"][METHOD] = (0.2, 0.1, 0.3)
    said = card.sentence(table(**rows), table(**gains))
    assert "They are not shown to depend" in said
    assert "No alarm: 20.0%" in said


def test_agreement_has_intervals():
    found = card.table({"baseline mean": {"spearman": np.array([0.2, 0.4])}}, ["a", "b"])
    assert found.method.tolist() == ["baseline mean"]
    assert found.value[0] == pytest.approx(0.3)
