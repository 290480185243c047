import numpy as np
import pytest
import torch

from xnn import fit, load_images, load_model, load_records, load_run, metrics, to_input
from xnn.config import provenance
from xnn.evaluation.predictions import predictions_table
from xnn.models import classifier, prediction, preprocessing


@pytest.fixture(scope="module")
def run(small):
    run = load_run(small, "plain")
    provenance.write_json(fit(run), run.reports / "training.json")
    return run


@pytest.fixture
def fresh(run):
    """A run without kept predictions."""
    for name in ("predictions.csv", "predictions.json"):
        (run.reports / name).unlink(missing_ok=True)
    return run


def test_batch_size_changes_no_metric(fresh, monkeypatch):
    """Metrics averaged over batches are this data's best known trap."""
    classes, found = fresh.study.classes, []
    records = load_records(fresh.study).query("split == 'test'")
    images = load_images(fresh.study)[records.row.to_numpy()]
    for size in (1, 7, 64):
        monkeypatch.setattr(classifier, "BATCH", size)
        probabilities = classifier.probabilities(classifier.logits(load_model(fresh), images))
        # the same to rounding; a tie that rounding breaks is no change of a metric
        table = predictions_table(records, probabilities.round(4), classes)
        found.append(metrics(table, classes, resamples=50))
    assert found[0] == found[1] == found[2]


def test_probabilities_sum_to_one():
    found = classifier.probabilities(np.array([[1000.0, 0, -1000], [0, 0, 0]], np.float32))
    assert found.sum(axis=1) == pytest.approx([1, 1], abs=1e-12)
    assert found[1] == pytest.approx([1 / 3] * 3)


def test_flip_averages_an_image_and_its_mirror_image(run):
    model, images = load_model(run), load_images(run.study)[:3]
    mirrored = np.ascontiguousarray(images[..., ::-1])
    plain = (classifier.logits(model, images) + classifier.logits(model, mirrored)) / 2
    assert classifier.logits(model, images, flip=True) == pytest.approx(plain, abs=1e-5)


def test_a_run_is_asked_about_smoothed_images(run):
    images = to_input(load_images(run.study)[:3])
    smooth = run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"smooth": 2.0})})
    found, plain = load_model(smooth).prepare(images), load_model(run).prepare
    assert torch.allclose(found, plain(preprocessing.blur(images, 2.0)), atol=1e-6)
    assert not torch.allclose(found, plain(images), atol=0.5)


def test_predictions_are_kept_until_what_decides_them_changes(run, monkeypatch, capsys):
    first = prediction.predictions(run)
    assert list(first.columns) == ["path", "label", "patient", "bacteria", "normal", "virus"]
    with monkeypatch.context() as patch:
        patch.setattr(classifier, "load_model", lambda run: pytest.fail("asked again"))
        kept = prediction.predictions(run)
    assert kept.equals(first)
    for change in ({"flip": True}, {"smooth": 1.0}):
        other = run.model_copy(update={"evaluation": run.evaluation.model_copy(update=change)})
        assert prediction.key(other) != prediction.key(run)


def test_predictions_that_were_tampered_with_are_made_again(fresh):
    first = prediction.predictions(fresh)
    file = fresh.reports / "predictions.csv"
    file.write_text(file.read_text().replace("normal", "virus", 1))
    assert prediction.predictions(fresh).equals(first)
