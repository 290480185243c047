"""The benchmark by cross-validation, with trainings of seconds on a few phantoms."""

import runpy
import sys
import types

import numpy as np
import pandas as pd
import pytest

from support.project import PROJECT
from support.samples import CLASSES, cohort, sizes_of, table
from xnn import load_records, load_run
from xnn.config.provenance import write_json
from xnn.data.splits import groups

sys.path.append(str(PROJECT / "benchmarks"))  # as where it runs as a script
FOLDS = types.SimpleNamespace(**runpy.run_path(str(PROJECT / "benchmarks/folds.py")))


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setitem(FOLDS.report.__globals__, "RESAMPLES", 100)


def test_every_image_is_tested_once_and_no_group_is_on_two_sides():
    records = cohort(sizes_of(300))
    shared = records.sha256.copy()
    shared[:60] = shared[60:120].to_numpy()  # patients who share an image
    records["group"] = groups(records.assign(sha256=shared))
    found = np.stack(FOLDS.splits(records))
    assert ((found == "test").sum(0) == 1).all()
    shares = pd.DataFrame(found.T).apply(lambda split: split.value_counts(normalize=True)).T
    assert shares.test.between(0.17, 0.23).all()
    assert shares.val.between(0.07, 0.13).all()
    for split in found:
        assert (records.assign(split=split).groupby("group").split.nunique() == 1).all()
        test = records.label[split == "test"].value_counts(normalize=True)
        assert (test - records.label.value_counts(normalize=True)).abs().max() < 0.06


def test_the_folds_of_a_study_are_trained_and_pooled(small, monkeypatch):
    monkeypatch.setitem(FOLDS.prepare.__globals__, "FEWER", 1)
    run = load_run(small, "convnext")
    FOLDS.prepare(run, quick=True)
    with pytest.raises(FileNotFoundError):
        FOLDS.pool(run, quick=True)
    for fold in range(FOLDS.FOLDS):
        FOLDS.train(run, fold, quick=True)
    pooled, records = FOLDS.pool(run, quick=True), load_records(run.study)
    assert sorted(pooled.path) == sorted(records.path), "examples of the app too"
    assert pooled.groupby("patient").fold.nunique().max() == 1
    tested = load_records(FOLDS.of_fold(run, 3, quick=True).study)
    assert set(pooled.path[pooled.fold == 3]) == set(tested.path[tested.split == "test"])
    assert load_records(run.study).equals(records)
    page = FOLDS.report(pooled, run)
    assert f"all {len(records)} radiographs of {records.patient.nunique()} patients" in page
    assert "third expert" not in page
    short = FOLDS.of_fold(run, 0, quick=True).artifacts / "predictions.csv"
    pd.read_csv(short).iloc[1:].to_csv(short, index=False)
    with pytest.raises(ValueError, match="train again"):
        FOLDS.pool(run, quick=True)


def test_the_page_says_whether_the_split_of_the_report_is_typical(small):
    run = load_run(small, "head").model_copy(update={"name": "tested-by-folds"})
    given = table(1000).assign(fold=np.arange(1000) % 5)
    given.loc[::4, "path"] = "test/" + given.path[::4]
    alone = {name: {"value": 0.5, "low": 0.4, "high": 0.6} for name in FOLDS.SCORES}
    write_json({"n": 90, "scores": alone}, run.reports / "metrics.json")
    page = FOLDS.report(given, run)
    score = FOLDS.by_fold(given, CLASSES).f1_weighted
    assert f"{score.min():.3f} to {score.max():.3f}" in page
    assert "lies outside that interval" in page
    assert "the report's split (n = 90)" in page
    assert "| three: bacteria and virus, n |" in page
    ill = given.path.str.startswith("test/") & (given.label != "normal")
    assert f"| {ill.sum()} |" in page
