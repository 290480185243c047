"""A network that reads the size of the originals is found out by its worst group."""

import numpy as np
import pandas as pd
import pytest

from support.samples import CLASSES, study_of
from xnn.evaluation import groups, intervals, result
from xnn.evaluation.predictions import predictions_table

STUDY = study_of()


def images(n=1200, seed=0):
    """Records of one image per patient, and sizes that go with the class: the healthy ones are larger."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, n)
    records = pd.DataFrame({"path": [f"{seed}-{i}" for i in range(n)], "label": labels})
    records["patient"] = records.path
    sizes = rng.normal(1000, 150, n) + 300 * (labels == "normal")
    return records, pd.Series(sizes, records.path)


def called(records, healthy, sure=0.9):
    """Predictions that call some images healthy and the others bacteria."""
    probabilities = np.where(np.asarray(healthy)[:, None], [0.1, 0.9, 0.0], [0.9, 0.1, 0.0])
    return predictions_table(records, probabilities, CLASSES)


def scored(answer):
    """The results by size of a network whose answer is a function of label and size."""
    tables, known = {}, []
    for seed, split in enumerate(("val", "test")):
        records, sizes = images(seed=seed)
        tables[split] = called(records, answer(records.label, sizes.to_numpy()))
        known.append(sizes)
    found = groups.quartered(STUDY, tables, pd.concat(known))
    return found, groups.by_size(found, resamples=50)


def test_a_network_that_reads_the_size_is_worst_where_size_misleads():
    found, table = scored(lambda label, size: size > 1150)
    for split in ("val", "test"):
        worst = groups.worst(table, split)
        assert worst["group"] in ("normal, smallest quarter", "pneumonia, largest quarter")
        assert worst["low"] <= worst["value"] <= worst["high"] < 0.6
        assert groups.misleading(found, split, 50)["value"] < 0.5
        rows = table[table.split == split].set_index("group")
        assert rows.value["normal, largest quarter"] == rows.value["pneumonia, smallest quarter"] == 1
        assert rows.n.sum() == 1200


def test_a_network_that_reads_the_disease_has_no_worst_group():
    found, table = scored(lambda label, size: label == "normal")
    assert groups.worst(table, "test")["value"] == groups.misleading(found, "test", 50)["value"] == 1


def test_quarters_are_those_of_validation():
    _, table = scored(lambda label, size: label == "normal")
    val = table[table.split == "val"]
    assert val.groupby(val.group.str.split(",").str[0]).n.agg(np.ptp).max() <= 1
    records, sizes = images(seed=1)
    larger = {"val": images()[0], "test": records}
    tables = {split: called(each, each.label == "normal") for split, each in larger.items()}
    moved = groups.quartered(STUDY, tables, pd.concat([images()[1], sizes + 2000]))
    assert set(moved[moved.split == "test"].quarter) == {"largest"}


def test_small_groups_and_unknown_sizes_do_not_count():
    records, sizes = images(60)
    wrong = called(records, records.label != "normal")
    healthy = (records.label == "normal").to_numpy()
    sizes[healthy] = np.where(np.arange(healthy.sum()) < 9, 900, np.nan)
    found = groups.quartered(STUDY, {"val": wrong}, sizes)
    assert (found.kind == "normal").sum() == 9
    table = groups.by_size(found, 50)
    assert groups.worst(table, "val")["group"].startswith("pneumonia")
    assert groups.worst(table[table.group.str.startswith("normal")], "val") is None


@pytest.mark.parametrize("study", [STUDY, study_of(classes=["bacteria", "virus"])])
def test_without_sizes_or_a_healthy_class_there_is_no_group(study):
    records, sizes = images(30)
    given = None if study is STUDY else sizes
    found = groups.quartered(study, {"val": called(records, records.label == "normal")}, given)
    table = groups.by_size(found, 50)
    assert len(found) == len(table) == 0
    assert groups.worst(table, "val") is None
    assert groups.misleading(found, "val") is None


def test_groups_are_read_as_a_table():
    _, table = scored(lambda label, size: label == "normal")
    read = groups.shown(table)
    assert list(read.columns) == ["test", "validation"]
    assert read.loc["normal, smallest quarter", "validation"].startswith("1.000 (1.000 to 1.000) of ")


def test_results_of_a_run_keep_the_contract(small):
    from xnn import load_run

    run = load_run(small, "plain")
    (validation, some), (test, others) = images(300), images(300, seed=1)
    tables = [called(each, each.label == "normal") for each in (test, validation)]
    found = result.further(run, *tables, pd.concat([some, others]))
    scores = intervals.metrics(tables[0], CLASSES, resamples=2)["scores"]
    assert set(scores) | {"worst_group_accuracy", "auroc_misleading"} == set(found["validation"])
    assert found["validation"]["worst_group_accuracy"]["value"] == 1
    assert found["conformal"]["level"] == 0.9
    without = result.further(run, *tables, None)
    assert without["worst_group_accuracy"] is without["validation"]["worst_group_accuracy"] is None
