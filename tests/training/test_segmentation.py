"""The lung segmenter on a study of phantoms, whose lungs are known."""

import numpy as np
import pytest
import torch

from support.project import SMALL, write_study
from xnn import load_study, wrangle
from xnn.models.segmenter import SIDE, Segmenter, overlap, segment, standardised
from xnn.training import segmentation


@pytest.fixture(scope="module")
def study():
    write_study("lungs-found", SMALL.replace("}", ", segmenter: {epochs: 12, batch_size: 8}}"))
    found = load_study("lungs-found")
    wrangle(found)
    segmentation.fit(found)
    return found


def test_lungs_of_unseen_patients_are_found(study):
    found = segmentation.assess(study, "test")
    table = segmentation.dice(study, found)
    assert table.value["all"] > 0.9
    assert (table.low <= table.value).all()
    assert table.n["all"] == len(found.table) == table.n.drop("all").sum()


def test_what_is_no_chest_is_said_to_show_no_lungs(study):
    least = segmentation.limit(segmentation.assess(study, "val"))
    shares = segmentation.alarms(study, segmentation.assess(study, "test").images, least)
    assert shares["as they are"] < 0.3
    assert shares["inverted"] > 0.7
    noise = np.random.default_rng(0).integers(0, 256, (20, 64, 64), dtype=np.uint8)
    masks, usual = segment(Segmenter.from_pretrained(study.artifacts / "lungs"), noise)
    assert masks.shape == (20, 64, 64)
    assert (usual < least).all()


def test_a_training_is_kept_until_something_changes(study, capsys):
    before = segmentation.fit(study)
    assert "is kept" in capsys.readouterr().out
    assert len(before["history"]) == 12


def test_an_interrupted_training_equals_one_that_was_not(study, tmp_path, monkeypatch):
    short = study.model_copy(update={"segmenter": study.segmenter.model_copy(update={"epochs": 2})})
    whole, _ = segmentation.trained(short, tmp_path / "whole.ckpt")
    epoch, calls = segmentation._epoch, []

    def interrupted(*given):
        calls.append(1)
        return epoch(*given) if len(calls) != 2 else 1 / 0

    monkeypatch.setattr(segmentation, "_epoch", interrupted)
    with pytest.raises(ZeroDivisionError):
        segmentation.trained(short, tmp_path / "half.ckpt")
    resumed, history = segmentation.trained(short, tmp_path / "half.ckpt")
    assert len(history) == 2
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_views_move_image_and_mask_together():
    masks = torch.zeros(8, SIDE, SIDE)
    masks[:, 30:70, 20:50] = 1
    seen, wanted = segmentation.view(2 * masks - 1, masks, torch.Generator().manual_seed(0))
    foreign = int(segmentation.FOREIGN * 8)
    assert not wanted[:foreign].any()
    torch.testing.assert_close(seen[foreign:], 2 * wanted[foreign:] - 1, rtol=0, atol=1e-5)
    assert not torch.equal(wanted[foreign:], masks[foreign:])


def test_contrast_and_brightness_do_not_matter():
    image = np.random.default_rng(0).integers(50, 150, (1, 224, 224), dtype=np.uint8)
    torch.testing.assert_close(standardised(image), standardised(image + 40), rtol=0, atol=1e-4)
    assert torch.isfinite(standardised(np.zeros((1, 40, 60), np.uint8))).all()


def test_overlap_is_the_dice_coefficient():
    one, other = torch.tensor([[[1.0, 1, 0, 0]]]), torch.tensor([[[1.0, 0, 0, 0]]])
    assert overlap(one, other).item() == pytest.approx(2 / 3)
    assert overlap(one, one).item() == 1
