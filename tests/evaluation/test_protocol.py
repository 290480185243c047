"""What a protocol adds to a score is measured, with the same networks on both sides."""

import json

import numpy as np
import pandas as pd
import pytest

from support.project import write_study
from support.samples import CLASSES, table
from xnn import load_study
from xnn.config import provenance
from xnn.data.records import write_csv
from xnn.evaluation import calibration, intervals, protocol

RUN = "model: {weights: none}\n"


def make(study: str, run: str, predictions: pd.DataFrame, validation: pd.DataFrame | None = None) -> None:
    """Write the results of a run as its notebooks do."""
    folder = load_study(study).reports / run
    validation = predictions if validation is None else validation
    write_csv(predictions, folder / "predictions.csv")
    write_csv(validation, folder / "validation.csv")
    found = intervals.metrics(predictions, CLASSES, resamples=50)
    found["calibration"] = calibration.report(predictions, validation, CLASSES, 50)
    provenance.write_json(found, folder / "metrics.json")
    record = {"weights": "random", "history": [{"seconds": 1}], "frozen_seconds": 0}
    provenance.write_json(record, folder / "training.json")
    siblings = {"test_images": len(predictions), "patient": 0.0, "patient_and_class": 0.0}
    provenance.write_json(siblings, load_study(study).reports / "siblings.json")


def right(predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions that are all right."""
    truth = np.eye(3)[[CLASSES.index(label) for label in predictions.label]]
    return predictions.assign(**dict(zip(CLASSES, (0.05 + 0.85 * truth).T, strict=True)))


@pytest.fixture
def apart():
    """A study with patients apart, and one that leaks: there the same run is always right."""
    write_study("leaky", "{title: leaky, source: archive, split: image}", same=RUN, other=RUN + "seed: 1")
    write_study("apart", "{title: apart, source: archive, compare_with: [leaky]}", same=RUN, other=RUN)
    for run in ("same", "other"):
        make("apart", run, table(150, seed=1))
        make("leaky", run, right(table(150, seed=2)))
    return load_study("apart")


def test_only_runs_with_the_same_recipe_and_seed_are_compared(apart):
    leaky = load_study("leaky")
    assert protocol.shared_runs(apart, [leaky]) == {"same": [leaky]}
    write_study("unmade", "{title: unmade, source: archive}", same=RUN)
    assert protocol.shared_runs(apart, [load_study("unmade"), leaky]) == {"same": [leaky]}, "one is enough"


def test_leakage_is_the_difference_between_the_two_scores(apart):
    found = protocol.leakage(apart, resamples=2000)
    assert found.study.tolist() == ["apart", "leaky"]
    base, leaky = found.itertuples()
    assert leaky.value == 1
    assert leaky.change == pytest.approx(1 - base.value)
    assert base.change == base.change_low == base.change_high == 0
    # the leaky score does not vary, so the interval is that of the other one, turned round and drawn again
    assert leaky.change_low == pytest.approx(1 - base.high, abs=0.02)
    assert leaky.change_high == pytest.approx(1 - base.low, abs=0.02)
    for row in (base, leaky):  # the limits of a score are those of its own page
        metrics = json.loads((load_study(row.study).reports / "same/metrics.json").read_text())
        assert {name: getattr(row, name) for name in ("value", "low", "high")} == metrics["scores"][
            "f1_weighted"
        ]


def test_two_draws_of_the_same_patients_are_not_the_same_draw(apart):
    write_study("twin", "{title: twin, source: archive}", same=RUN)
    make("twin", "same", table(150, seed=1))
    pairs = [protocol._resampled(each, "same", "accuracy", 300) for each in (apart, load_study("twin"))]
    assert abs(np.corrcoef(*pairs)[0, 1]) < 0.3


def test_the_mix_of_the_test_split_is_found_without_its_labels(apart):
    predictions, validation = table(4000, seed=3), table(1200, seed=4)
    kept = predictions[(predictions.label != "bacteria") | (predictions.index % 4 == 0)]
    make("apart", "same", kept.reset_index(drop=True), validation)
    found = protocol.for_the_mix_of_test(apart, "same", resamples=50)
    mixes = pd.DataFrame(found.attrs["mixes"])
    assert mixes.trained.loc["bacteria"] == pytest.approx(1 / 3, abs=0.05)
    assert mixes.assumed.to_dict() == pytest.approx(mixes.trained.to_dict(), abs=0.01)
    assert mixes.estimated.to_dict() == pytest.approx(mixes.test.to_dict(), abs=0.06)
    accuracy = found[found.score == "accuracy"].set_index("way").value
    assert accuracy["for the true mix"] > accuracy["as trained"]
    assert accuracy["for the estimated mix"] > accuracy["as trained"]
    raw = intervals.metrics(kept.reset_index(drop=True), CLASSES, resamples=2)["scores"]["accuracy"]["value"]
    assert accuracy["as trained"] == pytest.approx(raw), "no temperature, no bias"


def test_published_numbers_stand_beside_ours_task_by_task(apart):
    said = "[{source: Someone, link: https://example.org, task: pneumonia, accuracy: 0.5, differs: all}]"
    write_study("apart", f"{{title: apart, source: archive, compare_with: [leaky], published: {said}}}")
    found = protocol.beside_published(load_study("apart"))
    assert found.task.tolist() == ["three classes"] * 2 + ["pneumonia"] * 3 + ["bacteria or virus"] * 2
    pneumonia = found[found.task == "pneumonia"]
    assert pneumonia.source.tolist() == [
        "[Someone](https://example.org)",
        "this report: `other`",
        "this report: `same`",
    ]
    metrics = json.loads((apart.reports / "same/metrics.json").read_text())
    assert pneumonia.accuracy.tolist()[2] == metrics["scores"]["accuracy_pneumonia"]
    assert pneumonia.differs.tolist()[2] == "random; 224 px; 1 epochs"


def test_a_mean_over_sorted_batches_flatters_and_depends_on_their_size(apart):
    found = protocol.batch_average(apart, "same")
    assert found["whole"] == pytest.approx(
        protocol.load_results(apart)[0]["same"]["scores"]["f1_weighted"]["value"], abs=1e-9
    )
    assert found["sorted"] > found["whole"] + 0.02
    assert protocol.batch_average(apart, "same", size=1000)["sorted"] == found["whole"]
    assert protocol.batch_average(apart, "same", size=8)["sorted"] != found["sorted"]
