"""The app asks the network as the notebooks do: equal probabilities, equal maps."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from scipy import ndimage

from support.samples import CLASSES
from support.serving import encoded
from xnn import Classifier, load_images, load_model, load_records, load_run, plots, to_input
from xnn.app import answers, model
from xnn.app.answers import Question
from xnn.app.settings import Settings, SettingsError
from xnn.config import provenance, schema
from xnn.evaluation.calibration import tempered
from xnn.evaluation.predictions import predictions_table
from xnn.explain import evidence, methods, sample, scales, target
from xnn.models import classifier, distance, kept
from xnn.report import ship


@pytest.fixture(scope="module")
def run(small):
    """A run of the phantom study with a network of random weights and what its report would say."""
    found = load_run(small, "plain")
    torch.manual_seed(1)
    Classifier("mobilenet_v2", CLASSES, 32).save_pretrained(found.artifacts / "model")
    records = load_records(found.study)
    test = records[records.split == "test"].sort_values("path").reset_index(drop=True)
    images = load_images(found.study)[test.row.to_numpy()]
    logits = classifier.logits(load_model(found), images, found.evaluation.flip)
    predictions = predictions_table(test, classifier.probabilities(logits), CLASSES)
    found.reports.mkdir(parents=True, exist_ok=True)
    predictions.to_csv(found.reports / "predictions.csv", index=False)
    score = {"value": 0.5, "low": 0.4, "high": 0.6}
    scores = dict.fromkeys(("accuracy", "f1_macro", "auroc_pneumonia"), score)
    metrics = {"n": len(test), "patients": test.patient.nunique(), "scores": scores}
    metrics |= {"calibration": {"temperature": 1.3}}
    provenance.write_json(metrics | {"provenance": {"commit": "abc"}}, found.reports / "metrics.json")
    return found


@pytest.fixture(scope="module")
def shipped(run, tmp_path_factory):
    return ship.ship(run, tmp_path_factory.mktemp("models") / "shipped")


@pytest.fixture(scope="module")
def images(run):
    records = load_records(run.study)
    return load_images(run.study)[records[records.split == "test"].row.to_numpy()[:3]]


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)))


def notebook(network, run, images, targets):
    """Maps and completeness as 5-explain computes them."""
    given = sample.Sample(to_input(images), torch.tensor(targets), np.zeros(3), np.ones(3, bool))
    return evidence.integrate(network, run, given)


def test_a_shipped_model_gets_the_results_of_a_new_evaluation(run, shipped, monkeypatch):
    values = provenance.read_json(shipped / "shipped.json") | {"training_key": "k"}
    copied = shutil.copytree(shipped, schema.root() / "models" / f"{run.study.name}-{run.name}")
    provenance.write_json(values, copied / "shipped.json")
    monkeypatch.setattr(kept, "folder", lambda _: copied)
    smooth = run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"smooth": 1.0})})
    again = ship.ship(smooth, copied)
    assert again == copied
    assert provenance.read_json(again / "config.json")["smooth"] == 1
    now = provenance.read_json(again / "shipped.json")
    assert all(now[name] == values[name] for name in ship.ORIGIN)
    assert (again / "model.safetensors").read_bytes() == (shipped / "model.safetensors").read_bytes()
    assert (again / "README.md").read_text() == (shipped / "README.md").read_text()
    shutil.rmtree(copied)


def test_probabilities_and_maps_are_those_of_the_notebooks(run, images):
    network = load_model(run)
    expected = classifier.probabilities(classifier.logits(network, images, run.evaluation.flip))
    found = notebook(target.explained(run, load_model(run)), run, images, expected.argmax(axis=1).tolist())
    loaded = model.load(str(run.artifacts / "model"))
    gradients = run.explanation.max_gradients
    for number, image in enumerate(images):
        answer = answers.answer(loaded, encoded(image), Question(), Settings(max_gradients=gradients))
        np.testing.assert_allclose(list(answer.probabilities.values()), expected[number], rtol=1e-5)
        np.testing.assert_array_equal(pixels(answer.radiograph), image)
        assert answer.explanation.steps == found.gradients[number]
        overlay = pixels(answer.explanation.overlay).astype(int)
        shown = scales.smoothed(found.maps)[number]
        assert np.abs(overlay - plots.overlay(image, shown)).max() <= 1
        _, attributions = answers.explain(
            loaded, answers.look(loaded, image), answer.predicted, Question(), gradients
        )
        np.testing.assert_allclose(attributions, found.maps[number], atol=1e-5)


def test_other_methods_and_baselines_are_those_of_the_notebooks(run, images, shipped):
    loaded, plain = model.load(str(shipped)), Classifier.from_pretrained(shipped)
    given, virus = to_input(images[:1]), torch.tensor([2])
    explained = target.Evidence(plain, flip=run.evaluation.flip)
    for name, method in {"mean": "occlusion", "blur": "smoothgrad_ig", "black": "grad_cam"}.items():
        start = sample.run_baseline(run, given, name)
        expected = methods.attributions(method, explained, given, virus, start).maps[0]
        question = Question(method=method, baseline=name, target="virus")
        seen = answers.look(loaded, images[0])
        explanation, attributions = answers.explain(loaded, seen, "normal", question, 100)
        assert (explanation.method, explanation.baseline, explanation.target) == (method, name, "virus")
        np.testing.assert_allclose(attributions, expected, atol=1e-5)


def test_a_shipped_model_is_half_as_large_and_calibrated(run, images, shipped):
    sizes = [(f / "model.safetensors").stat().st_size for f in (shipped, run.artifacts / "model")]
    assert sizes[0] < 0.55 * sizes[1]
    loaded = model.load(str(shipped))
    expected = classifier.probabilities(classifier.logits(load_model(run), images, run.evaluation.flip))
    answer = answers.answer(loaded, encoded(images[0]), Question(explain=False), Settings())
    found = list(answer.probabilities.values())
    np.testing.assert_allclose(found, tempered(expected, 1.3)[0], atol=0.005)
    flags = {flag.name: flag for flag in answer.quality}
    assert flags["uncalibrated"].raised is False
    assert flags["far_from_training"].raised is not None
    assert loaded.info.shipped["rounding"]["largest"] < 0.005
    assert "no medical device" in loaded.info.card
    assert answer.model.provenance == {"commit": "abc"}


def test_features_of_training_images_are_near_and_others_far():
    rng = np.random.default_rng(0)
    scale = np.linspace(0.1, 3, 20)
    training, validation = rng.normal(size=(500, 20)) * scale, rng.normal(size=(300, 20)) * scale
    fitted = distance.fit_distance(training, validation, 8)
    assert (fitted.of(validation) > fitted.threshold).mean() == pytest.approx(0.01, abs=0.005)
    assert (fitted.of(rng.normal(size=(300, 20)) * scale) > fitted.threshold).mean() < 0.05
    assert (fitted.of(rng.normal(size=(300, 20)) * scale + 3) > fitted.threshold).all()
    with pytest.raises(ValueError, match="too few"):
        distance.fit_distance(training[:2], validation)


def test_training_images_are_turned_by_at_most_so_many_degrees(images):
    np.testing.assert_array_equal(distance.turned(images, 0), images)
    found = distance.turned(images, 20)
    for image, each in zip(images, found, strict=True):
        errors = {
            angle: np.abs(ndimage.rotate(image, angle, reshape=False, order=1).astype(float) - each).mean()
            for angle in range(-30, 31)
        }
        assert abs(min(errors, key=errors.get)) <= 20
    assert (found != images).any()


def test_statistics_of_another_network_are_one_line(shipped, tmp_path):
    folder = shutil.copytree(shipped, tmp_path / "model")
    arrays = load_file(folder / "statistics.safetensors")
    cut = {name: arrays[name][..., :7].copy() for name in ("mean", "directions")}
    save_file({**arrays, **cut}, folder / "statistics.safetensors")
    with pytest.raises(SettingsError, match=r"statistics\.safetensors does not fit the network: [^\n]+$"):
        model.load(str(folder))
    save_file({"mean": arrays["mean"]}, folder / "statistics.safetensors")
    with pytest.raises(SettingsError, match="training_mean"):
        model.load(str(folder))


def test_an_image_without_anything_gives_numbers(run):
    loaded = model.load(str(run.artifacts / "model"))
    for value in (0, 255):
        data = encoded(np.full((64, 64), value, np.uint8))
        answer = answers.answer(loaded, data, Question(), Settings())
        assert np.isfinite(list(answer.probabilities.values())).all()
        assert np.isfinite(list(answer.explanation.completeness.model_dump().values())).all()
        assert all(np.isfinite(flag.value) for flag in answer.quality if flag.value is not None)


def test_the_conformal_set_is_that_of_the_report(run, images, shipped, tmp_path):
    folder = shutil.copytree(shipped, tmp_path / "model")
    metrics = json.loads((folder / "metrics.json").read_text())
    limits = {"bacteria": 1.0, "normal": 0.0, "virus": 1.0}
    coverage = {"value": 0.91, "low": 0.88, "high": 0.94}
    conformal = {"level": 0.9, "thresholds": limits, "coverage": coverage}
    provenance.write_json(metrics | {"conformal": conformal}, folder / "metrics.json")
    answer = answers.answer(model.load(str(folder)), encoded(images[0]), Question(explain=False), Settings())
    assert answer.prediction_set.model_dump() == {
        "classes": ["bacteria", "virus"],
        "level": 0.9,
        "coverage": 0.91,
    }
