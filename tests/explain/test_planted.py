"""The planted shortcut: the alarm, the region test and the marker test expose it, and pass its control."""

from itertools import pairwise

import pytest
from torch import nn

from support.project import write_study
from xnn import BACKBONES, fit, load_model, load_run, load_study, predictions, wrangle
from xnn.config import provenance
from xnn.explain import card, evidence, removal, sample, target
from xnn.explain.methods import METHODS
from xnn.models.classifier import answers

STUDY = "title: t\nsource: phantom\nimage_size: 64\npatients: 120\nfractions: [0.6, 0.1, 0.3]\nmarker: {}\n"
RUN = """
model: {backbone: plain, weights: none}
training: {epochs: 12, batch_size: 16, learning_rate: 1e-2, schedule: one_cycle, early_stopping: 0}
augmentation: {crop: 1, degrees: 0, jitter: 0}
"""


def plain(config, state=None):
    """Four layers of convolution: they find the marker in seconds, where a ResNet takes minutes."""
    blocks = [
        nn.Sequential(nn.Conv2d(one, other, 3, padding=1), nn.BatchNorm2d(other), nn.ReLU(), nn.MaxPool2d(2))
        for one, other in pairwise((3, 16, 32, 64, 64))
    ]
    return nn.Sequential(*blocks), nn.Identity(), 64


@pytest.mark.parametrize(("marker", "fires"), [("class", True), ("random", False)])
def test_a_network_that_reads_the_marker_is_told_from_its_control(monkeypatch, marker, fires):
    monkeypatch.setitem(BACKBONES, "plain", plain)
    study = f"marker-{marker}"
    write_study(study, STUDY.format(marker), plain=RUN)
    wrangle(load_study(study))
    run = load_run(study, "plain")
    provenance.write_json(fit(run), run.reports / "training.json")
    drawn = sample.draw(predictions(run), run)
    given = sample.load_sample(run, drawn[drawn.measured])
    model = load_model(run)
    own = evidence.integrate(target.explained(run, model), run, given).maps
    maps = {evidence.METHOD: own, "other_patient": own[evidence.others(given)]}
    maps |= {name: METHODS[name](model, given.images, given.targets) for name in evidence.CONTROLS[:-1]}
    taken = {name: evidence.places(each, given) for name, each in maps.items()}
    told = card.alarm(card.table(taken, given.patients))
    assert told["measure"] == "marker_share"
    assert told["fires"] == fires, told

    tested = removal.load(run)
    whole = answers(model, tested.images, run.evaluation.flip)
    without = removal.region_test(run, model, tested, whole)["inpainted"]
    f1 = {name: without[name]["f1_weighted"]["value"] for name in ("lungs_removed", "lungs_only")}
    changed = removal.small_changes(run, model, tested, whole).set_index("change").changed
    # the lesion is in the lungs, the marker is not
    assert (f1["lungs_removed"] > f1["lungs_only"]) == fires, f1
    for name in ("marker removed", "marker pasted from another radiograph"):
        assert (changed[name]["low"] > 0.3) if fires else (changed[name]["high"] < 0.2), changed[name]
