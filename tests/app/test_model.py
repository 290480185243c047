import json
import shutil

import pytest

from support.serving import folder_of
from xnn.app import model as served
from xnn.app.settings import SettingsError

CONFIG = "config.json"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("served") / "model")


@pytest.fixture
def folder(model, tmp_path):
    return shutil.copytree(model, tmp_path / "study/run/model")


def line(folder) -> str:
    with pytest.raises(SettingsError) as caught:
        served.load(str(folder))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def change(folder, **values):
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **values}))


def test_a_trained_folder_is_enough(folder):
    found = served.load(str(folder))
    assert found.info.id == "study/run"
    assert (found.info.temperature, found.distance, found.info.metrics) == (None, None, None)


def test_what_is_no_model_is_one_line(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "no such folder" in line(tmp_path / "nothing")
    assert "no config.json" in line(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "no model.safetensors" in line(folder)
    assert "pickles are not loaded" in line(folder)


def test_a_hub_id_that_cannot_be_had_is_one_line(monkeypatch):
    monkeypatch.setattr(served, "snapshot_download", lambda *_, **__: 1 / 0)
    assert "the hub gave no such model: division" in line("someone/something")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"backbone": "vgg16"}, "backbone: input should be 'mobilenet_v2'"),
        ({"classes": ["one"]}, "classes"),
        ({"classes": ["a", "b"]}, "does not fit its config.json"),
        ({"image_size": 5}, "image_size: input should be greater"),
        ({"hidden": [5]}, "does not fit its config.json"),
    ],
)
def test_a_config_that_does_not_fit_is_one_line(folder, values, words):
    change(folder, **values)
    assert words in line(folder)


def test_damaged_files_are_one_line(folder):
    (folder / "metrics.json").write_text('{"calibration": {"temperature": "warm"}}')
    assert "metrics.json: calibration.temperature: input should be a valid number" in line(folder)
    (folder / "metrics.json").write_text('{"calibration": {"temperature": 0}}')
    assert "calibration.temperature: input should be greater than 0" in line(folder)
    (folder / "metrics.json").write_text("{")
    assert "not valid JSON" in line(folder)
    (folder / "metrics.json").unlink()
    (folder / "statistics.safetensors").write_bytes(b"x" * 20)
    assert "statistics.safetensors" in line(folder)
    (folder / "statistics.safetensors").unlink()
    (folder / "shipped.json").write_text('{"baseline": "white"}')
    assert "shipped.json: baseline" in line(folder)
    (folder / "shipped.json").unlink()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "model.safetensors does not fit" in line(folder)
