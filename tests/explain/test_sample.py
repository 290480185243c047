import numpy as np
import pandas as pd
import pytest
import torch

from support.project import PROJECT
from xnn import load_records, load_run
from xnn.explain import sample
from xnn.models import segmenter


@pytest.fixture(scope="module")
def run(small):
    return load_run(small, "plain")


def predicted(run, records):
    """Predictions of no model at all."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.dirichlet([1, 1, 1], len(records)), columns=run.study.classes)
    return table.assign(**{name: records[name].to_numpy() for name in ("path", "label", "patient")})


def test_shown_and_measured_come_from_one_shuffle(run):
    labels = ["bacteria"] * 200 + ["normal"] * 50 + ["virus"] * 50
    paths = [f"{i:03}.png" for i in range(300)]
    table = predicted(run, pd.DataFrame({"path": paths, "label": labels, "patient": "p"}))
    drawn = sample.draw(table, run)
    confident = drawn[drawn.confident_error]
    assert not confident.right.any()
    assert not confident.duplicated(["label", "predicted"]).any()
    shown = drawn[drawn.shown].groupby(["label", "right"]).size()
    assert (shown == run.explanation.images).all()
    counts = drawn[drawn.measured].groupby("label").size()
    assert counts.to_dict() == {"bacteria": 100, "normal": 25, "virus": 25}, "each class with its share"
    assert ((drawn.predicted == drawn.label) == drawn.right).all()
    assert sample.draw(table.sample(frac=1, random_state=1), run).equals(drawn)


def test_a_sample_has_what_is_known(run):
    records = load_records(run.study)
    drawn = sample.draw(predicted(run, records[records.split == "test"]), run)
    given = sample.load_sample(run, drawn)
    assert given.images.shape == (len(drawn), 3, 32, 32)
    assert given.masks.shape == given.markers.shape == (len(drawn), 32, 32)
    assert (given.masks.any(axis=(1, 2)) == (drawn.label != "normal")).all()
    few = given.take(np.array([0, 2]))
    assert len(few.images) == len(few.masks) == len(few.patients) == 2


def test_lungs_of_a_study_without_masks_are_found_by_the_shipped_segmenter(run, monkeypatch):
    records = load_records(run.study)
    drawn = sample.draw(predicted(run, records[records.split == "test"]), run)
    monkeypatch.setattr(sample, "load_lungs", lambda *_: None)
    assert sample.load_sample(run, drawn).lungs is None, "this project ships none"
    monkeypatch.setattr(segmenter, "root", lambda: PROJECT)
    found = sample.load_sample(run, drawn).lungs
    assert (found.shape, found.dtype) == ((len(drawn), 32, 32), bool)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("black", (1, 3, 32, 32)), ("mean", (1, 3, 32, 32)), ("expected", (1, sample.HEALTHY, 3, 32, 32))],
)
def test_baselines_are_made_of_training_images(run, name, shape):
    assert sample.run_baseline(run, torch.rand(2, 3, 32, 32), name).shape == shape
