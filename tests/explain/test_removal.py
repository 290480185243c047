"""The region test and the small changes, on networks that are known to read one part of the image."""

import numpy as np
import pytest
import torch

from xnn import fit, load_run
from xnn.config import provenance
from xnn.data.archive import DataError
from xnn.explain import removal
from xnn.models import classifier, prediction


class Reads(torch.nn.Module):
    """A network that calls an image normal, class 1, if one part of it is dark on average."""

    def __init__(self, rows, columns, level):
        super().__init__()
        self.rows, self.columns, self.level = rows, columns, level

    def forward(self, images):
        bright = images[:, 0, self.rows, self.columns].mean((1, 2))
        score = 50 * (self.level - bright)
        return torch.stack([torch.zeros_like(score), score, torch.full_like(score, -9.0)], dim=1)


def region_test(run, network, tested):
    return removal.region_test(run, network, tested, classifier.answers(network, tested.images))


def small_changes(run, network, tested):
    return removal.small_changes(run, network, tested, classifier.answers(network, tested.images))


@pytest.fixture
def run(small):
    return load_run(small, "plain")


@pytest.fixture
def tested(run):
    """The study's test images, whose class can be read in a corner and, less well, in the lungs."""
    found = removal.load(run)
    assert found.missing == 0
    assert len(found.images) == len(found.masks) == len(found.records)
    images, normal = found.images.copy(), (found.records.label == "normal").to_numpy()
    images[:, :3, :3] = np.where(normal, 20, 230)[:, None, None]
    lung = found.masks
    images[lung] = np.repeat(np.where(normal, 60, 200), lung.sum((1, 2)))
    return found._replace(images=images)


def auroc(found, name, fill="mean"):
    return found[fill][name]["auroc_pneumonia"]


@pytest.mark.parametrize("fill", ["mean", "inpainted"])
def test_a_network_that_reads_the_corner_is_exposed(run, tested, fill):
    found = region_test(run, Reads(slice(0, 3), slice(0, 3), 0.5), tested)
    assert auroc(found, "whole")["value"] == 1
    for name in ("lungs_removed", "lungs_removed_wide", "box_removed"):
        assert auroc(found, name, fill)["value"] == 1, "it does not need the lungs"


def test_a_network_that_reads_the_lungs_needs_them(run, tested):
    middle = slice(10, 20), slice(4, 28)
    found = region_test(run, Reads(*middle, 0.45), tested)
    assert auroc(found, "whole")["value"] > 0.95
    assert auroc(found, "lungs_only")["value"] > 0.95
    gone = auroc(found, "box_removed", "inpainted")
    assert gone["difference"]["high"] < 0
    assert auroc(found, "outline_only")["value"] == pytest.approx(0.5, abs=0.3)


def _blind():
    return Reads(slice(0, 32), slice(0, 32), 0.4)


def test_changes_count_the_answers_that_they_move(run, tested):
    table = small_changes(run, _blind(), tested).set_index("change")
    assert (table.n == len(tested.images)).sum() == 4
    quiet = table.loc["enlarged 4 times and reduced"]
    assert quiet.changed["value"] <= 0.05
    assert set(removal.shown(table.reset_index().to_dict("records")).columns) == {
        "radiographs",
        "predicted class changed",
        "shift of the log-odds (nats)",
    }


def test_results_are_kept_until_what_decides_them_changes(run, monkeypatch):
    provenance.write_json(fit(run), run.reports / "training.json")
    tested = removal.load(run)
    first = removal.results(run, tested)
    assert len(first["changes"]) >= 4
    provenance.write_json(first, run.reports / prediction.REGIONS)
    with monkeypatch.context() as patch:
        patch.setattr(removal, "load_model", lambda run: pytest.fail("asked again"))
        assert removal.results(run, tested) == first
        other = run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"flip": True})})
        with pytest.raises(pytest.fail.Exception, match="asked again"):
            removal.results(other, tested)
    (run.reports / prediction.REGIONS).unlink()
    assert removal.measured(run, tested) | {"key": first["key"]} == first


def test_a_study_without_masks_says_how_to_get_them(run, monkeypatch):
    monkeypatch.setattr(removal, "load_lungs", lambda *_: None)
    with pytest.raises(DataError, match="set MASKS"):
        removal.load(run)


def test_runs_of_a_study_share_the_parts(run, tested, monkeypatch):
    first = removal._parts(run.study, tested, "lungs_only", "mean").copy()
    monkeypatch.setattr(removal.regions, "part", lambda *_: pytest.fail("it was made again"))
    np.testing.assert_array_equal(removal._parts(run.study, tested, "lungs_only", "mean"), first)
