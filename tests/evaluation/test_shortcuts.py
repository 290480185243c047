"""A shortcut is found where there is one, and only there."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from support.project import write_study
from xnn import load_records, load_run, load_study, shortcut_features
from xnn.config.provenance import write_json
from xnn.data.changes import CHANGES
from xnn.data.features import original_sizes, sharpness
from xnn.data.records import write_csv
from xnn.evaluation import shortcuts
from xnn.evaluation.predictions import predictions_table


@pytest.fixture
def given(small):
    """The study's records, and features of which the width may give the class away."""
    study, rng = load_study(small), np.random.default_rng(0)
    records = load_records(study)

    def make(telling: bool):
        place = records.label.map(study.classes.index)
        features = pd.DataFrame({"width": rng.normal(1000, 50, len(records)) + 200 * telling * (place == 1)})
        features["height"] = rng.normal(800, 50, len(records))
        return study, records, features.assign(aspect=features.width / features.height)

    return make


def test_a_size_that_gives_the_class_away_is_found(given):
    found, other = (shortcuts.shortcuts(*given(telling), resamples=100) for telling in (True, False))
    width = found["features"]["width"]
    assert width["auroc_pneumonia"]["low"] > 0.9
    assert width["higher_in"] == "normal"
    assert found["trees"]["auroc_pneumonia"]["low"] > other["trees"]["auroc_pneumonia"]["value"]
    assert other["features"]["height"]["auroc_pneumonia"]["low"] < 0.5
    _, records, _ = given(True)
    assert found["n"] == (records.split == "test").sum()


def test_a_feature_alone_is_scored_in_the_direction_of_training(given):
    study, records, features = given(True)
    found = shortcuts.shortcuts(study, records, features, resamples=20)["features"]["width"]
    test = records.split == "test"
    expected = roc_auc_score(records.label[test] != "normal", -features.width[test])
    assert found["auroc_pneumonia"]["value"] == pytest.approx(expected)


def test_phantoms_have_no_size_to_read(small):
    study = load_study(small)
    features = shortcut_features(study, load_records(study))
    assert features[["width", "height", "aspect", "file_bytes"]].nunique().eq(1).all()
    assert features.sharpness.nunique() > 1
    found = shortcuts.shortcuts(study, load_records(study), features, resamples=20)
    assert found["features"]["width"]["auroc_pneumonia"] == {"value": 0.5, "low": 0.5, "high": 0.5}


def test_sizes_are_those_of_the_originals_where_they_are_known(small):
    study = load_study(small)
    assert original_sizes(study) is None, "phantoms have one size"
    records = load_records(study)
    write_study("sized", "{title: sized, source: archive}")
    sized = load_study("sized")
    write_csv(records, sized.artifacts / "records.csv")
    table = records[["path", "sha256"]].assign(width=200, height=50, area=0.3, mask_sha256="", reason="")
    table.loc[0, "width"] = 800
    write_csv(table.drop(index=1), sized.artifacts / "lungs.csv")
    found = original_sizes(sized)
    assert found.index.tolist() == records.path.tolist()
    assert found.iloc[0] == 200
    assert np.isnan(found.iloc[1]), "without a mask"
    assert (found.iloc[2:] == 100).all()


def test_three_sides_of_every_run_with_a_region_test():
    write_study("sided", first="{}", second="{}", untested="{}")
    study = load_study("sided")
    assert shortcuts.three_sides(study) == {}
    score = {"value": 0.8, "low": 0.7, "high": 0.9}
    for run, chosen in {"first": 0.6, "second": 0.7, "untested": 0.9}.items():
        validation = {"f1_weighted": score | {"value": chosen}, "worst_group_accuracy": None}
        write_json(
            {"scores": {"accuracy": score}, "validation": validation}, study.reports / run / "metrics.json"
        )
        inputs = {name: {"auroc_pneumonia": score} for name in ("whole", "lungs_removed")}
        changes = [{"change": name, "changed": score} for name in (*CHANGES, "marker removed")]
        if run != "untested":
            write_json({"inputs": inputs, "changes": changes}, study.reports / run / "regions.json")
    found = shortcuts.three_sides(study)
    counts = {label: table.groupby("run", sort=False).size().to_dict() for label, table in found.items()}
    assert [*counts.values()] == [{"second": n, "first": n} for n in (1, 3, 2)], "the chosen run first"


def test_sharpness_falls_with_blur():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64)).astype(np.uint8)
    assert sharpness(image) > 3 * sharpness(np.full((64, 64), 9, np.uint8)) + 10


def test_parts_of_the_source_are_compared_within_a_class(given):
    study, records, features = given(False)
    assert shortcuts.between_parts(study, records, features).empty
    parts = np.where(np.arange(len(records)) % 3 == 0, "test", "train")
    features["width"] += 500 * (parts == "test")
    found = shortcuts.between_parts(study, records.assign(source_split=parts), features, 50)
    found = found.set_index(["class", "feature"]).value
    assert (found.xs("width", level="feature") > 0.99).all()
    assert found.xs("height", level="feature").between(0.2, 0.8).all()


@pytest.fixture
def evaluated(small, given):
    """A run that calls every healthy image with a small width bacteria, and is right otherwise."""
    study, records, features = given(False)
    run = load_run(small, "plain").model_copy(update={"name": "false-alarms"})
    test = (records.split == "test").to_numpy()
    called = records.label[test].map(study.classes.index).to_numpy(copy=True)
    called[(called == 1) & (features.width[test] < 1000)] = 0
    run.reports.mkdir(parents=True, exist_ok=True)
    table = predictions_table(records[test], np.eye(3)[called], study.classes)
    table.to_csv(run.reports / "predictions.csv", index=False)
    return run, records, features


def test_a_feature_that_decides_false_alarms_is_found(evaluated):
    found = shortcuts.of_false_alarms(*evaluated, 50).set_index("feature")
    assert found.value["width"] == 1
    assert 0 < found.alarms.iloc[0] < found.healthy.iloc[0]


def test_subgroups_have_the_recall_of_their_images(evaluated):
    run, records, _ = evaluated
    found = shortcuts.subgroups(run, records, 50).set_index("class")
    assert set(found.group) == {"file name begins with phantom"}
    assert found.value["bacteria"] == found.value["virus"] == 1 > found.value["normal"]
    assert found.n.sum() == (records.split == "test").sum()


def test_a_study_without_a_healthy_class_compares_f1(evaluated):
    run, records, features = evaluated
    study = run.study.model_copy(update={"healthy": "none of these"})
    found = shortcuts.shortcuts(study, records, features, resamples=20)
    scores = {"f1_weighted": {"value": 0.5, "low": 0.4, "high": 0.6}}
    table = shortcuts.by_feature(found, scores, "plain")
    assert table.attrs["score"] == "weighted F1"
    assert table.run.tolist() == [*shortcuts.TREES.values(), "plain"]
    assert "0.500 (0.400 to 0.600)" in shortcuts.sentence(found, scores, "plain")
    assert len(shortcuts.beside(found, scores, "plain")) == 3
    assert shortcuts.of_false_alarms(run.model_copy(update={"study": study}), records, features).empty


def test_networks_on_parts_stand_beside_the_same_recipe_on_the_whole():
    same = "model: {{weights: none, region: {}}}\nnote: {}\n"
    runs = {part: same.format(part, part) for part in ("whole", "lungs_only", "letterbox")}
    write_study("parts", "{title: parts, source: phantom}", **runs, other="model: {weights: none}\nseed: 3\n")
    study = load_study("parts")
    assert shortcuts.region_grid(study).empty
    for run, value in {"whole": 0.9, "lungs_only": 0.6, "other": 0.8, "letterbox": 0.7}.items():
        score = {"value": value, "low": value - 0.1, "high": value + 0.1}
        inputs = {part: {"auroc_pneumonia": score} for part in ("whole", "lungs_only")}
        write_json({"inputs": inputs}, study.reports / run / "regions.json")
    grid = shortcuts.region_grid(study)
    assert grid.index.tolist() == ["other", "whole", "letterbox", "lungs_only"], (
        "those trained on parts come last"
    )
    assert grid.loc["lungs_only", "trained on"] == "lungs only"
    (sentence,) = shortcuts.trained_on_parts(study)
    assert "AUROC for pneumonia: whole 0.900 (0.800 to 1.000), lungs only 0.600 (0.500 to 0.700)." in sentence
    assert "letterbox" not in sentence, "the region test has no such part"
