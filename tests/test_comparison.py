from xnn import comparison

SCORE = {"value": 0.8, "low": 0.7, "high": 0.9}
NAMES = ("f1_weighted", "f1_macro", "average_precision_virus", "auroc_pneumonia")


def a_run(value: float) -> dict:
    return {"n": 10, "scores": {name: {**SCORE, "value": value} for name in NAMES}}


TRAINING = {
    "regime": "full",
    "weights": "random",
    "parameters": {"trained": 5},
    "history": [{"seconds": 90}, {"seconds": 30}],
}


def test_results_have_the_best_run_first():
    metrics = {"a": a_run(0.5), "b": a_run(0.75)}
    table = comparison.results(metrics, {"a": TRAINING, "b": TRAINING})
    assert table.run.tolist() == ["b", "a"]
    assert table["f1 weighted"].tolist() == ["0.750 (0.700-0.900)", "0.500 (0.700-0.900)"]
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
