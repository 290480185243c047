"""The benchmark on the publishers' test, from the results of a small made-up sweep."""

import re
import runpy

import numpy as np
import pytest

from support.project import PROJECT, ROOT, write_study
from support.samples import CLASSES, table
from xnn import in_words, load_run, load_sweep
from xnn.config.provenance import write_json
from xnn.data.records import write_csv
from xnn.evaluation import intervals

OFFICIAL = runpy.run_path(str(PROJECT / "benchmarks/official.py"))
SWEEP = """
title: arms
study: arms
base: plain
grid: {seed: [0, 1, 2]}
points:
  plain: {augmentation.crop: 0.75}
  same: {augmentation.crop: 0.7}
  better: {augmentation.crop: 0.5}
"""


def write_results(run, given, validation: float) -> None:
    """Write the results of a run from its predictions and its score on validation."""
    write_csv(given, run.reports / "predictions.csv")
    metrics = intervals.metrics(given, CLASSES, resamples=20)
    score = {"value": validation, "low": 0.6, "high": 0.9}
    metrics["validation"] = {"f1_weighted": score, "worst_group_accuracy": score}
    write_json(metrics | {"worst_group_accuracy": score}, run.reports / "metrics.json")
    training = {"history": [{"seconds": 1.0}], "frozen_seconds": 0, "parameters": {"trained": 1}}
    write_json(training, run.reports / "training.json")


@pytest.fixture
def sweep():
    """Three arms of three seeds: the last is right of more healthy images, and worse on validation.

    The study's one network is right of all healthy images, and the worst on validation. The study is this
    file's own, as the page reads all results of a study.
    """
    write_study("arms", plain="model: {weights: none}")
    folder = ROOT / "params/sweeps"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "arms.yaml").write_text(SWEEP)
    found, rng = load_sweep("arms"), np.random.default_rng(0)
    for point, run in zip(found.expanded(), found.runs(), strict=True):
        given = table(400, seed=0)
        given[CLASSES] = 0.8 * given[CLASSES] + 0.2 * rng.dirichlet([1, 1, 1], len(given))
        if point.setting == "better":
            healthy = (given.label == "normal") & (rng.random(len(given)) < 0.5)
            given.loc[healthy, CLASSES] = [0.1, 0.8, 0.1]
        write_results(run, given, 0.7 if point.setting == "better" else 0.8)
    given.loc[given.label == "normal", CLASSES] = [0.1, 0.8, 0.1]
    write_results(load_run("arms", "plain"), given, 0.6)
    return found


def test_rows_are_in_the_order_of_validation_with_intervals(sweep):
    settings, means, criterion = OFFICIAL["measured"](sweep)
    rows = OFFICIAL["rows"](settings, means)
    assert rows.setting.tolist() == ["plain", "same", "better"], "whatever the test says"
    assert criterion.startswith("worst-group accuracy")
    assert rows.seeds.tolist() == [3, 3, 3]
    assert rows["change of specificity"][0] == "-"
    assert rows["change of specificity"][2].startswith("+0.")
    assert rows[[*map(in_words, OFFICIAL["SCORES"])]].map(lambda cell: " to " in cell).all(axis=None)


def test_the_page_gives_changes_that_exceed_chance(sweep):
    lines = OFFICIAL["page"](sweep).splitlines()
    assert any(line.startswith("- `better`: +0.") for line in lines)
    assert "- no measurable change: `same`" in lines
    assert "The setting chosen by worst-group accuracy on validation is `plain`:" in lines


def test_the_page_tells_how_far_scores_go_and_that_validation_does_not_find_them(sweep):
    text = OFFICIAL["page"](sweep)
    assert "The highest of 4 settings and networks" in text
    assert "- specificity for pneumonia: 1.000 (MobileNetV2, all layers, random start)" in text
    (rank,) = re.findall(r"each score on the test: .*specificity for pneumonia (\S+),", text)
    assert float(rank) < 0
    assert "| MobileNetV2, all layers, random start | 0.600 | " in text
