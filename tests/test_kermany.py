"""The real radiographs and ImageNet weights, where a copy of them lies beside the project."""

import json

import pytest
from conftest import PROJECT, write_study

from xnn import audit, build, load_run, load_study, wrangle

SHARED = PROJECT.parent / "shared"
ARCHIVE = SHARED / "data/chest_xray_224.zip"
WEIGHTS = SHARED / "weights"


@pytest.fixture
def study(monkeypatch):
    text = (PROJECT / "params/kermany/study.yaml").read_text()
    write_study("real", f"{text}image_size: 32\n", run=json.dumps({"model": {"weights": "imagenet"}}))
    monkeypatch.setenv("ARCHIVE", str(ARCHIVE))
    monkeypatch.setenv("WEIGHTS", str(WEIGHTS))
    return load_study("real")


@pytest.mark.skipif(not ARCHIVE.exists(), reason="no copy of the radiographs in ../shared/data")
def test_every_radiograph_is_found_and_no_patient_is_torn_apart(study):
    records, set_aside = wrangle(study)
    assert len(set_aside) == 0
    assert records.label.value_counts().to_dict() == {"bacteria": 2772, "normal": 1575, "virus": 1493}
    assert (records.source_split == "test").sum() == 624
    assert records.patient.str.match(r"person\d+$|(NORMAL2-)?IM-\d+$").all()
    leaks = audit(records)
    assert leaks[["shared_images", "duplicates"]].to_numpy().sum() == 0
    assert (leaks.images / len(records)).loc[["train", "val", "test"]].tolist() == pytest.approx(
        [0.8, 0.1, 0.1], abs=0.005
    )


@pytest.mark.skipif(not WEIGHTS.exists(), reason="no weight files in ../shared/weights")
def test_the_imagenet_weights_fit(study):
    start = build(load_run("real", "run"))
    assert start.weights == "imagenet: mobilenet_v2-imagenet1k.safetensors"


def test_the_committed_report_is_whole():
    folder = PROJECT / "reports/kermany"
    runs = sorted(file.stem for file in (PROJECT / "params/kermany").glob("*.yaml") if file.stem != "study")
    for run in runs:
        metrics = json.loads((folder / run / "metrics.json").read_text())
        assert metrics["provenance"]["dirty"] is False
        assert sum(map(sum, metrics["confusion"])) == metrics["n"]
        assert (folder / run / "explanations.json").exists()
    table = (folder / "results.csv").read_text()
    assert all(run in table for run in runs)
