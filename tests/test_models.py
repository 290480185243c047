import json

import pytest
import torch
from conftest import write_study
from safetensors.torch import save_file
from torchvision.models import mobilenet_v2

from xnn import Classifier, WeightsError, build, load_run, models, parameter_counts

TINY = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]}
EACH = [("mobilenet_v2", None), ("resnet18", None), ("resnet50", None), ("convnextv2", TINY)]


@pytest.mark.parametrize(("backbone", "config"), EACH)
def test_images_to_logits(backbone, config):
    model = Classifier(backbone, backbone_config=config, hidden=[5]).eval()
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 3)
    features = model.backbone(torch.rand(2, 3, 64, 64))
    assert features.ndim == 4
    assert model.head(features).shape == (2, 3)


def test_torchvision_gives_the_same_features():
    torch.manual_seed(0)
    network = mobilenet_v2(weights=None).eval()
    model = Classifier("mobilenet_v2").eval()
    model.backbone.load_state_dict(network.features.state_dict())
    images = torch.rand(2, 3, 64, 64)
    normalised = (images - model.mean) / model.std
    assert torch.equal(model.backbone(normalised), network.features(normalised))


def test_transformers_gives_the_same_pooled_output():
    from transformers import ConvNextV2Config, ConvNextV2Model

    network = ConvNextV2Model(ConvNextV2Config(**TINY)).eval()
    blocks, norm, _ = models._convnextv2(TINY, network.state_dict())
    images = torch.rand(2, 3, 64, 64)
    pooled = norm(blocks.eval()(images).mean((-2, -1)))
    assert torch.allclose(pooled, network(images).pooler_output, atol=1e-6)


@pytest.mark.parametrize(("backbone", "config"), EACH)
def test_saved_and_loaded_is_the_same(backbone, config, tmp_path):
    model = Classifier(backbone, ["a", "b"], 64, [4], 0.1, config).eval()
    model.save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    again = Classifier.from_pretrained(tmp_path)
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(again(images), model(images))
    assert (again.classes, again.image_size, again.training) == (["a", "b"], 64, False)


def test_a_file_that_does_not_fit_its_config_is_named(tmp_path):
    Classifier("mobilenet_v2").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"backbone": "resnet18"}))
    with pytest.raises(WeightsError, match=r"model\.safetensors does not fit"):
        Classifier.from_pretrained(tmp_path)


def test_a_pickle_is_never_loaded(tmp_path):
    with pytest.raises(WeightsError, match="never a pickle"):
        Classifier._load_as_pickle(Classifier(), tmp_path / "pytorch_model.bin", "cpu", True)


def test_feature_extraction_trains_the_head_alone():
    model = Classifier(hidden=[4])
    models.freeze(model, "head")
    head = sum(p.numel() for p in model.head.parameters())
    assert parameter_counts(model)["trained"] == head
    model.train()
    assert not any(m.training for block in model.backbone for m in block.modules())
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    model(torch.rand(4, 3, 32, 32)).sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in model.backbone.state_dict().items())


def test_fine_tuning_trains_the_last_tensors_but_no_norm():
    model = Classifier()
    models.freeze(model, 15)
    trained = [name for name, p in model.backbone.named_parameters() if p.requires_grad]
    last = [name for name, _ in model.backbone.named_parameters()][-15:]
    assert trained == [name for name in last if model.backbone.get_parameter(name).ndim == 4]
    model.train()
    norms = [m for m in model.backbone.modules() if isinstance(m, models.NORMS)]
    assert norms
    assert not any(m.training for m in norms)


def test_full_training_trains_all():
    model = Classifier()
    models.freeze(model, "all")
    counts = parameter_counts(model)
    assert counts["trained"] == counts["total"]


def test_more_tensors_than_there_are_is_an_error():
    with pytest.raises(WeightsError, match="has only"):
        models.freeze(Classifier(), 10_000)


def test_the_same_seed_builds_the_same_network(small):
    run = load_run(small, "plain")
    one, two = build(run).model.state_dict(), build(run).model.state_dict()
    assert all(torch.equal(one[k], two[k]) for k in one)


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


def test_a_hub_folder_is_loaded_offline(tmp_path):
    from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

    network = ConvNextV2ForImageClassification(ConvNextV2Config(**TINY))
    network.save_pretrained(tmp_path / "hub")
    start = build(weights_run(str(tmp_path / "hub"), backbone="convnextv2"))
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
