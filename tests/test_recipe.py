import pytest

from xnn import load_run, recipe, training


def test_class_weights_are_balanced(small):
    run = load_run(small, "tuned")
    data = training.Radiographs(run)
    counts = data.part("train").label.value_counts()[run.study.classes].to_numpy()
    weights = recipe.class_weights(run, data).numpy()
    assert weights * counts == pytest.approx([counts.sum() / 3] * 3, rel=1e-6)
    assert recipe.class_weights(load_run(small, "plain"), data) is None


def test_precision_is_what_is_asked_for(small):
    run = load_run(small, "plain")
    for asked, wanted in {"32": "32-true", "bf16": "bf16-mixed"}.items():
        other = run.model_copy(update={"training": run.training.model_copy(update={"precision": asked})})
        assert recipe.precision(other) == wanted
    assert recipe.precision(run) in ("32-true", "bf16-mixed")
