"""The benchmark on whether maps repeat: made-up maps, and untrained networks at two resolutions."""

import json
import runpy
import types

import numpy as np
import pytest
import torch

from support.project import PROJECT
from xnn import Classifier, load_run
from xnn.explain.sample import Sample

STABILITY = types.SimpleNamespace(**runpy.run_path(str(PROJECT / "benchmarks/stability.py")))
SEED, ACROSS = f"{STABILITY.SEED}, 32 px", STABILITY.ACROSS


@pytest.fixture(scope="module")
def runs(small):
    """A run with two seeds at two resolutions."""
    run = load_run(small, "plain")
    sizes = [run.model.model_copy(update={"image_size": side}) for side in (None, 64)]
    return [
        run.model_copy(update={"model": model, "seed": seed, "name": f"stable-{model.image_size}-{seed}"})
        for model in sizes
        for seed in (0, 1)
    ]


def blocks(values):
    """Values (N, n, n) as even squares of 32 pixels in all."""
    side = 32 // values.shape[-1]
    return values.repeat(side, 1).repeat(side, 2)


@pytest.fixture(scope="module")
def sample():
    grey = np.random.default_rng(0).random((10, 8, 8))
    images = torch.as_tensor(blocks(grey), dtype=torch.float32)[:, None].expand(-1, 3, -1, -1)
    names = np.array([f"p{n // 2}" for n in range(10)])
    return Sample(images, torch.tensor([0, 1] * 5), names, np.ones(10, bool))


def maps_of(runs, shared, seed=0):
    """Maps of which a share is common to all networks, and the rest their own."""
    rng = np.random.default_rng(seed)
    common, *own = (blocks(rng.normal(size=(10, 4, 4))) for _ in range(len(runs) + 1))
    return [shared * common + (1 - shared) * each for each in own]


def test_maps_that_networks_share_are_told_from_those_they_do_not(runs, sample):
    for shared, verdict in ((0.9, "Yes"), (0, "No")):
        maps = maps_of(runs, shared)
        found = STABILITY.compare(runs, maps, maps[0], sample)
        assert {*found} == {
            SEED,
            f"{STABILITY.SEED}, 64 px",
            ACROSS,
            STABILITY.PATIENT,
            STABILITY.EDGES,
            STABILITY.FINE,
        }
        for grain in STABILITY.GRAINS:
            assert found[STABILITY.FINE][grain] == pytest.approx(1)
            assert abs(found[STABILITY.PATIENT][grain].mean()) < 0.3
            assert abs(found[STABILITY.EDGES][grain].mean()) < 0.3
            assert found[SEED][grain].mean() > 0.9 if shared else abs(found[SEED][grain].mean()) < 0.3
        page, numbers = STABILITY.report(runs, sample, found, "command")
        assert page.splitlines()[2].startswith(f"**Answer.** {verdict}")
        json.dumps(numbers, allow_nan=False)
        assert numbers[ACROSS]["superpixels"]["n"] == 10
        assert f"| {ACROSS}, against {SEED} |" in page


def test_sums_are_compared_over_the_superpixels_of_each_image():
    areas = np.zeros((2, 4, 4), int)
    areas[0, 2:], areas[1] = 1, np.arange(16).reshape(4, 4)
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 2, 4, 4))
    found = STABILITY.by_superpixel(areas)(one, two)
    assert abs(found[0]) == pytest.approx(1), "two areas, whatever the other image has"
    assert found[1] == pytest.approx(np.corrcoef(one[1].ravel(), two[1].ravel())[0, 1])


def test_networks_of_two_resolutions_explain_the_same_class_of_the_same_images(runs, monkeypatch):
    def untrained(run):
        torch.manual_seed(run.seed)
        return Classifier("mobilenet_v2", run.study.classes, STABILITY.size(run)).eval()

    monkeypatch.setitem(STABILITY.draw.__globals__, "load_model", untrained)
    given = STABILITY.draw(runs, 6)
    assert given.images.shape == (6, 3, 32, 32)
    assert torch.equal(given.images, STABILITY.draw(runs, 6).images)
    maps = [STABILITY.explain(run, given) for run in runs]
    fine = STABILITY.explain(runs[0], given, fine=True)
    assert all(each.shape == (6, 32, 32) and np.isfinite(each).all() for each in [*maps, fine])
    found = STABILITY.compare(runs, maps, fine, given)
    assert found[STABILITY.FINE]["smoothed"].mean() > found[SEED]["smoothed"].mean()
    part = runs[0].model_copy(update={"model": runs[0].model.model_copy(update={"region": "lungs_only"})})
    for others in ([runs[1], part], [runs[1], runs[1]]):
        with pytest.raises(ValueError, match="in nothing else"):
            STABILITY.draw(others, 6)
