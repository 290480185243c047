"""The benchmark on label noise, on made-up answers: labels that are wrong, and networks that err alone."""

import runpy
import types

import numpy as np
import pandas as pd
import pytest

from support.project import PROJECT
from support.samples import CLASSES, study_of
from xnn.config.provenance import write_json
from xnn.data.records import write_csv
from xnn.evaluation.intervals import all_and_resampled

LABELS = types.SimpleNamespace(**runpy.run_path(str(PROJECT / "benchmarks/labels.py")))
NETWORKS = ("one", "two", "three")


def images(rng, count, folder, wrong):
    """Images with their true class; a share `wrong` of the pneumonias has the other one as label."""
    truth = rng.choice(3, count, p=(0.47, 0.27, 0.26))
    labels = np.where((rng.random(count) < wrong) & (truth != 1), 2 - truth, truth)
    names = [f"{folder}-{number}" for number in range(count)]
    table = pd.DataFrame({"path": [f"x/{folder}/{name}.jpeg" for name in names], "patient": names})
    return table.assign(label=np.array(CLASSES)[labels], truth=truth)


def answers(rng, table, right=0.9):
    """A network's predictions: the true class, or another one."""
    given = (table.truth + rng.choice(3, len(table), p=(right, (1 - right) / 2, (1 - right) / 2))) % 3
    return table[["path", "label", "patient"]].join(
        pd.DataFrame(0.1 + 0.7 * np.eye(3)[given], columns=CLASSES)
    )


def world(wrong):
    """Two studies with the answers of three independent networks; the publishers' test has no wrong label."""
    rng = np.random.default_rng(0)
    study, publishers = study_of(split="patient"), study_of(split="official")
    parts = {
        (study.reports, "predictions"): [images(rng, 900, "train", wrong), images(rng, 300, "test", 0)],
        (publishers.reports, "validation"): [images(rng, 800, "val", wrong)],
        (publishers.reports, "predictions"): [
            images(rng, 800, "test", 0).assign(patient=lambda t: "p" + t.patient)
        ],
    }
    for (folder, name), tables in parts.items():
        table = pd.concat(tables, ignore_index=True)
        for run in NETWORKS:
            write_csv(answers(rng, table), folder / run / f"{name}.csv")
            score = {"value": 0.8, "low": 0.7, "high": 0.9}
            validation = {"worst_group_accuracy": score, "f1_weighted": score}
            write_json({"validation": validation}, folder / run / "metrics.json")
            write_json({}, folder / run / "training.json")
        parts[folder, name] = table.assign(file=table.path.str.rpartition("/")[2])
    splits = pd.concat(parts.values()).drop_duplicates("file")
    splits["doubtful_label"] = splits.label != np.array(CLASSES)[splits.truth]
    splits["likelier_class"] = np.array(CLASSES)[splits.truth]
    splits["official split"] = np.where(splits.path.str.contains("/test/"), "test", "train")
    sizes = rng.integers(500, 2000, (2, len(splits)))
    write_csv(splits.assign(true_width=sizes[0], true_height=sizes[1]), study.reports / "splits.csv")
    return study, publishers


@pytest.mark.parametrize("wrong", [0.25, 0])
def test_wrong_labels_are_told_from_errors_of_the_networks(wrong, monkeypatch):
    monkeypatch.setitem(LABELS.load.__globals__, "RESAMPLES", 100)
    monkeypatch.setitem(LABELS.load.__globals__, "PERMUTATIONS", 200)
    study, publishers = world(wrong)
    page = LABELS.page(study, publishers, NETWORKS)
    found = [line for line in page.splitlines() if line.startswith(("- found: ", "- not found: "))]
    assert len(found) == 5
    if wrong:
        assert page.splitlines()[2].startswith("**Answer.** Probably: none of the 5 findings")
        assert all(line.startswith("- not found") for line in found)
    else:
        assert page.splitlines()[2].startswith("**Answer.** Not shown")
        assert sum(line.startswith("- found") for line in found) >= 4


def test_chance_is_what_independent_networks_share():
    rng, labels = np.random.default_rng(0), np.repeat([0, 1, 2], 200)
    predicted = (labels + rng.choice(3, (3, 600), p=(0.7, 0.2, 0.1))) % 3
    found = LABELS.by_chance(predicted, labels)
    assert found["value"] == pytest.approx(600 * (0.2**3 + 0.1**3), rel=0.3)
    assert found["low"] <= LABELS.shared(predicted, labels).sum() <= found["high"]
    alike = np.stack([predicted[0]] * 3)
    assert LABELS.shared(alike, labels).sum() == (predicted[0] != labels).sum() > found["high"]


def test_noise_is_found_again_and_limits_a_perfect_network():
    right, wrong = np.array([0.9]), 0.2
    agreed = right * (1 - wrong) + (1 - right) * wrong
    assert LABELS.noise(agreed, right) == pytest.approx(wrong)
    assert LABELS.noise(right, right) == 0
    rng = np.random.default_rng(1)
    table = images(rng, 20_000, "train", wrong)
    labels, truth = table.label.map(CLASSES.index).to_numpy(), np.eye(3)[table.truth]
    given = LABELS.Answers(
        CLASSES,
        NETWORKS,
        0,
        table.assign(doubtful=False, checked=False),
        labels,
        labels,
        truth[None],
        all_and_resampled(table.patient, 2),
    )
    expected = LABELS.perfect_with_noise(given, np.full(3, wrong))
    assert expected[0] == pytest.approx(given.f1(truth)[0], abs=0.01)
    checked = given._replace(table=given.table.assign(checked=True))
    assert LABELS.perfect_with_noise(checked, np.full(3, wrong)) == pytest.approx(1)
