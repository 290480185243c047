import numpy as np
import pandas as pd
import pytest

from support.project import write_study
from xnn import load_study
from xnn.config import provenance
from xnn.data.records import write_csv
from xnn.evaluation import comparison

SCORE = {"value": 0.8, "low": 0.7, "high": 0.9}
NAMES = ("f1_weighted", "f1_macro", "average_precision_virus", "auroc_pneumonia")


def a_run(value: float) -> dict:
    return {"n": 10, "scores": {name: {**SCORE, "value": value} for name in NAMES}}


TRAINING = {
    "regime": "full",
    "weights": "random",
    "parameters": {"trained": 5},
    "frozen_seconds": 30.0,
    "history": [{"seconds": 60}, {"seconds": 30}],
}


def test_results_are_in_the_order_of_validation_whatever_the_test_says():
    metrics = {"a": a_run(0.75), "b": a_run(0.5)}
    validation = pd.Series({"b": 0.9, "a": 0.6})
    table = comparison.result_table(metrics, {"a": TRAINING, "b": TRAINING}, validation)
    assert table.run.tolist() == ["b", "a"]
    assert table["validation f1"].tolist() == [0.9, 0.6]
    assert table["f1 weighted"].tolist() == ["0.500 (0.700-0.900)", "0.750 (0.700-0.900)"]
    assert table.minutes.tolist() == [2.0, 2.0]


def test_an_undefined_score_is_a_dash():
    assert comparison.with_interval({"value": None, "low": None, "high": None}) == "-"


def test_a_table_as_markdown():
    table = comparison.score({"a": a_run(0.5)}, "f1_macro")
    assert comparison.markdown(table).splitlines() == [
        "| run | value | low | high |",
        "| --- | --- | --- | --- |",
        "| a | 0.5 | 0.7 | 0.9 |",
    ]


@pytest.fixture
def study():
    """A study with two runs and their weighted likes, whose predictions are random."""
    write_study(
        "compared",
        plain="model: {weights: none}",
        weighted="model: {weights: none}\ntraining: {class_weights: true}",
        tuned="model: {start_from: plain, train: 5}",
        tuned_weighted="model: {start_from: weighted, train: 5}\ntraining: {class_weights: true}",
    )
    study, rng = load_study("compared"), np.random.default_rng(0)
    labels = rng.choice(study.classes, 60)
    table = pd.DataFrame({"path": [f"{i:02}" for i in range(60)], "label": labels, "patient": "p"})
    table["patient"] = [str(i // 2) for i in range(60)]
    for number, run in enumerate(("plain", "weighted")):
        rows = rng.dirichlet([1, 1, 1], 60) + 3 * number * (np.array(study.classes) == labels[:, None])
        table[study.classes] = rows / rows.sum(axis=1, keepdims=True)
        write_csv(table.sample(frac=1, random_state=number), study.reports / run / "predictions.csv")
    return study


def test_differences_are_paired_whatever_the_order_of_rows(study):
    pairs = [("weighted", "plain"), ("plain", "weighted"), ("plain", "plain")]
    table = comparison.differences(study, pairs, ["f1_weighted", "recall_virus"])
    ahead, behind, same = (part for _, part in table.groupby(["run", "against"], sort=False))
    assert ahead.real.all()
    assert (ahead.value > 0.3).all()
    assert ahead.value.to_numpy() == pytest.approx(-behind.value.to_numpy())
    assert ahead.low.to_numpy() == pytest.approx(-behind.high.to_numpy())
    assert same[["value", "low", "high"]].to_numpy().tolist() == [[0, 0, 0]] * 2
    assert not same.real.any()


def test_runs_that_saw_other_images_are_not_compared(study):
    file = study.reports / "plain/predictions.csv"
    file.write_text(file.read_text().replace("\n00,", "\n99,"))
    with pytest.raises(ValueError, match="plain and weighted were not tested on the same images"):
        comparison.differences(study, [("plain", "weighted")], ["f1_weighted"])


def test_a_verdict_counts_what_is_more_than_chance():
    table = pd.DataFrame({"low": [0.1, -0.2, -0.1, 0.2], "high": [0.3, -0.1, 0.1, 0.3]})
    assert comparison.verdict(table) == "higher in 2, lower in 1, within chance in 1 comparisons"
    assert comparison.verdict(table[:0]) == "no such pair in this study"


def test_pairs_differ_in_class_weights_alone(study):
    made = ["plain", "weighted", "tuned", "tuned_weighted"]
    assert comparison.weighted_pairs(study, made) == [("weighted", "plain"), ("tuned_weighted", "tuned")]
    assert comparison.weighted_pairs(study, made[:1]) == []
    assert len(comparison.differences(study, [], ["f1_weighted"])) == 0


def test_a_run_has_the_starting_weights_of_the_run_it_starts_from(study):
    record = {"parameters": {"total": 7}}
    table = comparison.networks(study, {"tuned": record, "plain": record})
    assert table.weights.tolist() == ["random", "random"]
    assert table.parameters.tolist() == [7, 7]


def test_runs_from_random_weights_say_so():
    table = pd.DataFrame({"run": ["one", "two"], "weights": ["imagenet", "random"]})
    assert comparison.titles(table) == {"one": "one", "two": "two (random weights)"}


def test_the_smallest_network_is_compared_with_larger_ones_that_started_alike():
    table = pd.DataFrame(
        [
            ("small", 0.7, "mobilenet_v2", 2, "imagenet"),
            ("small-better", 0.8, "mobilenet_v2", 2, "imagenet"),
            ("large", 0.9, "resnet50", 25, "imagenet"),
            ("large-worse", 0.6, "resnet50", 25, "imagenet"),
            ("alone", 0.5, "convnextv2", 3, "random"),
        ],
        columns=["run", "validation", "backbone", "parameters", "weights"],
    )
    assert comparison.by_size(table) == [("small-better", "large")]


def test_runs_without_metrics_are_left_out(study):
    assert comparison.load_results(study) == ({}, {})


def test_seeds_are_runs_that_differ_in_nothing_else():
    text = "model: {{weights: none}}\nseed: {}"
    runs = {f"seed{i}": text.format(i) for i in (1, 0, 2)}
    write_study("seeded", **runs, other="model: {weights: none, dropout: 0.5}")
    study = load_study("seeded")
    assert comparison.seeds(study, ["seed1", "seed0", "other", "seed2"]) == {
        "seed0": ["seed0", "seed1", "seed2"]
    }
    assert comparison.seeds(study, ["seed1", "other"]) == {}, "one is no spread"


def test_the_spread_of_seeds_in_closed_form():
    metrics = {name: a_run(value) for name, value in {"a": 0.7, "b": 0.8, "c": 0.9}.items()}
    found = comparison.seed_spread(metrics, ["a", "b", "c"]).loc["f1_weighted"]
    assert found.to_dict() == pytest.approx(
        {"mean": 0.8, "sd": 0.1, "lowest": 0.7, "highest": 0.9, "half_width": 0.1}
    )


def test_a_run_is_chosen_by_its_validation_alone():
    write_study("chosen", one="{}", two="{}")
    study = load_study("chosen")
    classes = study.classes
    for run, right in {"one": 2, "two": 3}.items():
        table = pd.DataFrame({"path": ["a", "b", "c"], "label": classes, "patient": ["1", "2", "3"]})
        table[classes] = np.eye(3)
        if right == 2:
            table.loc[0, classes] = [0.0, 1.0, 0.0]
        (study.reports / run).mkdir(parents=True, exist_ok=True)
        table.to_csv(study.reports / run / "validation.csv", index=False)
    found = comparison.validation_f1(study, ["one", "two"])
    assert found.index.tolist() == ["two", "one"]
    assert found["two"] == 1 > found["one"]


def test_explanations_of_every_run_in_one_table():
    write_study("explained", one="{}", two="{}")
    study = load_study("explained")
    assert comparison.explanations(study).empty
    found = {"n": 20, "completeness_passed": 0.95, "integrated_gradients": {"steps_median": 24}}
    found["supports"] = {"insertion_auc": {"better": 4, "worse": 0, "verdict": "better"}}
    provenance.write_json(found, study.reports / "two/explanations.json")
    table = comparison.explanations(study)
    assert table.index.tolist() == ["two"]
    assert table.loc["two"].tolist() == [20, 0.95, 24, "better"]
