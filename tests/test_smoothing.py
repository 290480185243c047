"""The benchmark on smoothing, with answers that are made up and a network of random weights."""

import runpy
import types

import numpy as np
import pandas as pd
import torch

from support.project import PROJECT
from support.samples import CLASSES
from xnn import Classifier, load_run
from xnn.data import changes

SMOOTHING = types.SimpleNamespace(**runpy.run_path(str(PROJECT / "benchmarks/smoothing.py")))


def certain(labels, wrong=0):
    """Probabilities of the labels (N,), the first `wrong` of them of another class."""
    found = np.array(labels)
    found[:wrong] = (found[:wrong] + 1) % 3
    return np.eye(3)[found]


def test_the_page_counts_the_answers_that_change(small):
    run = load_run(small, "plain")
    run = run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"smooth": 1.0})})
    labels = np.arange(100) % 3
    patients = [f"p{number}" for number in range(100)]
    paths = [f"{number}.png" for number in range(100)]
    records = pd.DataFrame({"path": paths, "label": np.array(CLASSES)[labels], "patient": patients})
    kinds = list(changes.CHANGES)
    plain = {"": certain(labels), **{kind: certain(labels, wrong=20) for kind in kinds}}
    better = {"": certain(labels), **{kind: certain(labels, wrong=5) for kind in kinds}}
    sizes = pd.Series(range(1, 101), paths)
    page = SMOOTHING.page(run, records, sizes, {0: plain, 1.0: better})
    assert "worst group" in page
    assert "| 1.0 | 1.000 (1.000 to 1.000) | 1.000 (1.000 to 1.000) |" in page
    assert "worst group |" not in SMOOTHING.page(run, records, None, {0: plain, 1.0: better})
    assert f"{kinds[0]} by -0.150 (-0.2" in page
    assert "Weighted F1 changes by +0.000 (+0.000 to +0.000)" in page
    assert "100\nvalidation images of 100 patients" in page
    assert "| 0.200 (0." in page
    assert "| 0.050 (0." in page


def test_answers_are_those_of_the_smoothed_network(small):
    run = load_run(small, "plain").model_copy(update={"name": "smoothed"})
    torch.manual_seed(1)
    Classifier("resnet18", CLASSES, 32).save_pretrained(run.artifacts / "model")
    images = SMOOTHING.changed(np.random.default_rng(0).integers(0, 256, (2, 32, 32), dtype=np.uint8))
    assert set(images) == {"", *changes.CHANGES}
    sharp, smooth = (SMOOTHING.answers(run, sigma, images) for sigma in (0, 2))
    assert sharp[""].shape == (2, 3)
    assert not np.array_equal(sharp[""], smooth[""])
