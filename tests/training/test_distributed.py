"""Several processes share a training: what they take of every batch, and that they learn what one learns."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import BatchSampler

from support.project import write_study
from xnn import ParameterError, fit, load_model, load_run
from xnn.config import freshness
from xnn.models import kept
from xnn.training.batches import Epochs, Radiographs, Share, combined_seed
from xnn.training.recipe import Learner

# layer norm, no dropout, float32: nothing else depends on which process an image is seen by
RECIPE = """
model: {backbone: convnextv2, weights: none, dropout: 0.0,
        config: {depths: [1, 1, 1, 1], hidden_sizes: [8, 8, 16, 16]}}
training: {epochs: 3, batch_size: 16, learning_rate: 3e-3, early_stopping: 0, precision: "32", average: 0.9}
"""


@pytest.fixture(scope="module")
def runs(small):
    write_study(small, alone=RECIPE, together=f"{RECIPE}hardware: {{devices: 2}}\n")
    yield load_run(small, "alone"), load_run(small, "together")
    for name in ("alone", "together"):
        load_run(small, name).file.unlink()


def test_two_processes_learn_what_one_learns(runs, capsys):
    one, two = (fit(run) for run in runs)
    assert "together: epoch  3/3" in capsys.readouterr().out
    assert len(two["history"]) == 3
    for alone, together in zip(one["history"], two["history"], strict=True):
        for name in ("train_loss", "sample_loss", "val_loss", "val_f1", "lr"):
            assert together[name] == pytest.approx(alone[name], rel=1e-4), name
    weights = [load_model(run).state_dict() for run in runs]
    assert all(torch.allclose(weights[0][k], weights[1][k], atol=1e-5) for k in weights[0])
    assert fit(runs[1]) == two, "kept, not trained again"


def test_the_number_of_processes_is_in_the_key_where_there_are_several(runs):
    assert freshness.differences(freshness.recorded(kept.inputs(runs[0])), kept.inputs(runs[1]))
    assert "hardware" not in runs[0].model_dump()


def test_shares_are_apart_and_make_up_every_batch(runs):
    whole = Radiographs(runs[0])
    batches, loaders = list(whole.train_dataloader().batch_sampler), []
    for rank in (0, 1):
        whole.trainer = SimpleNamespace(global_rank=rank, world_size=2)  # as Lightning sets it
        loaders.append(whole.train_dataloader())
    for batch, *shares in zip(batches, *(loader.batch_sampler for loader in loaders), strict=True):
        assert [len(share) for share in shares] == [8, 8]
        assert sorted(shares[0] + shares[1]) == sorted(batch)
    assert [len(loader) for loader in loaders] == [len(batches)] * 2


def test_all_processes_have_as_many_images():
    sampler = BatchSampler(Epochs(7, seed=0), 16, drop_last=False)
    shares = [list(Share(sampler, rank, 2)) for rank in (0, 1)]
    assert [[len(batch) for batch in share] for share in shares] == [[3], [3]]


def test_a_batch_that_cannot_be_shared_is_an_error(small):
    write_study(small, odd="training: {batch_size: 15}\nhardware: {devices: 2}\n")
    with pytest.raises(ParameterError, match=r"odd.yaml: training.batch_size: 15 images .* multiple of 2"):
        load_run(small, "odd")
    (load_run(small, "plain").file.with_name("odd.yaml")).unlink()


def test_several_hosts_are_for_the_user_to_start(small):
    write_study(small, far=f"{RECIPE}hardware: {{num_nodes: 2}}\n")
    with pytest.raises(ParameterError, match=r"torchrun --nnodes 2 .* -m xnn.training.fit small far"):
        fit(load_run(small, "far"))
    load_run(small, "far").file.unlink()


def test_processes_draw_their_own_dropout():
    drawn = []
    for rank in (0, 1, 2):
        process = SimpleNamespace(seed=3, current_epoch=1, global_rank=rank)
        Learner.on_train_epoch_start(process)
        drawn.append(torch.rand(1).item())
    torch.manual_seed(combined_seed(3, 1))
    assert drawn[0] == torch.rand(1).item(), "the first one draws what one process alone would"
    assert len(set(drawn)) == 3
