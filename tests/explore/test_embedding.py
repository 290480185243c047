"""Embeddings: which one it is, is said; what decides it makes it anew, and nothing else does."""

import numpy as np
import pytest
from PIL import Image

from support.project import PROJECT, write_study
from xnn import load_images, load_records, load_study, wrangle
from xnn.explore import embedding
from xnn.models import weights

WEIGHTS = PROJECT.parent / "shared/weights"
TEXT = "{title: files, source: archive, image_size: 32, fractions: [0.6, 0.2, 0.2]}"


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
    write_study("files", TEXT)
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
    assert found.source.startswith("principal components of pixels (no ImageNet weights: set WEIGHTS to")
    assert str(tmp_path) not in found.source


def test_a_study_without_pretrained_weights_asks_no_host(radiographs, monkeypatch):
    asked = []
    monkeypatch.delenv("WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "_download", lambda spec: asked.append(spec) or 1 / 0)
    write_study("files", TEXT, plain="model: {weights: none}", tuned="model: {start_from: plain}")
    assert "no ImageNet weights" in embedding.embed(radiographs, load_records(radiographs)).source
    assert not asked
    write_study("files", TEXT, plain="model: {weights: imagenet}")
    with pytest.raises(ZeroDivisionError):
        embedding.embed(radiographs, load_records(radiographs))
    assert len(asked) == 1
    (radiographs.file.parent / "plain.yaml").unlink()
    (radiographs.file.parent / "tuned.yaml").unlink()


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
