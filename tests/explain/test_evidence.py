"""All methods and all measures on a network that has learnt nothing, at 32 pixels."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from support.project import QUICK, SMALL, write_study
from xnn import Classifier, load_records, load_run
from xnn.config import provenance
from xnn.explain import card, errors, evidence, sample, scales, target


@pytest.fixture(scope="module")
def run(small):
    return load_run(small, "plain")


@pytest.fixture(scope="module")
def model(run):
    torch.manual_seed(0)
    return target.explained(run, Classifier("mobilenet_v2", ["bacteria", "normal", "virus"], 32).eval())


@pytest.fixture(scope="module")
def given(run):
    records = load_records(run.study)
    records = records[records.split == "test"]
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.dirichlet([1, 1, 1], len(records)), columns=run.study.classes)
    table = table.assign(**{name: records[name].to_numpy() for name in ("path", "label", "patient")})
    drawn = sample.draw(table, run)
    return sample.load_sample(run, drawn[drawn.measured].head(12))


@pytest.fixture(scope="module")
def found(run, model, given):
    return evidence.integrate(model, run, given)


@pytest.fixture(scope="module")
def measured(run, model, given, found):
    return evidence.measure_all(model, given, evidence.explain_all(model, run, given, found.maps), every=3)


def test_every_method_has_every_measure(measured, given):
    table = card.table(measured[0], given.patients)
    assert set(table.measure) == set(card.BETTER)
    assert set(table.method) == {*evidence.CARD_METHODS, *evidence.CONTROLS}
    assert np.isfinite(table[["value", "low", "high"]].to_numpy()).all()
    assert (table.low <= table.value + 1e-9).all()
    assert (table.value <= table.high + 1e-9).all()


def test_a_network_without_knowledge_finds_no_lesion_and_raises_no_alarm(measured, given, run, model, found):
    table = card.table(measured[0], given.patients)
    assert not card.alarm(table)["fires"]
    against = card.over_controls(measured[0], given.patients)
    verdicts = card.verdicts(against)
    for name in ("pointing_game", "relevance_mass", "relevance_rank"):
        assert verdicts[name]["verdict"] != "better"
    assert set(against.method) == set(evidence.CONTROLS)
    repeated = card.table(evidence.repeats(model, run, given, found.maps), given.patients)
    assert {"noise of 3 grey levels", "nothing learnt", "baseline black"} <= {*repeated.method}
    json.dumps(card.as_json(table), allow_nan=False)


def test_zones_and_captions_are_of_each_image(found, model, given):
    zones = evidence.by_zone(given, found.maps)
    assert list(zones) == list(scales.ZONES)
    missing = np.abs(zones.sum(axis=1) - found.difference)
    assert (missing <= found.gap * np.maximum(np.abs(found.difference), 0.1) + 1e-5).all()
    captions = evidence.captions(found, model, given)
    assert len(captions) == len(given.images)
    assert "without the lungs: 0." in captions[0]
    assert evidence.by_zone(given._replace(lungs=None), found.maps) is None


def test_another_patients_map_is_another_patients(given):
    rows = evidence.others(given)
    assert (given.patients[rows] != given.patients).all()


def test_baselines_are_asked_what_they_are(model, run, given):
    said = evidence.baselines(model, run, given)
    assert list(said) == run.study.classes
    assert said.sum(axis=1).to_numpy() == pytest.approx(1)


def test_localisation_is_of_images_classified_correctly(measured, given):
    scores = measured[0]["sobel"]["relevance_mass"]
    assert np.isnan(scores[~given.right]).all()
    assert np.isfinite(scores[given.right & given.masks.any(axis=(1, 2))]).all()


def test_areas_are_those_of_the_curves_and_rejected_measures_have_fewer_images(measured, given):
    values, curves = measured
    shares, insertion, deletion = curves["sobel"]
    assert np.trapezoid(insertion, shares, axis=1) == pytest.approx(values["sobel"]["insertion_auc"])
    assert np.trapezoid(deletion, shares, axis=1) == pytest.approx(values["sobel"]["deletion_auc"])
    known = {name: np.isfinite(values["sobel"][name]) for name in (*card.JUDGES, *card.REJECTED)}
    assert all(known[name].all() for name in card.JUDGES)
    assert all(known[name].tolist() == [True, False, False] * 4 for name in card.REJECTED)


def test_twins_have_the_same_recipe_another_seed_and_a_model():
    recipe = f"model: {{weights: none}}\ntraining: {QUICK}}}\n"
    write_study("seeds", SMALL, one=recipe, two=f"{recipe}seed: 1\n", none=f"{recipe}seed: 2\n", other="{}")
    two = load_run("seeds", "two")
    provenance.write_json({}, two.artifacts / "model/config.json")
    assert [run.name for run in evidence.twins(load_run("seeds", "one"))] == ["two"]
    assert evidence.twins(two) == []


def test_traits_of_all_images_are_those_of_each(run, model, monkeypatch):
    records = load_records(run.study)
    records = records[records.split == "test"].head(5)
    answered = records[["path", "label", "patient"]].assign(predicted=records.label, right=True)
    whole = errors.all_traits(model, run, answered)
    monkeypatch.setattr(errors, "PART", 2)
    found = errors.all_traits(model, run, answered)
    assert len(found) == 5
    assert found.to_numpy() == pytest.approx(whole.to_numpy(), abs=1e-3)
    given = sample.load_sample(run, answered)
    complete = errors.traits(evidence.integrate(model, run, given).maps, given)
    assert found.to_numpy() == pytest.approx(complete.to_numpy(), abs=0.1)
