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


def a_run(value: float, validation: float = 0.5) -> dict:
    """Results of a run with one value for all scores, and one for those on validation."""
    scores, chosen = ({name: {**SCORE, "value": each} for name in NAMES} for each in (value, validation))
    group = {"worst_group_accuracy": {**SCORE, "value": validation}}
    return {"n": 10, "scores": scores, "validation": chosen | group, **group}


TRAINING = {
    "regime": "full",
    "weights": "random",
    "parameters": {"trained": 5},
    "frozen_seconds": 30.0,
    "history": [{"seconds": 60}, {"seconds": 30}],
}


def test_results_are_in_the_order_of_validation_whatever_the_test_says():
    metrics = {"a": a_run(0.75, 0.6), "b": a_run(0.5, 0.9)}
    table = comparison.result_table(metrics, {"a": TRAINING, "b": TRAINING})
    assert table.run.tolist() == ["b", "a"]
    for column in ("validation f1", "validation worst group"):
        assert table[column].tolist() == ["0.900 (0.700 to 0.900)", "0.600 (0.700 to 0.900)"]
    assert table["f1 weighted"].tolist() == ["0.500 (0.700 to 0.900)", "0.750 (0.700 to 0.900)"]
    assert table.minutes.tolist() == [2.0, 2.0]


def test_an_undefined_score_is_a_dash():
    assert comparison.with_interval({"value": None, "low": None, "high": None}) == "-"
    assert comparison.with_interval({"value": 0.1, "low": None, "high": None}) == "0.100", "no limits"


def test_a_table_as_markdown():
    assert comparison.markdown(pd.DataFrame({"a": ["b", None, 0.5]})).splitlines()[2:] == [
        "| b |",
        "|  |",
        "| 0.5 |",
    ]
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
    assert comparison.as_read(same).difference.tolist() == ["+0.000 (+0.000 to +0.000)"] * 2


def test_runs_that_saw_other_images_are_not_compared(study):
    file = study.reports / "plain/predictions.csv"
    file.write_text(file.read_text().replace("\n00,", "\n99,"))
    with pytest.raises(ValueError, match="plain and weighted were not tested on the same images"):
        comparison.differences(study, [("plain", "weighted")], ["f1_weighted"])


def test_a_verdict_counts_what_is_more_than_chance():
    table = pd.DataFrame({"low": [0.1, -0.2, -0.1, 0.2], "high": [0.3, -0.1, 0.1, 0.3]})
    assert comparison.verdict(table) == "higher in 2, lower in 1, within chance in 1 of 4 comparisons"
    assert comparison.verdict(table[:1]) == "higher in 1 of 1 comparison"


def test_a_difference_has_a_sign():
    assert comparison.signed({"value": 0.1, "low": 0, "high": 0.2}) == "+0.100 (+0.000 to +0.200)"


def test_measures_are_counted_against_every_control():
    table = pd.DataFrame({"insertion auc": ["better", "worse"], "deletion auc": ["better", "better"]})
    assert comparison.against_controls(table) == (
        "beat every control by insertion on 1 of 2 networks (and are worse than every control on 1) and by "
        "deletion on 2 of 2 networks"
    )


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


def test_the_names_of_runs_are_words(study):
    assert comparison.titles(study, ["plain", "weighted"]) == {
        "plain": "MobileNetV2, all layers, random start",
        "weighted": "MobileNetV2, all layers, random start, class weights",
    }


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


def chosen_by(f1, worst=None, misleading=None):
    """Results with these scores on validation, and others on the test split."""
    validation = {"f1_weighted": {**SCORE, "value": f1}}
    for name, value in {"worst_group_accuracy": worst, "auroc_misleading": misleading}.items():
        validation[name] = None if value is None else {**SCORE, "value": value}
    return {"validation": validation, "worst_group_accuracy": None, "scores": {"f1_weighted": {**SCORE}}}


def test_a_run_is_chosen_by_its_worst_group_on_validation():
    metrics = {"one": chosen_by(0.9, 0.5), "two": chosen_by(0.7, 0.6), "three": chosen_by(0.8, 0.6)}
    found = comparison.by_validation(metrics)
    assert found.index.tolist() == ["three", "two", "one"], "the F1 decides between equals"
    assert found.validation.tolist() == [0.6, 0.6, 0.5]
    assert found.attrs["criterion"].startswith("worst-group accuracy on validation")


def test_without_sizes_a_run_is_chosen_by_its_f1_and_the_page_says_so():
    metrics = {"one": chosen_by(0.7, 0.9), "two": chosen_by(0.9)}
    found = comparison.by_validation(metrics)
    assert found.index.tolist() == ["two", "one"]
    assert "no sizes" in found.attrs["criterion"]
    assert len(comparison.by_validation({})) == 0


def test_foresight_is_a_rank_correlation():
    metrics = {str(number): chosen_by(number / 10, 1 - number / 10) for number in range(5)}
    for number, each in enumerate(metrics.values()):
        each["scores"]["f1_weighted"] = {**SCORE, "value": number**2 / 20}
    found = comparison.foresight(metrics)
    assert found.loc["weighted F1", "weighted F1"] == pytest.approx(1)
    assert found.loc["worst-group accuracy", "weighted F1"] == pytest.approx(-1)
    assert found.shape == (2, 1), "what is not known is left out"


def test_explanations_of_every_run_in_one_table():
    write_study("explained", one="{}", two="{}")
    study = load_study("explained")
    assert comparison.explanations(study).empty
    found = {"n": 20, "completeness_passed": 0.95, "integrated_gradients": {"steps_median": 24}}
    found["supports"] = {"insertion_auc": {"better": 4, "worse": 0, "verdict": "better"}}
    share = {"value": 0.5, "low": 0.4, "high": 0.6}
    for run, measured in {"one": {}, "two": {"lung_share": share}}.items():  # of one no lungs are known
        methods = {"methods": {"integrated_gradients": measured}}
        provenance.write_json(found | methods, study.reports / run / "explanations.json")
    table = comparison.explanations(study)
    assert table.loc["two"].tolist() == [20, 0.95, 24, "better", "0.500 (0.400 to 0.600)"]
    assert table.loc["one"].tolist()[:-1] == [20, 0.95, 24, "better"]
    assert table["lung share"].isna()["one"]
