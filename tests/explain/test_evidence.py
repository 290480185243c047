"""All methods and all measures on a network that has learnt nothing, at 32 pixels."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from support.project import QUICK, SMALL, write_study
from xnn import Classifier, load_records, load_run
from xnn.config import provenance
from xnn.explain import card, evidence, sample

METHODS = ("integrated_gradients", "saliency", "grad_cam", *evidence.CONTROLS)


@pytest.fixture(scope="module")
def run(small):
    return load_run(small, "plain")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Classifier("mobilenet_v2", ["bacteria", "normal", "virus"], 32).eval()


@pytest.fixture(scope="module")
def given(run):
    records = load_records(run.study)
    records = records[records.split == "test"]
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.dirichlet([1, 1, 1], len(records)), columns=run.study.classes)
    table = table.assign(**{name: records[name].to_numpy() for name in ("path", "label", "patient")})
    drawn = sample.draw(table, run)
    return sample.load_sample(run, drawn[drawn.measured])


@pytest.fixture(scope="module")
def measured(run, model, given):
    known = {"integrated_gradients": evidence.integrate(model, run, given).maps}
    maps = evidence.explain_all(model, run, given, known)
    chosen = {name: method for name, method in evidence.explainers(run).items() if name in METHODS}
    return evidence.measure_all(model, chosen, given, maps)


def test_every_method_has_every_measure(measured, given):
    found = card.table(measured[0], given.patients)
    assert set(found.measure) == set(card.BETTER)
    assert set(found.method) == set(METHODS)
    assert np.isfinite(found[["value", "low", "high"]].to_numpy()).all()
    assert (found.low <= found.value + 1e-9).all()
    assert (found.value <= found.high + 1e-9).all()


def test_a_network_without_knowledge_finds_no_lesion_and_raises_no_alarm(measured, given):
    found = card.table(measured[0], given.patients)
    assert not card.alarm(found)["fires"]
    against = card.table(card.over_controls(measured[0]), given.patients)
    found_out = card.verdicts(against)
    assert all(found_out[name] != "better" for name in ("pointing_game", "relevance_mass", "relevance_rank"))
    assert set(against.method) == set(evidence.CONTROLS)
    assert "No alarm" in card.sentence(found, against)
    json.dumps(card.as_json(found), allow_nan=False)


def test_localisation_is_of_images_classified_correctly(measured, given):
    scores = measured[0]["sobel"]["relevance_mass"]
    assert np.isnan(scores[~given.right]).all()
    assert np.isfinite(scores[given.right & given.masks.any(axis=(1, 2))]).all()


def test_blank_maps_have_every_measure(model, given):
    def blank(model, images, targets):
        return np.zeros((len(images), *images.shape[-2:]), np.float32)

    found, _ = evidence.measure(model, blank, given, blank(model, given.images, given.targets))
    for name, values in found.items():
        assert np.isfinite(values).any(), name
    assert np.nanmax(found["randomisation_spearman"]) == 0
    assert found["frame_share"] == pytest.approx(evidence.localisation.frame(32).mean())


def test_curves_are_those_of_rise(measured):
    shares, insertion, deletion = evidence.rise_curves(measured[1])["sobel"]
    assert np.trapezoid(insertion, shares, axis=1) == pytest.approx(measured[0]["sobel"]["insertion_auc"])
    assert np.trapezoid(deletion, shares, axis=1) == pytest.approx(measured[0]["sobel"]["deletion_auc"])


def test_agreement_between_baselines_noise_and_networks(run, model, given):
    few = given.take(np.arange(2))
    maps = evidence.explain_all(model, run, few, {})
    found = evidence.agreement(model, run, few, maps)
    assert set(found) == {"baseline mean", "baseline blur", "noise of SmoothGrad"}
    for each in found.values():
        assert (np.abs(each["spearman"]) <= 1).all()
        assert ((each["top_overlap"] >= 0) & (each["top_overlap"] <= 1)).all()


def test_twins_have_the_same_recipe_another_seed_and_a_model():
    recipe = f"model: {{weights: none}}\ntraining: {QUICK}}}\n"
    write_study("seeds", SMALL, one=recipe, two=f"{recipe}seed: 1\n", none=f"{recipe}seed: 2\n", other="{}")
    two = load_run("seeds", "two")
    provenance.write_json({}, two.artifacts / "model/config.json")
    assert [run.name for run in evidence.twins(load_run("seeds", "one"))] == ["two"]
    assert evidence.twins(two) == []


def test_several_baselines_are_one_image_where_only_one_serves():
    assert evidence.mean_image(torch.ones(1, 4, 3, 8, 8)).shape == (1, 3, 8, 8)
    assert evidence.mean_image(torch.ones(2, 3, 8, 8)).shape == (2, 3, 8, 8)
