"""What a page is made from, and whether it is current."""

import shutil

import nbformat
import pytest

from support.project import SMALL, write_study
from support.report import STEPS_OF_A_RUN
from xnn import load_run, load_study
from xnn.config import freshness
from xnn.report import pipeline, steps
from xnn.report.steps import Task


def test_a_page_depends_on_the_parameters_that_it_reads_and_no_others():
    write_study("read", SMALL, run="explanation: {images: 1}")
    (load_run("read", "run").reports).mkdir(parents=True)
    (load_run("read", "run").reports / "metrics.json").write_text("{}")

    def changed(text, study=SMALL):
        run = load_run("read", "run")
        of_study = {"6-compare"}
        before = {
            step: freshness.recorded(steps.inputs(Task(step, run.study if step in of_study else run)))
            for step in [*STEPS_OF_A_RUN, "6-compare"]
        }
        write_study("read", study, run=text)
        run = load_run("read", "run")
        return {
            step
            for step, then in before.items()
            if freshness.differences(then, steps.inputs(Task(step, run.study if step in of_study else run)))
        }

    assert changed("# in words\nexplanation: {images: 1}") == set()
    assert changed("explanation: {images: 2}") == {"5-explain", "6-compare"}
    assert changed("{}", SMALL.replace("}", ", published: []}")) == set(), "2 is the default"
    assert changed("training: {epochs: 3}") == {"3-train", "5-explain", "6-compare"}
    shutil.rmtree(load_study("read").reports)


def test_an_archive_that_is_not_there_is_no_reason_to_doubt(root, monkeypatch):
    write_study("far", "{title: far, source: archive}")
    task = Task("1-wrangle", load_study("far"))
    made = {**freshness.recorded(steps.inputs(task)), "archive": "a fingerprint"}
    notebook = nbformat.v4.new_notebook(metadata={"papermill": {"end_time": "now"}, "xnn": made})
    task.page.parent.mkdir(parents=True)
    nbformat.write(notebook, task.page)
    try:
        assert not steps.doubts(task)
        monkeypatch.setenv("ARCHIVE", str(root / "params"))  # a folder that it was not made from
        assert steps.doubts(task) == ["its archive"]
    finally:
        shutil.rmtree(task.page.parent)


@pytest.mark.parametrize(
    ("segmenter", "masks", "listed"),
    [("{epochs: 1}", "lungs.zip", True), ("{epochs: 1}", "", False), ("null", "lungs.zip", False)],
)
def test_a_segmenter_is_trained_if_the_study_asks_and_has_masks(monkeypatch, segmenter, masks, listed):
    write_study("sought", f"{{title: sought, source: archive, segmenter: {segmenter}}}")
    monkeypatch.setenv("MASKS", masks)
    assert ("3-lungs" in [task.step for task in steps.report("sought")]) is listed


def test_region_pages_follow_the_lung_masks(monkeypatch):
    write_study("masked", "{title: masked, source: archive}", run="{}")
    study = load_study("masked")

    def planned():
        return [task.step for task in steps.report("masked") if task.subject == load_run("masked", "run")]

    assert planned() == ["3-train", "4-evaluate", "5-explain"]
    with monkeypatch.context() as patch:
        patch.setenv("MASKS", "lungs.zip")
        assert planned() == ["3-train", "4-evaluate", "4-regions", "5-explain"]
    study.artifacts.mkdir(parents=True)
    masks = study.artifacts / "lungs.csv"
    masks.write_text("first")
    (study.artifacts / "records.csv").write_text("")
    assert "4-regions" in planned()
    task = Task("4-regions", load_run("masked", "run"))
    then = freshness.recorded(steps.inputs(task))
    masks.write_text("second")
    assert freshness.differences(then, steps.inputs(task)) == ["its lungs"]
    masks.unlink()
    assert not freshness.differences(then, steps.inputs(task)), "masks are not in git"


def test_a_page_depends_on_the_masks_that_its_code_reaches(tmp_path, monkeypatch):
    write_study("covered", "{title: covered, source: archive}", run="{}")
    subjects = {"study": load_study("covered"), "run": load_run("covered", "run")}
    tasks = [Task(step, subjects[spec.per]) for step, spec in steps.STEPS.items() if spec.per in subjects]
    (tmp_path / "ids.csv").write_text("file,v7_id")
    monkeypatch.setenv("MASKS", str(tmp_path))
    found = {task.step: {"masks", "lungs"} & steps.inputs(task).keys() for task in tasks}
    assert found.pop("1-wrangle") == {"masks"}
    assert found.pop("2-explore") == {"masks", "lungs"}, "the ids of masks are in no other file"
    assert found.pop("6-compare") == set(), "made from results alone"
    assert set(map(frozenset, found.values())) == {frozenset({"lungs"})}
    then = freshness.recorded(steps.inputs(tasks[1]))
    (tmp_path / "more.csv").touch()
    assert freshness.differences(then, steps.inputs(tasks[1])) == ["its masks"]
    monkeypatch.delenv("MASKS")
    assert not freshness.differences(then, steps.inputs(tasks[1])), "masks are not in git"


MADE_BY = {
    "training.json": "3-train",
    "metrics.json": "4-evaluate",
    "predictions.csv": "4-evaluate",
    "validation.csv": "4-evaluate",
    "regions.json": "4-regions",
    "explanations.json": "5-explain",
}


@pytest.mark.parametrize("step", [name for name, spec in steps.STEPS.items() if spec.per != "sweep"])
def test_a_step_follows_the_steps_whose_results_it_reads(step):
    before, left = set(), [step]
    for each in left:
        before |= {*steps.STEPS[each].after}
        left += steps.STEPS[each].after
    assert {MADE_BY[name] for name in steps.STEPS[step].reads} <= before


def test_what_most_others_wait_for_comes_first():
    before = {"alone": [], "third": ["second"], "other": ["first"], "second": ["first"], "first": []}
    place = pipeline._by_waiting(before)
    assert sorted(before, key=place.get) == ["first", "second", "alone", "third", "other"]
