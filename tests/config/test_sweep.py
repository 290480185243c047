"""Sweeps: how they expand to runs, what is wrong with a file, and what is told of the results."""

import json

import numpy as np
import pytest

from support.project import ROOT
from support.samples import CLASSES, table
from xnn import ParameterError, load_run, load_sweep, plots
from xnn.evaluation import intervals, seeds
from xnn.report import pipeline, steps
from xnn.report.steps import Task

GRID = "grid: {training.learning_rate: [1e-3, 3e-3], training.weight_decay: [0.0, 0.1], seed: [0, 1]}"
POINTS = (
    "points: {mild: {augmentation.crop: 0.9}, strong: {augmentation.crop: 0.5, augmentation.jitter: 0.4}}"
)


def write(name: str, *lines: str, study="small", base="plain") -> None:
    folder = ROOT / "params/sweeps"
    folder.mkdir(exist_ok=True, parents=True)
    text = "\n".join((f"title: {name}", f"study: {study}", f"base: {base}", *lines))
    (folder / f"{name}.yaml").write_text(text)


@pytest.fixture(autouse=True)
def _alone(small):
    yield
    for file in (ROOT / "params/sweeps").glob("*.yaml"):
        file.unlink()


def test_a_grid_is_every_combination(small):
    write("grid", GRID, "values: {training.epochs: 1}")
    found = load_sweep("grid")
    runs = found.runs()
    assert len(runs) == 8
    assert runs[0].name == "sweeps/grid/learning_rate-0.001_weight_decay-0.0_seed-0"
    assert {(r.training.learning_rate, r.training.weight_decay, r.seed) for r in runs} == {
        (rate, decay, seed) for rate in (1e-3, 3e-3) for decay in (0.0, 0.1) for seed in (0, 1)
    }
    assert all(run.training.epochs == 1 and run.training.batch_size == 16 for run in runs)
    assert [point.setting for point in found.expanded()][:2] == ["learning_rate-0.001_weight_decay-0.0"] * 2


def test_named_points_meet_the_grid(small):
    write("points", POINTS, "grid: {seed: [0, 1]}")
    found = load_sweep("points")
    names = [point.name for point in found.expanded()]
    assert names == ["mild_seed-0", "mild_seed-1", "strong_seed-0", "strong_seed-1"]
    assert [run.augmentation.crop for run in found.runs()] == [0.9, 0.9, 0.5, 0.5]
    assert found.varied == {"augmentation.crop": "crop", "augmentation.jitter": "jitter", "seed": "seed"}
    assert found.steps == ("3-train", "4-evaluate")


def test_a_run_of_a_sweep_is_a_run(small):
    write("grid", GRID)
    name = "sweeps/grid/learning_rate-0.003_weight_decay-0.1_seed-1"
    run = load_run(small, name)
    assert run.artifacts == ROOT / "artifacts/small" / name
    assert run.reports == ROOT / "reports/small" / name
    assert run.file == ROOT / "params/sweeps/grid.yaml"
    assert steps.inputs(Task("3-train", run))["parameters"][f"small/{name}"]["seed"].value == 1
    with pytest.raises(ParameterError, match=r"grid.yaml: no point 'nothing'"):
        load_run(small, "sweeps/grid/nothing")
    with pytest.raises(ParameterError, match="study: small, so it has no run of study other"):
        load_run("other", name)


def test_a_key_that_needs_a_section_makes_it(small):
    write("lora", "values: {model.train: 15}", "grid: {model.lora.rank: [2, 4]}", "explain: true")
    assert [run.model.lora.rank for run in load_sweep("lora").runs()] == [2, 4]
    assert load_sweep("lora").steps[-1] == "5-explain"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((), ["give a grid", "or points"]),
        (("grid: {seed: []}",), ["grid.seed", "at least one"]),
        (("grid: {training.learning_rat: [1]}",), ["training.learning_rat", "did you mean 'learning_rate'"]),
        (("grid: {training.learning_rate: [1e-3, -1]}",), ["learning_rate--1", "greater than 0"]),
        (("grid: {training.epochs: ['3']}",), ["training.epochs", "'3'"]),
        (("grid: {seed.x: [1]}",), ["seed", "integer"]),
        (("points: {'a b': {seed: 1}}",), ["points.a b", "letters"]),
        (("points: {a: {seed: 1}}", "grid: {seed: [1]}"), ["points.a.seed", "in the grid as well"]),
        (("values: {seed: 1}", "grid: {seed: [1, 2]}"), ["values.seed", "varied as well"]),
        (("points: {a: {seed: 1}, b: {seed: 1}}",), ["a and b are the same run"]),
        (("grid: {model.start_from: [nobody]}",), ["model.start_from", "nobody", "plain"]),
        (("gird: {seed: [1]}", "grid: {seed: [1]}"), ["gird", "did you mean 'grid'"]),
    ],
)
def test_mistakes_name_file_key_and_fix(small, lines, words):
    write("wrong", *lines)
    with pytest.raises(ParameterError) as caught:
        load_sweep("wrong")
    assert all(word in str(caught.value) for word in ["params/sweeps/wrong.yaml", *words]), caught.value


def test_a_sweep_of_nothing_that_exists(small):
    write("grid", GRID)
    with pytest.raises(ParameterError, match=r"no sweep 'grit' .*did you mean 'grid'"):
        load_sweep("grit")
    write("baseless", GRID, base="nobody")
    with pytest.raises(ParameterError, match=r"params/sweeps/baseless.yaml: no run 'nobody'"):
        load_sweep("baseless")


@pytest.fixture
def made(small):
    """A sweep whose runs have results, which are made up."""
    write("made", GRID)
    found = load_sweep("made")
    for number, run in enumerate(found.runs()):
        predictions = table(seed=0)
        noise = np.random.default_rng(number).dirichlet([1, 1, 1], len(predictions))
        predictions[CLASSES] = 0.6 * predictions[CLASSES] + 0.4 * noise
        run.reports.mkdir(parents=True, exist_ok=True)
        predictions.to_csv(run.reports / "predictions.csv", index=False)
        metrics = intervals.metrics(predictions, run.study.classes, "test", 50, 0)
        validation = {"f1_weighted": {"value": 0.5 + number / 20}, "worst_group_accuracy": None}
        metrics |= {"validation": validation, "worst_group_accuracy": None}
        (run.reports / "metrics.json").write_text(json.dumps(metrics))
        training = {"history": [{"epoch": 1, "seconds": 3.0}], "frozen_seconds": 0, "key": str(number)}
        training["parameters"] = {"trained": 5}
        (run.reports / "training.json").write_text(json.dumps(training))
    return found


def test_the_best_setting_is_chosen_on_validation_alone(made):
    found = seeds.sweep_results(made)
    assert list(found.validation) == pytest.approx([0.85 - number / 20 for number in range(8)])
    assert set(found.learning_rate) == {1e-3, 3e-3}
    settled = seeds.settings(found)
    assert settled.index[0] == "learning_rate-0.003_weight_decay-0.1"
    assert settled.validation.iloc[0] == pytest.approx((0.8 + 0.85) / 2)
    assert list(settled.seeds) == [2] * 4
    assert seeds.pairs(made, found) == [], "all train as many parameters, none has class weights"


def test_the_summary_is_a_page_that_knows_what_it_was_made_from(made):
    page = pipeline.run_step("8-sweep", "made")
    assert page == ROOT / "reports/small/sweeps/made/8-sweep.ipynb"
    text = page.read_text()
    assert "`learning_rate-0.003_weight_decay-0.1` is best by weighted F1 on validation" in text
    assert "8 runs. All configured runs are included." in text
    assert not steps.doubts(Task("8-sweep", made))
    (made.runs()[3].reports / "metrics.json").unlink()
    assert steps.doubts(Task("8-sweep", made))
    pipeline.run_step("8-sweep", "made")
    assert "7 runs. Not trained here: learning_rate-0.001_weight_decay-0.1_seed-1." in page.read_text()


def test_every_form_of_the_figure(made):
    found = seeds.sweep_results(made)
    rows = ["learning_rate", "weight_decay"]
    square = plots.sweep_scores(found, rows, "validation", "validation F1")
    assert [text.get_text() for text in square.axes[0].texts] == ["0.525", "0.625", "0.725", "0.825"]
    for varied in (rows[:1], [*rows, "crop"]):
        dots = plots.sweep_scores(found.assign(crop=0.5), varied, "validation", "validation F1")
        assert [tick.get_text() for tick in dots.axes[0].get_yticklabels()][-1] == found.setting.iloc[0]
    assert plots.seed_spread(found).axes[0].get_xlabel() == "F1, weighted by class"
