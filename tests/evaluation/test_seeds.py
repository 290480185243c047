"""Means over seeds, with intervals over patients and seeds."""

import numpy as np
import pandas as pd
import pytest

from support.project import write_study
from support.samples import CLASSES, table
from xnn import load_study
from xnn.data.records import write_csv
from xnn.evaluation import intervals, seeds


def test_seeds_are_runs_that_differ_in_nothing_else():
    text = "model: {{weights: none}}\nseed: {}"
    runs = {f"seed{i}": text.format(i) for i in (1, 0, 2)}
    write_study("seeded", **runs, other="model: {weights: none, dropout: 0.5}")
    study = load_study("seeded")
    assert seeds.alike(study, ["seed1", "seed0", "other", "seed2"]) == {"seed0": ["seed0", "seed1", "seed2"]}
    assert seeds.alike(study, ["seed1", "other"]) == {}, "one is no spread"


def test_the_spread_of_seeds_in_closed_form():
    values = {"a": 0.7, "b": 0.8, "c": 0.9}
    metrics = {
        name: {"scores": {"f1_weighted": {"value": each, "low": 0.7, "high": 0.9}}}
        for name, each in values.items()
    }
    found = seeds.spread(metrics, ["a", "b", "c"]).loc["f1_weighted"]
    assert found.to_dict() == pytest.approx(
        {"mean": 0.8, "sd": 0.1, "lowest": 0.7, "highest": 0.9, "half_width": 0.1}
    )


@pytest.fixture
def study():
    """A study with predictions of three settings: two of three seeds, the second better, one of one seed."""
    write_study("over-seeds")
    study, rng = load_study("over-seeds"), np.random.default_rng(0)
    for setting, (better, count) in {"first": (0, 3), "second": (0.3, 3), "single": (0, 1)}.items():
        for number in range(count):
            given = table(300, seed=0)
            truth = np.eye(3)[[CLASSES.index(label) for label in given.label]]
            given[CLASSES] = (
                0.7 * given[CLASSES] + 0.3 * rng.dirichlet([1, 1, 1], len(given)) + better * truth
            )
            given[CLASSES] /= given[CLASSES].sum(axis=1).to_numpy()[:, None]
            write_csv(given, study.reports / f"{setting}{number}/predictions.csv")
    return study


GROUPS = {
    "first": ["first0", "first1", "first2"],
    "second": ["second0", "second1", "second2"],
    "single": ["single0"],
}


def test_the_mean_over_seeds_is_that_of_the_scores(study):
    found = seeds.resampled(study, GROUPS, 50)
    each = [
        pd.read_csv(study.reports / f"first{number}/predictions.csv", dtype={"patient": str})
        for number in range(3)
    ]
    values = [intervals.metrics(one, CLASSES, resamples=2)["scores"]["accuracy"]["value"] for one in each]
    assert found["first"]["accuracy"][0] == pytest.approx(np.mean(values))


def test_differences_are_paired_and_the_first_differs_by_nothing(study):
    means = seeds.means(seeds.resampled(study, GROUPS, 300), ["f1_weighted"]).set_index("setting")
    assert means.difference["first"] == {"value": 0, "low": 0, "high": 0}
    second = means.difference["second"]
    assert 0 < second["low"] < second["value"] < second["high"]
    assert second["value"] == pytest.approx(means.value["second"] - means.value["first"])
    # one draw of patients for both: narrower than two intervals side by side
    assert second["high"] - second["low"] < means.high["second"] - means.low["first"]


def test_the_interval_holds_the_spread_over_seeds():
    """Without patients to draw, the spread of the mean of S seeds is sd / sqrt(S)."""
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=(5, 1)), 20_001, axis=1)
    drawn = rng.integers(5, size=(4, 20_001))
    means = seeds._mean(values, drawn)
    assert means[0] == pytest.approx(values[:, 0].mean())
    assert means[1:].std() == pytest.approx(values[:, 0].std(ddof=1) / np.sqrt(5), rel=0.02)


def test_settings_on_other_images_are_refused(study):
    file = study.reports / "second1/predictions.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match="second: not tested on the same images"):
        seeds.resampled(study, GROUPS, 2)


def test_answers_are_differences_of_settings(study):
    found = seeds.resampled(study, GROUPS, 100)
    answers = seeds.answers(found, [(seeds.WEIGHTS, "second", "first"), (seeds.SIMPLER, "single", "first")])
    assert answers.low[0] > 0
    assert answers.low[1] < answers.value[1] < answers.high[1]
    assert f"{seeds.WEIGHTS}: higher in 1 of 1 comparison." in seeds.said(answers)[0]
    assert seeds.said(answers[:0]) == []


def test_a_study_without_sweeps_has_no_answers(study):
    assert len(seeds.answered(study)) == 0
