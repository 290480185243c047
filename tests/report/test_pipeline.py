"""The real make, with real notebooks and kernels, on the small report."""

import base64
import io
import json
import os
import random
import shutil
import signal
import subprocess
import time

import nbformat
import pytest
from PIL import Image

from support.mongod import MISSING, none_is_left
from support.project import command, environment
from support.report import (
    PAGES,
    RUNS,
    STEPS_OF_A_RUN,
    STUDY,
    executed,
    goals,
    make,
    settings,
    stale,
)
from xnn.config import schema
from xnn.report import pipeline, steps

# ---- the whole report ----------------------------------------------------------------------------


def test_one_command_makes_the_report(built):
    reports = built / "reports" / STUDY
    assert {str(page.relative_to(reports)) for page in reports.rglob("*.ipynb")} == {
        f"{page}.ipynb" for page in PAGES
    }
    assert not list(built.rglob(".*.ipynb"))
    assert (built / "_site/index.html").exists()
    assert (built / "artifacts/mlflow.db").exists()
    for page in PAGES:
        html = (built / "_site/reports" / STUDY / f"{page}.html").read_text()
        assert "Synthetic data." in html
        assert "records SHA-256" in html
        assert f'href="{page.split("/")[-1]}.ipynb"' in html
        assert "older than its parameters" not in html


@MISSING
def test_the_report_has_a_fiftyone_dataset_and_leaves_nothing_running(built):
    page = (built / "reports" / STUDY / "2-explore.ipynb").read_text()
    assert f"FiftyOne dataset `xnn-{STUDY}`: " in page
    assert (built / "artifacts" / STUDY / "fiftyone/mongod.log").exists()
    assert none_is_left(built)


def test_results_keep_the_contract(built):
    folder = built / "reports" / STUDY / "first"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"study", "run", "split", "n", "patients", "classes", "confusion", "scores"} < set(metrics)
    assert {"commit", "dirty", "params_sha256", "records_sha256", "seed"} < set(metrics["provenance"])
    assert {"accuracy", "f1_weighted", "auroc_pneumonia", "ece"} < set(metrics["scores"])
    assert set(metrics["scores"]["f1_macro"]) == {"value", "low", "high"}
    explained = json.loads((folder / "explanations.json").read_text())
    methods = explained["methods"]
    assert {"relative_completeness_p95", "steps_median"} < set(explained["integrated_gradients"])
    assert {"random", "sobel", "centre", "other_patient", "grad_cam", "occlusion"} < set(methods)
    wanted = {"insertion_auc", "deletion_auc", "lung_share"}
    assert all(wanted < set(method) for method in methods.values())
    assert set(methods["sobel"]["lung_share"]) == {"value", "low", "high", "n"}
    assert {"n", "completeness_passed", "baseline", "alarm", "supports", "against"} < set(explained)
    header = (folder / "predictions.csv").read_text().splitlines()[0]
    assert header == "path,label,patient,bacteria,normal,virus"
    model = built / "artifacts" / STUDY / "first/model"
    assert {p.name for p in model.iterdir()} == {"model.safetensors", "config.json", "README.md"}


def test_the_gallery_is_part_of_the_site(built):
    for run in RUNS:
        assert (built / "_site/reports" / STUDY / run / "gallery/data.js").exists()
    listed = (built / "_site/pages/gallery.js").read_text()
    assert all(f"reports/{STUDY}/{run}/gallery" in listed for run in RUNS)
    assert (built / "_site/pages/gallery.html").exists()
    assert 'gallery.html"' in (built / "_site/pages/explanations.html").read_text()


def test_a_second_make_does_nothing(copy):
    output = make(copy, "report")
    assert executed(output) == []
    assert "current" not in output


# ---- a part of it again --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(copied):
    """The report after one of its runs has changed: a make that is killed, and a second one.

    All files have random times, as in a clone. Gives the project, whether the page was still the old one
    after the kill, and what the second make printed.
    """
    folder = copied()
    for file in folder.rglob("*"):
        moment = time.time() - random.randrange(100_000)
        os.utime(file, (moment, moment))
    file = folder / "params" / STUDY / "second.yaml"
    file.write_text(RUNS["second"].replace("max_gradients: 65", "max_gradients: 33"))
    page = folder / "reports" / STUDY / "second/5-explain.ipynb"
    before = page.read_text()
    where = {"cwd": folder, "env": settings(folder)}
    process = subprocess.Popen(goals("report"), **where, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.time() + 600
    while not list(page.parent.glob(".5-explain.*.ipynb")):
        assert time.time() < deadline, "the step never started"
        assert process.poll() is None, "make has ended"
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return folder, page.read_text() == before, make(folder, "report")


def test_a_changed_run_is_made_again_and_nothing_else(killed):
    _, _, output = killed
    assert sorted(executed(output)) == ["6-compare", "7-protocol", "second/5-explain"]


def test_a_killed_step_leaves_nothing_that_looks_done(killed):
    folder, is_old, _ = killed
    assert is_old
    page = folder / "reports" / STUDY / "second/5-explain.ipynb"
    assert steps.metadata(page)["xnn"]["parameters"][f"{STUDY}/second"]["explanation.max_gradients"] == 33
    assert not list(page.parent.glob(".5-explain.*.ipynb"))


def test_a_note_makes_the_run_s_pages_stale_and_trains_nothing(copy):
    file = copy / "params" / STUDY / "second.yaml"
    file.write_text(RUNS["second"] + "# why\n")
    assert not stale(make(copy, "status")), "a comment"
    file.write_text(RUNS["second"] + "note: why\n")
    told = make(copy, "status")
    of_second = {f"second/{step}" for step in STEPS_OF_A_RUN}
    assert stale(told) == {*of_second, "6-compare", "7-protocol"}, told
    assert "no training is needed" in told


def test_figures_have_two_pixels_for_each_that_a_notebook_shows(built):
    cells = nbformat.read(built / "reports" / STUDY / "first/4-evaluate.ipynb", as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", []) if "data" in output]
    shown = [(kind, each) for each in outputs for kind in each.data if kind.startswith("image/")]
    assert len(shown) > 4
    for kind, each in shown:
        with Image.open(io.BytesIO(base64.b64decode(each.data[kind]))) as picture:
            assert picture.width // 2 == each.metadata[kind]["width"]


def test_one_study_s_report_does_not_stand_for_another_s(copy):
    """As in a fresh clone: kermany is made, then make report."""
    shutil.copytree(copy / "params" / STUDY, copy / "params/other")
    told = make(copy, "report", "-n", "STUDY=other")
    assert "report other" in told
    assert "report other" not in make(copy, "report", "-n")


# ---- mistakes ------------------------------------------------------------------------------------


def test_a_failing_notebook_ends_in_one_line_and_keeps_the_last_result(copy):
    page = copy / "reports" / STUDY / "6-compare.ipynb"
    before = page.read_text()
    (copy / "reports" / STUDY / "first/metrics.json").write_text("{}")
    run = command("run", "6-compare", STUDY)
    result = subprocess.run(run, cwd=copy, env=environment(copy), capture_output=True, text=True)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(f"xnn: 6-compare of {STUDY} failed: KeyError")
    assert page.read_text() == before
    assert page.with_suffix(".failed.ipynb").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trainin: {}\n", ["params/tiny/broken.yaml", "trainin", "did you mean 'training'"]),
        ("training: {epochs: many}\n", ["params/tiny/broken.yaml", "training.epochs", "many"]),
        ("model: {start_from: nobody}\n", ["start_from", "nobody", "first"]),
    ],
)
def test_a_wrong_parameter_file_is_one_clear_line(copy, text, words):
    file = copy / "params" / STUDY / "broken.yaml"
    file.write_text(text)
    output = make(copy, f"reports/{STUDY}/broken/3-train.ipynb", expect=2)
    (line,) = [line for line in output.splitlines() if line.startswith("xnn: ")]
    assert all(word in line for word in words), line


def test_runs_that_need_a_download_are_made_when_asked_for(copy):
    file = copy / "params" / STUDY / "far.yaml"
    file.write_text("online: true\n")
    plain, online, named = (make(copy, "status", *more) for more in ([], ["ONLINE=1"], ["RUNS=far"]))
    assert "far/3-train" not in plain
    assert "far/3-train" in online
    assert "far/3-train" in named
    assert "second/3-train" not in named


def test_a_study_that_does_not_exist_is_one_clear_line(built):
    output = make(built, "STUDY=nothing", "report", expect=2)
    assert "no study 'nothing'" in output
    assert STUDY in output


def test_unknown_steps_and_missing_runs_are_errors(small):
    with pytest.raises(steps.StepError, match="choose from 1-wrangle"):
        pipeline.run_step("7-publish", small)
    with pytest.raises(steps.StepError, match="plain"):
        pipeline.run_step("3-train", small)
    with pytest.raises(schema.ParameterError, match="no run 'nobody'"):
        pipeline.run_step("3-train", small, "nobody")
