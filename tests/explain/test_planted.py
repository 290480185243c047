"""The planted shortcut: on a model that the real steps made, the alarm fires; on its control it is silent."""

import pytest

from support.project import write_study
from xnn import fit, load_model, load_run, load_study, predictions, wrangle
from xnn.config import provenance
from xnn.explain import card, evidence, sample
from xnn.explain.methods import METHODS

STUDY = "title: t\nsource: phantom\nimage_size: 64\npatients: 120\nfractions: [0.6, 0.1, 0.3]\nmarker: {}\n"
RUN = """
model: {backbone: resnet18, weights: none}
training: {epochs: 6, batch_size: 16, learning_rate: 1e-3, schedule: one_cycle, early_stopping: 0}
augmentation: {crop: 1, degrees: 0, jitter: 0}
"""


@pytest.mark.parametrize(("marker", "fires"), [("class", True), ("random", False)])
def test_the_alarm_tells_a_shortcut_from_its_control(marker, fires):
    study = f"marker-{marker}"
    write_study(study, STUDY.format(marker), plain=RUN)
    wrangle(load_study(study))
    run = load_run(study, "plain")
    provenance.write_json(fit(run), run.reports / "training.json")
    drawn = sample.draw(predictions(run), run)
    given = sample.load_sample(run, drawn[drawn.measured])
    model = load_model(run)
    maps = {"integrated_gradients": evidence.integrate(model, run, given).maps}
    maps |= {name: METHODS[name](model, given.images, given.targets) for name in evidence.CONTROLS}
    taken = {name: evidence.places(each, given) for name, each in maps.items()}
    told = card.alarm(card.table(taken, given.patients))
    assert told["measure"] == "marker_share"
    assert told["fires"] == fires, told
