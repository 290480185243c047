"""The baseline finds a shortcut where there is one, and only there."""

import numpy as np
import pandas as pd
import pytest

from xnn import file_features, load_images, load_records, load_study
from xnn.evaluation.protocol import shortcut_baseline


def test_columns_that_are_the_same_everywhere_are_left_out(small):
    study = load_study(small)
    records = load_records(study)
    found = file_features(records, load_images(study))
    assert list(found.columns) == ["mean intensity"], "phantoms come in no files"
    assert found["mean intensity"].iloc[3] == load_images(study)[records.row[3]].mean()


@pytest.fixture
def sizes(small):
    """The study's records with file sizes that may tell the class."""
    study, rng = load_study(small), np.random.default_rng(0)

    def make(telling: bool) -> dict:
        records = load_records(study)
        place = records.label.map(study.classes.index)
        records["bytes"] = rng.normal(1000, 10, len(records)) + 200 * telling * place
        records["width"] = rng.integers(900, 1100, len(records))
        return shortcut_baseline(study, records, file_features(records, load_images(study)), resamples=50)

    return make


def test_a_file_size_that_tells_the_class_is_found(sizes):
    found = sizes(telling=True)
    assert set(found["features"]) == {"width", "aspect", "bytes", "mean intensity"}
    other = sizes(telling=False)
    assert found["scores"]["auroc_pneumonia"]["low"] > other["scores"]["auroc_pneumonia"]["value"]
    assert found["scores"]["f1_weighted"]["value"] > other["scores"]["f1_weighted"]["value"] + 0.2


def test_the_baseline_is_repeatable(small):
    study = load_study(small)
    records = load_records(study)
    given = study, records, file_features(records, load_images(study))
    first, second = (shortcut_baseline(*given, resamples=20) for _ in range(2))
    assert first == second
    assert pd.Series(first["confusion"]).map(sum).sum() == first["n"]
