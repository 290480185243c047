import json

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import mobilenet_v2

from support.project import write_study
from xnn import WeightsError, build, load_run
from xnn.models import backbones

TINY = {"depths": [1, 1, 2, 1], "hidden_sizes": [8, 8, 16, 16]}


def weights_run(weights: str, **model) -> object:
    """A run of a study of real images, for its weights alone."""
    write_study("weights", run=json.dumps({"model": {"weights": weights, **model}}))
    return load_run("weights", "run")


def test_imagenet_weights_come_from_a_file(tmp_path, monkeypatch):
    network = mobilenet_v2(weights=None)
    save_file(network.state_dict(), tmp_path / "mobilenet_v2-imagenet1k.safetensors")
    monkeypatch.setenv("WEIGHTS", str(tmp_path))
    start = build(weights_run("imagenet"))
    assert "mobilenet_v2-imagenet1k.safetensors" in start.weights
    assert len(start.sha256) == 64
    own, given = start.model.backbone.state_dict(), network.features.state_dict()
    assert all(torch.equal(own[k], given[k]) for k in given)


def test_a_hub_folder_is_loaded_offline_and_its_place_is_not_printed(tmp_path, capfd, caplog):
    network = convnext()
    network.save_pretrained(tmp_path / "hub")
    capfd.readouterr()
    start = build(weights_run(str(tmp_path / "hub"), backbone="convnextv2"))
    assert start.weights == "hub: a local folder"
    assert str(tmp_path) not in "".join(capfd.readouterr()) + caplog.text
    given = network.convnextv2.embeddings.patch_embeddings.weight
    assert torch.equal(start.model.backbone[0].patch_embeddings.weight, given)
    assert torch.equal(start.model.head[2].weight, network.convnextv2.layernorm.weight)


def test_weights_that_cannot_be_had_say_what_was_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *a, **k: 1 / 0)
    monkeypatch.setenv("WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError) as error:
        build(weights_run("imagenet", backbone="resnet50"))
    message = str(error.value)
    assert "\n" not in message
    for part in (str(tmp_path), "resnet50-imagenet1k.safetensors", "https://", "weights: none"):
        assert part in message


def test_a_weights_folder_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setenv("WEIGHTS", "no/such/folder")
    with pytest.raises(WeightsError, match="no such folder"):
        build(weights_run("imagenet"))


def test_weights_of_another_network_do_not_fit(tmp_path, monkeypatch):
    save_file({"a": torch.zeros(1)}, tmp_path / "odd.safetensors")
    monkeypatch.setenv("WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"odd\.safetensors does not fit mobilenet_v2"):
        build(weights_run("odd.safetensors"))


def convnext():
    from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

    return ConvNextV2ForImageClassification(ConvNextV2Config(**TINY))


def test_a_file_of_another_size_tells_the_size_itself(tmp_path, monkeypatch):
    network = convnext()
    save_file(network.state_dict(), tmp_path / "atto.safetensors")
    monkeypatch.setenv("WEIGHTS", str(tmp_path))
    start = build(weights_run("atto.safetensors", backbone="convnextv2"))
    assert backbones.convnext_sizes(network.state_dict()) == TINY
    given = network.convnextv2.embeddings.patch_embeddings.weight
    assert torch.equal(start.model.backbone[0].patch_embeddings.weight, given)


def test_a_file_is_found_by_its_path(tmp_path):
    network = mobilenet_v2(weights=None)
    save_file(network.state_dict(), tmp_path / "own.safetensors")
    found = build(weights_run(str(tmp_path / "own.safetensors"))).weights
    assert found == "own.safetensors: own.safetensors"


def test_a_file_that_is_no_safetensors_is_named(tmp_path):
    (tmp_path / "odd.safetensors").write_bytes(b"no")
    with pytest.raises(WeightsError, match=r"odd\.safetensors is no safetensors"):
        build(weights_run(str(tmp_path / "odd.safetensors")))


def test_torchvision_enums_are_downloaded_by_their_address(monkeypatch):
    asked = []

    def download(url, **options):
        asked.append(url)
        return mobilenet_v2(weights=None).state_dict()

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", download)
    start = build(weights_run("IMAGENET1K_V1"))
    assert asked == ["https://download.pytorch.org/models/mobilenet_v2-b0353104.pth"]
    assert len(start.sha256) == 64
    with pytest.raises(WeightsError, match="IMAGENET1K_V2"):
        build(weights_run("IMAGENET1K_V3"))
