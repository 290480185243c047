import os
import shutil

import pytest
import torch

from xnn import build, fit, load_run
from xnn.training import fit as training
from xnn.training import frozen as features
from xnn.training.batches import Radiographs


def changed(run, **updates):
    """A run with other values of its training."""
    return run.model_copy(update={"training": run.training.model_copy(update=updates)})


@pytest.fixture
def run(small):
    return load_run(small, "cached")


def test_a_cached_training_equals_an_uncached_one(run, monkeypatch):
    for kept in (run.artifacts, run.study.artifacts / "features"):  # by other tests
        shutil.rmtree(kept, ignore_errors=True)
    cached = fit(run)
    assert cached["frozen_seconds"] > 0
    (run.artifacts / "training.json").unlink()
    monkeypatch.setattr(training, "data_of", lambda run, model: training.Radiographs(run))
    plain = fit(run)
    shutil.rmtree(run.artifacts)  # an uncached training under a cached one's name
    for one, two in zip(cached["history"], plain["history"], strict=True):
        for name in ("train_loss", "sample_loss", "val_loss", "val_f1"):
            assert one[name] == pytest.approx(two[name], rel=1e-5), name


def test_features_are_what_the_frozen_layers_make_of_each_view(run):
    run = changed(run, views=3, precision="32")  # bf16 keeps three digits
    model = build(run).model
    data = features.FrozenRadiographs(run, model)
    views = training.Radiographs(run).dataset("train")
    assert data.first == model.first_trainable() > 1
    for item in ((0, 0), (3, 2)):
        found, label = data.dataset("train")[item]
        image, wanted = views[item]
        inputs = features.channels_last(features.to_input(image.unsqueeze(0)))
        assert torch.allclose(found, model.forward_range(inputs, 0, data.first)[0], atol=1e-5)
        assert label == wanted
    assert not torch.equal(data.dataset("train")[0, 0][0], data.dataset("train")[0, 1][0])


def test_features_are_computed_once(run, monkeypatch):
    model = build(run).model
    features.FrozenRadiographs(run, model)
    monkeypatch.setattr(features.FrozenRadiographs, "_write", lambda *a: pytest.fail("computed again"))
    features.FrozenRadiographs(run, model)


@pytest.mark.parametrize("what", ["weights", "augmentation", "seed", "frozen layers", "region", "split"])
def test_what_decides_features_is_in_their_key(run, what):
    model, data = build(run).model, Radiographs.dataset(Radiographs(run), "train")
    before = features.key(run, model, data, 10)
    assert features.key(run, build(run).model, data, 10) == before
    if what == "weights":
        model.backbone[0][0].weight.data += 1
    if what == "augmentation":
        run = run.model_copy(update={"augmentation": run.augmentation.model_copy(update={"flip": 0.1})})
    if what == "seed":
        run = run.model_copy(update={"seed": 1})
    if what == "frozen layers":
        model.requires_grad_(False)
    if what == "region":  # the same records, other pixels
        run = run.model_copy(update={"model": run.model.model_copy(update={"region": "lungs_only"})})
        data = Radiographs.dataset(Radiographs(run), "train")
    if what == "split":
        data = Radiographs.dataset(Radiographs(run), "val")
    assert features.key(run, model, data, 10) != before


def test_an_interrupted_file_is_not_taken_for_a_whole_one(run, monkeypatch):
    run = changed(run, views=2)
    shutil.rmtree(run.study.artifacts / "features", ignore_errors=True)  # other tests' runs share it
    model = build(run).model
    frozen, calls = features.FrozenRadiographs._frozen, []

    def interrupted(self, images):
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return frozen(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(features.FrozenRadiographs, "_frozen", interrupted)
        with pytest.raises(KeyboardInterrupt):
            features.FrozenRadiographs(run, model)
    data = features.FrozenRadiographs(run, model)
    assert torch.isfinite(data.dataset("train").values).all()


def test_the_oldest_features_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "CAPACITY", 100)
    for number, name in enumerate(("old", "new")):
        (tmp_path / f"{name}.bin").write_bytes(bytes(40))
        os.utime(tmp_path / f"{name}.bin", (number, number))
    features.make_room(tmp_path, 50)
    assert [file.name for file in tmp_path.iterdir()] == ["new.bin"]


def test_a_full_disk_is_told_before_anything_is_computed(tmp_path):
    with pytest.raises(OSError, match=r"lower training\.views"):
        features.make_room(tmp_path, 2**60)
