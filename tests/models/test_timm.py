"""Networks of timm as backbones: the same features, the weights of a file, and clear refusals."""

import pytest
import timm
import torch
from captum.attr import LayerGradCam
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_sample_images
from torch import nn

from support.project import PROJECT, write_study
from support.samples import CLASSES
from xnn import Classifier, WeightsError, build, load_run
from xnn.models import backbones, classifier

NAME = "tf_efficientnet_lite0"
FILE = PROJECT.parent / f"shared/weights/{NAME}-imagenet1k.safetensors"


@pytest.fixture(scope="module")
def network():
    """A network of timm with random weights, whose norms have seen something."""
    torch.manual_seed(0)
    network = timm.create_model(NAME)
    network(torch.randn(4, 3, 64, 64))
    return network.eval()


@pytest.mark.parametrize("side", [64, 80])  # TensorFlow's padding depends on it
def test_blocks_give_timm_s_features(network, side):
    parts = backbones.of_timm(NAME, network.state_dict())
    images = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        assert torch.equal(parts.blocks.eval()(images), network.forward_features(images))
    assert parts.width == network.num_features


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050"])
def test_other_families_are_chains_too(name):
    model = Classifier(f"timm/{name}", CLASSES, 64).eval()
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, 3)


def test_images_are_normalised_as_the_weights_expect(tmp_path):
    model = Classifier(f"timm/{NAME}", CLASSES, 64)
    assert torch.equal(model.prepare(torch.ones(1, 3, 64, 64)), torch.ones(1, 3, 64, 64))
    assert torch.equal(model.prepare(torch.zeros(1, 3, 64, 64)), -torch.ones(1, 3, 64, 64))
    model.save_pretrained(tmp_path)
    assert torch.equal(Classifier.from_pretrained(tmp_path).prepare.mean, model.prepare.mean)


def test_norms_are_plain_and_followed_by_their_activation():
    """What replaces or merges a norm, as SyncBatchNorm does, would lose an activation inside it."""
    blocks = backbones.of_timm(NAME).blocks
    norms = [module for module in blocks.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 49
    assert {type(module) for module in norms} == {nn.BatchNorm2d}
    assert all(
        isinstance(each[0], nn.BatchNorm2d) for each in blocks.modules() if type(each).__name__ == "NormAct"
    )


def test_tuning_the_last_tensors_leaves_a_frozen_prefix():
    model = Classifier(f"timm/{NAME}", CLASSES, 64)
    classifier.freeze(model, 3)
    assert model.first_trainable() == len(model.backbone) - 1  # the last convolution


def test_grad_cam_reads_the_last_block(network):
    model = Classifier(f"timm/{NAME}", CLASSES, 96).eval()
    map_of = LayerGradCam(model, model.backbone[-1])
    assert map_of.attribute(torch.rand(1, 3, 96, 96), target=0).shape == (1, 1, 3, 3)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "no_such_net"])
def test_what_cannot_be_a_backbone_is_refused(name):
    with pytest.raises(WeightsError, match=name):
        Classifier(f"timm/{name}", CLASSES)


def timm_run(weights: str):
    write_study("timm-weights", run=f"model: {{backbone: timm/{NAME}, weights: {weights}}}")
    return load_run("timm-weights", "run")


@pytest.mark.parametrize("weights", ["imagenet", f"{NAME}-imagenet1k.safetensors"])
def test_weights_come_from_a_file(network, weights, tmp_path, monkeypatch):
    save_file(network.state_dict(), tmp_path / f"{NAME}-imagenet1k.safetensors")
    monkeypatch.setenv("WEIGHTS", str(tmp_path))
    start = build(timm_run(weights))
    assert f"{NAME}-imagenet1k.safetensors" in start.weights
    assert torch.equal(start.model.backbone[0].weight, network.conv_stem.weight)
    assert torch.equal(start.model.backbone[-1][0].running_var, network.bn2.running_var)


def test_weights_that_cannot_be_had_name_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=f"neither a file nor imagenet.*{NAME}-imagenet1k.safetensors"):
        build(timm_run("other"))
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: 1 / 0)
    with pytest.raises(WeightsError, match=f"the hub's timm/{NAME}"):
        build(timm_run("imagenet"))


@pytest.mark.skipif(not FILE.exists(), reason="no weight files in ../shared/weights")
def test_the_shared_weights_know_a_palace_and_a_daisy():
    state = load_file(FILE)
    blocks = backbones.of_timm(NAME, state).blocks.eval()
    for picture, label in zip(load_sample_images().images, (698, 985), strict=True):
        image = torch.tensor(picture).permute(2, 0, 1)[None, :, :, 106:533] / 255  # the central square
        image = nn.functional.interpolate(image, (224, 224), mode="bilinear", antialias=True)
        with torch.inference_mode():
            pooled = blocks((image - 0.5) / 0.5).mean((2, 3))
        logits = pooled @ state["classifier.weight"].T + state["classifier.bias"]
        assert logits.argmax() == label
