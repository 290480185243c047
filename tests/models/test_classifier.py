import json

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2

from support.samples import CLASSES
from xnn import BACKBONES, Classifier, WeightsError, build, load_run, parameter_counts, to_input
from xnn.config.schema import Lora
from xnn.models import backbones, classifier, preprocessing

TINY = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]}
EACH = [
    ("mobilenet_v2", None),
    ("mobilenet_v2", {"width_mult": 0.5}),
    ("resnet18", None),
    ("resnet50", None),
    ("convnextv2", TINY),
]
EACH += [("mobilenet_v2", {"width_mult": 0.5}), ("timm/tf_efficientnet_lite0", None)]


def test_input_is_grey_in_three_channels_between_0_and_1():
    images = np.array([[[0, 255], [51, 102]]], np.uint8)
    found = to_input(images)
    assert found.shape == (1, 3, 2, 2)
    assert torch.equal(found[0, 0], found[0, 2])
    assert torch.allclose(found[0, 0], torch.tensor([[0, 1], [0.2, 0.4]]))


@pytest.mark.parametrize(("backbone", "config"), EACH)
def test_images_to_logits(backbone, config):
    model = Classifier(backbone, CLASSES, 64, [5], backbone_config=config).eval()
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 3)
    features = model.backbone(torch.rand(2, 3, 64, 64))
    assert features.ndim == 4
    assert model.head(features).shape == (2, 3)


def test_torchvision_gives_the_same_features():
    torch.manual_seed(0)
    network = mobilenet_v2(weights=None).eval()
    model = Classifier("mobilenet_v2", CLASSES).eval()
    model.backbone.load_state_dict(network.features.state_dict())
    images = torch.rand(2, 3, 64, 64)
    normalised = (images - model.prepare.mean) / model.prepare.std
    assert torch.equal(model.backbone(normalised), network.features(normalised))


def test_a_point_is_smoothed_to_a_gaussian():
    point = torch.zeros(1, 3, 41, 41)
    point[..., 20, 20] = 1
    found = preprocessing.blur(point, 4.0)[0, 0]
    away = torch.arange(-8, 9) / 4  # it ends at two standard deviations
    row = torch.exp(-(away**2) / 2)
    expected = torch.outer(row, row) / row.sum() ** 2
    assert torch.allclose(found[12:29, 12:29], expected, atol=1e-7)
    assert found.sum().item() == pytest.approx(1)


def test_a_smoothing_network_is_the_plain_one_behind_a_blur(tmp_path):
    torch.manual_seed(0)
    plain = Classifier("mobilenet_v2", CLASSES, 64).eval()
    plain.save_pretrained(tmp_path)
    smooth, images = Classifier.from_pretrained(tmp_path, smooth=1.5), torch.rand(2, 3, 64, 64)
    blurred = preprocessing.blur(images, 1.5)
    assert torch.allclose(smooth(images), plain(blurred), atol=1e-6)
    assert torch.allclose(smooth.prepare(images), plain.prepare(blurred), atol=1e-6)
    assert not torch.allclose(blurred, images, atol=0.1)


def test_a_size_that_a_mobilenet_does_not_have_is_named():
    with pytest.raises(WeightsError, match="depths: a mobilenet_v2 has width_mult alone"):
        Classifier("mobilenet_v2", CLASSES, backbone_config={"depths": [1]})


def test_transformers_gives_the_same_pooled_output():
    from transformers import ConvNextV2Config, ConvNextV2Model

    network = ConvNextV2Model(ConvNextV2Config(**TINY)).eval()
    blocks, norm, *_ = backbones.convnextv2(TINY, network.state_dict())
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
    Classifier("mobilenet_v2", CLASSES).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"backbone": "resnet18"}))
    with pytest.raises(WeightsError, match=r"model\.safetensors does not fit"):
        Classifier.from_pretrained(tmp_path)


def test_a_pickle_is_never_loaded(tmp_path):
    Classifier("mobilenet_v2", CLASSES).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="a pickle is never loaded"):
        Classifier.from_pretrained(tmp_path)


def test_the_hub_is_asked_for_safetensors_only(tmp_path, monkeypatch):
    model = Classifier("mobilenet_v2", CLASSES, 32).eval()
    model.save_pretrained(tmp_path)
    asked = []
    monkeypatch.setattr(
        classifier, "hf_hub_download", lambda repo, name, **_: asked.append(name) or str(tmp_path / name)
    )
    found = Classifier._from_pretrained(
        **dict.fromkeys(("revision", "cache_dir", "force_download", "local_files_only", "token")),
        **json.loads((tmp_path / "config.json").read_text()),
        model_id="somebody/some-model",
    )
    assert asked == ["model.safetensors"]
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(found(images), model(images))


def test_a_backbone_that_is_not_registered_is_named():
    with pytest.raises(WeightsError, match=r"'vgg'.*mobilenet_v2, resnet18"):
        Classifier("vgg", CLASSES)


def test_every_name_of_the_registry_has_a_builder():
    assert all(callable(getattr(backbones, name)) for name in BACKBONES)


def test_a_model_that_was_evaluated_can_be_explained():
    model = Classifier("mobilenet_v2", CLASSES, 32)
    classifier.logits(model, np.zeros((1, 32, 32), np.uint8))
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    model(images).sum().backward()
    assert images.grad.shape == images.shape


def test_feature_extraction_trains_the_head_alone():
    model = Classifier("mobilenet_v2", CLASSES, 32, [4])
    classifier.freeze(model, "head")
    head = sum(p.numel() for p in model.head.parameters())
    assert parameter_counts(model)["trained"] == head
    model.train()
    assert not any(m.training for block in model.backbone for m in block.modules())
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    model(torch.rand(4, 3, 32, 32)).sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in model.backbone.state_dict().items())


def test_fine_tuning_trains_the_last_tensors_but_no_norm():
    model = Classifier("mobilenet_v2", CLASSES)
    classifier.freeze(model, 15)
    trained = [name for name, p in model.backbone.named_parameters() if p.requires_grad]
    last = [name for name, _ in model.backbone.named_parameters()][-15:]
    assert trained == [name for name in last if model.backbone.get_parameter(name).ndim == 4]
    model.train()
    norms = [m for m in model.backbone.modules() if isinstance(m, classifier.NORMS)]
    assert norms
    assert not any(m.training for m in norms)


def test_full_training_trains_all():
    model = Classifier("mobilenet_v2", CLASSES)
    classifier.freeze(model, "all")
    counts = parameter_counts(model)
    assert counts["trained"] == counts["total"]


def test_more_tensors_than_there_are_is_an_error():
    with pytest.raises(WeightsError, match="has only"):
        classifier.freeze(Classifier("mobilenet_v2", CLASSES), 10_000)


def test_the_same_seed_builds_the_same_network(small):
    run = load_run(small, "plain")
    one, two = build(run).model.state_dict(), build(run).model.state_dict()
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_the_network_brings_images_to_its_size():
    model = Classifier("mobilenet_v2", CLASSES, 32).eval()
    images = torch.rand(2, 3, 64, 64, requires_grad=True)
    smaller = nn.functional.interpolate(images, (32, 32), mode="bilinear", antialias=True)
    found = model(images)
    assert torch.allclose(found, model(smaller), atol=1e-5)
    found.sum().backward()
    assert images.grad.shape == images.shape


@pytest.mark.parametrize(("backbone", "config"), EACH)
@pytest.mark.parametrize("train", ["head", 5, "all"])
def test_what_lies_before_the_first_trainable_layer_never_changes(backbone, config, train):
    model = Classifier(backbone, CLASSES, 64, [4], backbone_config=config)
    classifier.freeze(model, train)
    model.train()
    first, images = model.first_trainable(), torch.rand(2, 3, 64, 64)
    assert (first == 1) == (train == "all")
    before = model.forward_range(images, 0, first).detach()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    model(images).sum().backward()
    optimizer.step()
    assert torch.equal(model.forward_range(images, 0, first), before)
    model.eval()
    assert torch.equal(model.forward_range(model.forward_range(images, 0, first), first), model(images))


@pytest.mark.parametrize(("backbone", "config"), EACH)
def test_lora_trains_updates_and_head_and_merges_into_a_plain_network(backbone, config, tmp_path):
    model = Classifier(backbone, CLASSES, 32, backbone_config=config)
    plain = {k: v.clone() for k, v in model.state_dict().items()}
    classifier.freeze(model, 12)
    classifier.add_lora(model, Lora(rank=2))
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert any("lora_A" in name for name in trained)
    assert all("lora_" in name or name.startswith("head.") for name in trained)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zero at first: the update is nothing
            nn.init.normal_(parameter, std=0.1)
    images = torch.rand(2, 3, 32, 32)
    adapted = model.eval()(images)
    classifier.merge_lora(model)
    assert torch.allclose(model(images), adapted, atol=1e-4)
    assert set(model.state_dict()) == set(plain)
    model.save_pretrained(tmp_path)
    assert torch.equal(Classifier.from_pretrained(tmp_path)(images), model(images))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, plain[name])}
    assert changed
    assert all(name.startswith("backbone.") for name in changed)


def test_lora_without_a_layer_to_update_is_an_error():
    model = Classifier("convnextv2", CLASSES, backbone_config=TINY)
    classifier.freeze(model, 1)  # the bias of the last layer
    with pytest.raises(WeightsError, match="lora"):
        classifier.add_lora(model, Lora())
