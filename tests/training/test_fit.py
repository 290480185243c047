import json
import shutil

import pytest
import torch

from xnn import fit, load_model, load_run
from xnn.config import provenance
from xnn.config.schema import ParameterError
from xnn.models import kept
from xnn.training import fit as training
from xnn.training import recipe


@pytest.fixture(scope="module")
def record(small):
    return fit(load_run(small, "plain"))


def test_the_record_tells_what_was_done(record, small):
    assert [row["epoch"] for row in record["history"]] == [1, 2]
    assert {"train_loss", "sample_loss", "val_loss", "val_f1", "lr", "seconds"} <= set(record["history"][0])
    assert record["best_epoch"] in (1, 2)
    assert record["stopped"] == "all epochs done"
    assert record["weights"].startswith("random")
    assert record["parameters"]["trained"] == record["parameters"]["total"]
    assert set(record["provenance"]) >= {"commit", "dirty", "params_sha256", "records_sha256", "seconds"}
    assert json.loads(json.dumps(record)) == record


def test_a_kept_model_is_not_trained_again(record, small, monkeypatch, capsys):
    monkeypatch.setattr(training.pl.Trainer, "fit", lambda *a, **k: pytest.fail("trained again"))
    assert fit(load_run(small, "plain")) == record
    assert "kept" in capsys.readouterr().out


def test_the_record_whose_inputs_were_renewed_is_the_one_that_counts(record, small):
    run = load_run(small, "plain")
    old = record | {"inputs": record["inputs"] | {"code": "older"}}
    provenance.write_json(old, run.artifacts / "training.json")
    provenance.write_json(record, run.reports / "training.json")
    try:
        assert kept.model(run, kept.inputs(run)) == record
    finally:
        provenance.write_json(record, run.artifacts / "training.json")
        (run.reports / "training.json").unlink()


@pytest.mark.parametrize("change", ["model", "training", "augmentation"])
def test_what_decides_a_model_is_in_its_key(record, small, change):
    run = load_run(small, "plain")
    new = {
        "model": run.model.model_copy(update={"dropout": 0.3}),
        "training": run.training.model_copy(update={"epochs": 3}),
        "augmentation": run.augmentation.model_copy(update={"flip": 0.1}),
    }[change]
    other = run.model_copy(update={change: new})
    assert kept.record(run, kept.inputs(run)) is None, "no page has been made of it"
    assert kept.model(run, kept.inputs(run)) == record
    assert kept.model(other, kept.inputs(other)) is None


def test_the_kept_model_is_the_best_epoch(record, small):
    run = load_run(small, "plain")
    model = load_model(run)
    metric = recipe.MulticlassF1Score(3, average="weighted")
    data = training.Radiographs(run)
    asked, rounded = {}, recipe.precision(run) == "bf16-mixed"  # as the training was: classes are nearly tied
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=rounded):
        for name, loader in zip(("val_loss", "sample_loss"), data.val_dataloader(), strict=True):
            pairs = [data.on_after_batch_transfer(batch, 0) for batch in loader]
            logits = torch.cat([model(images) for images, _ in pairs])
            asked[name] = logits.float(), torch.cat([labels for _, labels in pairs])
    metric.update(*asked["val_loss"])
    best = record["history"][record["best_epoch"] - 1]
    assert float(metric.compute()) == pytest.approx(max(row["val_f1"] for row in record["history"]))
    for name, pair in asked.items():
        assert float(torch.nn.functional.cross_entropy(*pair)) == pytest.approx(best[name], rel=1e-4)


def test_the_sample_is_of_training_images_only(small):
    data = training.Radiographs(load_run(small, "plain"))
    sample, train = data.part("sample"), data.part("train")
    assert set(sample.path) <= set(train.path)
    assert len(sample) == min(len(train), len(data.part("val")))


@pytest.mark.parametrize("name", ["plain", "averaged", "cached"])
def test_a_training_that_was_interrupted_equals_one_that_was_not(small, name, monkeypatch):
    run = load_run(small, name)
    whole = fit(run)
    weights = load_model(run).state_dict()
    shutil.rmtree(run.artifacts)

    step = recipe.Learner.training_step

    def interrupted(self, batch, number):
        if self.current_epoch == 1 and number == 1:
            raise RuntimeError("killed")
        return step(self, batch, number)

    with monkeypatch.context() as patch:
        patch.setattr(recipe.Learner, "training_step", interrupted)
        with pytest.raises(RuntimeError, match="killed"):
            fit(run, model=True)
    assert not (run.artifacts / "model").exists()
    again = fit(run, model=True)
    for one, two in zip(whole["history"], again["history"], strict=True):
        assert {**one, "seconds": 0} == {**two, "seconds": 0}
    found = load_model(run).state_dict()
    assert all(torch.equal(weights[k], found[k]) for k in weights)
    assert not list(run.artifacts.glob("training-*"))


@pytest.mark.parametrize("name", ["helped", "free"])
def test_neither_workers_nor_determinism_change_what_a_processor_computes(record, small, name):
    if name == "free" and torch.cuda.is_available():
        pytest.skip("a GPU may compute something else where it is free to")
    other = fit(load_run(small, name))
    assert other["key"] != record["key"]  # or nothing was trained
    for one, two in zip(record["history"], other["history"], strict=True):
        assert {**one, "seconds": 0} == {**two, "seconds": 0}
    weights, found = (load_model(load_run(small, each)).state_dict() for each in ("plain", name))
    assert all(torch.equal(weights[k], found[k]) for k in weights)


def test_determinism_is_asked_of_torch_and_only_its_absence_changes_a_hash(small):
    for name, asked in (("plain", True), ("free", False)):
        run = load_run(small, name)
        training._trainer(run, run.artifacts, training.History(name))
        assert torch.are_deterministic_algorithms_enabled() is asked
        assert ("deterministic" in run.model_dump_json()) is not asked


def test_fine_tuning_starts_from_the_other_run(record, small):
    run = load_run(small, "tuned")
    tuned = fit(run)
    assert tuned["weights"] == "the trained run plain"
    assert tuned["regime"] == "fine-tuning"
    first = [load_model(load_run(small, name)).backbone[0][0].weight for name in ("plain", "tuned")]
    assert torch.equal(*first)


def test_a_training_that_diverges_names_its_learning_rate_and_keeps_nothing(small):
    plain = load_run(small, "plain")
    hot = plain.training.model_copy(update={"learning_rate": 1e9, "schedule": "cosine"})
    run = plain.model_copy(update={"name": "diverges", "training": hot})
    with pytest.raises(ParameterError, match=r"learning_rate: 1e\+09 is too high: the loss is not finite"):
        fit(run)
    assert not list(run.artifacts.glob("*"))
    assert not (run.reports / "training.json").exists()


def test_a_model_that_is_not_there_says_what_to_do(small):
    run = load_run(small, "convnext")
    with pytest.raises(FileNotFoundError, match="3-train"):
        load_model(run)


def test_every_regime_and_backbone_trains(small):
    for name in ("head", "convnext", "lora"):
        fit(load_run(small, name))
        assert load_model(load_run(small, name))(torch.rand(1, 3, 32, 32)).shape == (1, 3)
