"""Embeddings: which one it is, is said; what decides it makes it anew, and nothing else does."""

import numpy as np
import pytest
from PIL import Image

from support.project import PROJECT, write_study
from xnn import load_images, load_records, load_study, wrangle
from xnn.explore import embedding

WEIGHTS = PROJECT.parent / "shared/weights"


@pytest.fixture
def radiographs(tmp_path, monkeypatch):
    """A study of real files, 32 pixels a side; its name."""
    rng = np.random.default_rng(0)
    for number in range(24):
        label = ("bacteria", "virus", "normal")[number % 3]
        file = tmp_path / f"train/{label}/person{number}_{label}_1.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 48), np.uint8)).save(file)
    monkeypatch.setenv("ARCHIVE", str(tmp_path))
    write_study("files", "{title: files, source: archive, image_size: 32, fractions: [0.6, 0.2, 0.2]}")
    wrangle(load_study("files"))
    return load_study("files")


def test_phantoms_need_nothing_to_download(small):
    study = load_study(small)
    records = load_records(study)
    found = embedding.embed(study, records)
    assert found.source.startswith("principal components of pixels")
    assert found.values.shape == (len(records), embedding.COMPONENTS)
    assert np.linalg.norm(found.values, axis=1) == pytest.approx(np.ones(len(records)), abs=1e-5)
    assert embedding.plane(found.values).shape == (len(records), 2)


def test_it_is_computed_once_and_anew_for_other_records(small, monkeypatch):
    study = load_study(small)
    records = load_records(study)
    before = embedding.embed(study, records)
    components, calls = embedding.components, []
    monkeypatch.setattr(embedding, "components", lambda *a: calls.append(a) or components(*a))
    assert np.array_equal(embedding.embed(study, records).values, before.values)
    assert not calls
    assert len(embedding.embed(study, records[:40]).values) == 40
    assert len(calls) == 1
    embedding.embed(study, records)  # as other tests expect it


def test_weights_that_cannot_be_had_are_told(radiographs, tmp_path, monkeypatch):
    monkeypatch.setenv("WEIGHTS", str(tmp_path / "nowhere"))
    found = embedding.embed(radiographs, load_records(radiographs))
    assert found.source.startswith("principal components of pixels (WEIGHTS=")
    assert "no such folder" in found.source


@pytest.mark.skipif(not WEIGHTS.exists(), reason="no weight files in ../shared/weights")
def test_imagenet_features_where_there_are_weights(radiographs, monkeypatch):
    monkeypatch.setenv("WEIGHTS", str(WEIGHTS))
    found = embedding.embed(radiographs, load_records(radiographs))
    assert found.source == "MobileNetV2 with ImageNet weights"
    assert found.values.shape == (24, 1280)


def test_a_small_copy_is_the_mean_of_its_pixels(small):
    images = load_images(load_study(small))
    small_copy = embedding.thumbnails(images, [3], 16)[0]
    assert small_copy[0, 0] == pytest.approx(images[3][:2, :2].mean() / 255, abs=1 / 255)
