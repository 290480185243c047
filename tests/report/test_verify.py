"""A report made again equals itself, and one that was changed does not."""

import json
import shutil
import types

import pandas as pd
import pytest

from support.project import ROOT, SMALL, write_study
from support.report import STUDY
from xnn import load_study
from xnn.config import files
from xnn.report import verify
from xnn.report.steps import StepError


@pytest.fixture(scope="module")
def study(copied):
    """The small report, in this process's own project."""
    built = copied()
    for name in ("params", "artifacts", "reports"):
        shutil.copytree(built / name / STUDY, ROOT / name / STUDY)
    yield load_study(STUDY)
    for name in ("params", "artifacts", "reports"):
        shutil.rmtree(ROOT / name / STUDY)


def test_a_report_made_again_on_the_same_machine_is_equal_to_the_last_digit(study):
    checks = {check.what: check for check in verify.verify(study)}
    assert len(checks) == 8
    assert {check.verdict for check in checks.values()} <= {"equal", "within tolerance"}
    again = checks["first, trained again: metrics.json"]
    assert (again.verdict, again.within) == ("equal", 0)
    assert again.numbers > 40
    assert checks["first, trained again: training.json"].verdict == "equal"


def test_a_column_of_numbers_that_end_in_zero_is_equal_to_itself(tmp_path, monkeypatch):
    made = pd.DataFrame({"run": ["first", "second"], "ece": ["0.070", "0.050"], "minutes": [1.0, 2.5]})
    monkeypatch.setattr(verify.comparison, "load_results", lambda study: ({}, {}))
    monkeypatch.setattr(verify.comparison, "result_table", lambda *given: made)
    made.to_csv(tmp_path / "results.csv", index=False)
    study = types.SimpleNamespace(reports=tmp_path)
    assert verify.table_again(study).verdict == "equal"
    made.assign(ece=["0.071", "0.050"]).to_csv(tmp_path / "results.csv", index=False)
    assert verify.table_again(study).verdict == "different"


def test_a_number_that_was_changed_is_found_and_told(study, capsys, monkeypatch):
    file = study.reports / "first/metrics.json"
    kept = file.read_text()
    values = json.loads(kept)
    values["scores"]["accuracy"]["high"] += 1e-6
    file.write_text(json.dumps(values))
    monkeypatch.setattr(verify, "training_again", lambda *_: iter(()))
    try:
        assert verify.report(STUDY) == 1
    finally:
        file.write_text(kept)
    lines = capsys.readouterr().out.splitlines()
    assert any("first: metrics.json" in line and "| different |" in line for line in lines)
    assert f"1 result of {STUDY} different" in lines[-1]


def test_parts_are_announced_and_alone_recomputed(study, capsys):
    assert verify.report(STUDY, "scores") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("scores: recompute every score")
    assert "min by the last records" in lines[0]
    assert not any("trained again" in line for line in lines)
    kept = (study.reports / "_verified.md").read_text()
    assert "| first: metrics.json |" in kept
    assert f"Parts scores at commit {verify.stamp(study)['commit']}" in kept.splitlines()[-1]


def test_an_unknown_part_is_refused():
    with pytest.raises(StepError, match="ONLY=scores,all: no part all: give some of scores, predictions"):
        verify.chosen("scores,all")


def test_what_is_not_here_is_said_and_not_taken_for_equal(study, tmp_path):
    run = files.load_run(STUDY, "first")
    shutil.move(run.artifacts / "training.json", tmp_path)
    try:
        check = verify.answers_again(run)
    finally:
        shutil.move(tmp_path / "training.json", run.artifacts)
    assert check.verdict == "not checked"
    assert "is not here" in check.why
    assert verify.answers_again(run).apart < 1e-5, "six digits are kept"


def test_without_the_radiographs_the_table_says_what_to_set(study, monkeypatch, tmp_path):
    monkeypatch.delenv("ARCHIVE", raising=False)
    real = study.model_copy(update={"source": "archive"})
    checks = list(verify.training_again(real, [files.load_run(STUDY, "first")], tmp_path))
    assert [check.verdict for check in checks] == ["not checked"] * 2
    assert "set ARCHIVE" in checks[0].why


@pytest.mark.parametrize(
    ("again", "verdict"),
    [
        ({"a": [1.0, {"b": 2}], "c": "x"}, "equal"),
        ({"a": [1.0, {"b": 2}], "c": "x", "provenance": {"started": 1}}, "equal"),
        ({"a": [1.0 + 1e-12, {"b": 2}], "c": "x"}, "within tolerance"),
        ({"a": [1.0 + 1e-6, {"b": 2}], "c": "x"}, "different"),
        ({"a": [1.0, {"b": 2}], "c": "y"}, "different"),
        ({"a": [1.0, {"b": 2}]}, "different"),
        ({"a": [1.0, {"b": 2}, 3], "c": "x"}, "different"),
        ({"a": [float("nan"), {"b": 2}], "c": "x"}, "different"),
        ({"a": [None, {"b": 2}], "c": "x"}, "different"),
    ],
)
def test_results_are_compared_number_by_number(again, verdict):
    found = verify.compare("file", {"a": [1.0, {"b": 2}], "c": "x"}, again, within=1e-9)
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("threads", "apart", "verdicts"),
    [
        (2, 0, ["equal", "equal"]),
        (2, 1e-8, ["equal", "different"]),
        (1, 1e-8, ["equal", "within tolerance"]),
        (1, 0.1, ["equal", "different"]),
    ],
)
def test_a_training_elsewhere_lets_its_evaluation_differ(threads, apart, verdicts):
    def made(threads, **values):
        place = {"versions": {}, "device": f"a processor, threads: {threads}", "params_sha256": "a"}
        return {"provenance": place, **values}

    results = {
        "training.json": (made(2, history=[{"val_f1": 0.5}]), made(threads, history=[{"val_f1": 0.5}])),
        "metrics.json": (
            made(2, scores={"ece": {"value": 0.1}}),
            made(2, scores={"ece": {"value": 0.1 + apart}}),
        ),
    }
    assert [check.verdict for check in verify.trained_again("a run", results)] == verdicts


def test_two_numbers_that_are_undefined_are_equal():
    nan = float("nan")
    assert verify.compare("file", {"a": nan}, {"a": nan}).verdict == "equal"


def test_a_study_without_results_says_so(root):
    write_study("bare", SMALL)
    (check,) = verify.verify(load_study("bare"))
    assert check.verdict == "not checked"
    assert "run make report first" in check.why
