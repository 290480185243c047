"""Predictions, studies and records made up for the tests."""

import itertools

import numpy as np
import pandas as pd
import pytest
import yaml

from support.project import PROJECT
from xnn import DataError
from xnn.config.schema import Study
from xnn.data.splits import groups
from xnn.evaluation.predictions import predictions_table

CLASSES = ["bacteria", "normal", "virus"]
PATTERNS = yaml.safe_load((PROJECT / "params/kermany/study.yaml").read_text())["archive"]["patient"]
NUMBERS = itertools.count()


def sample(n=200, seed=0, decimals=None):
    """Labels, probabilities (float32 as a network gives them; rounded: with ties) and patients."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    odds = np.exp(rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[labels])
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    if decimals is None:
        return labels, probabilities.astype(np.float32), rng.integers(0, n // 2, n)
    probabilities = probabilities.round(decimals)
    probabilities[:, 2] = 1 - probabilities[:, 0] - probabilities[:, 1]
    return labels, np.abs(probabilities.round(decimals)), rng.integers(0, n // 2, n)


def table(n=200, seed=0):
    labels, probabilities, patients = sample(n, seed)
    records = pd.DataFrame(
        {
            "path": [f"{patient}/{i}.jpeg" for i, patient in enumerate(patients)],
            "label": np.array(CLASSES)[labels],
            "patient": patients.astype(str),
            "split": "test",
        }
    )
    return predictions_table(records, probabilities, CLASSES)


def study_of(source="archive", archive=None, **values):
    """A study of its own, 32 pixels a side."""
    archive = {"patient": PATTERNS} | (archive or {})
    values = {"title": "t", "source": source, "image_size": 32, "archive": archive} | values
    return Study.model_validate(values | {"name": f"data-{next(NUMBERS)}"})


def data_error(call, *arguments):
    """The one line that says what is wrong with a data set."""
    with pytest.raises(DataError) as caught:
        call(*arguments)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def cohort(sizes, seed=0):
    """Records of patients with this many images each, of a random class each."""
    labels = np.random.default_rng(seed).choice(CLASSES, len(sizes), p=(0.47, 0.27, 0.26))
    rows = [
        (f"{label}/{patient}-{image}.png", label, f"p{patient}", "", f"{patient}-{image}")
        for patient, (label, size) in enumerate(zip(labels, sizes, strict=True))
        for image in range(size)
    ]
    records = pd.DataFrame(rows, columns=["path", "label", "patient", "source_split", "sha256"])
    return records.assign(group=groups(records))


def sizes_of(patients, seed=0):
    """How many images each patient has: mostly one or two, with a heavy tail."""
    return np.minimum(np.random.default_rng([seed, 1]).geometric(0.5, patients), 12)
