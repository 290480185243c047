"""The real make, with real notebooks and kernels, on a phantom study small enough for a test."""

import json
import os
import random
import shutil
import signal
import subprocess
import time

import nbformat
import pytest
from conftest import PROJECT, QUICK, SMALL, write_study
from test_mongo import MISSING, none_is_left

from xnn import load_run, load_study, params, pipeline, provenance

STUDY = "tiny"
ONE = QUICK.replace("epochs: 2", "epochs: 1")
RUNS = {
    "first": f"model: {{weights: none}}\ntraining: {ONE}}}\nexplanation: {{measured: 6}}\n",
    "second": f"model: {{start_from: first, train: head}}\ntraining: {ONE}}}\nexplanation: {{measured: 6}}\n",
}
NOWHERE = "mongodb://%2Fnowhere.sock"  # no database answers there
STEPS_OF_A_RUN = ["3-train", "4-evaluate", "5-explain"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with one small study, as a clone would have it, and its report made."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("xnn", "notebooks"):
        shutil.copytree(PROJECT / name, folder / name)
    for name in (
        "Makefile",
        "requirements.lock",
        "pyproject.toml",
        "_quarto.yml",
        "site.css",
        "favicon.svg",
        "gallery.html",
    ):
        shutil.copy2(PROJECT / name, folder)
    for page in PROJECT.glob("*.qmd"):
        shutil.copy2(page, folder)
    (folder / "reports/kermany").mkdir(parents=True)
    (folder / "reports/kermany/_results.md").write_text("| none |\n|---|\n")
    (folder / "reports/kermany/_findings.md").write_text("- none\n")
    (folder / "reports/kermany/_data.md").write_text("none\n")
    (folder / ".venv").symlink_to(PROJECT / ".venv")
    (folder / "params" / STUDY).mkdir(parents=True)
    (folder / "params" / STUDY / "study.yaml").write_text(SMALL)
    for run, text in RUNS.items():
        (folder / "params" / STUDY / f"{run}.yaml").write_text(text)
    make(folder, "report", FIFTYONE_DATABASE_URI="")
    return folder


def make(folder, *goals, expect=0, **environment) -> str:
    """Run make; return all that it printed. Without a database for FiftyOne, to be quicker."""
    result = subprocess.run(
        ["make", f"STUDY={STUDY}", *goals],
        cwd=folder,
        env={**os.environ, "XNN_ROOT": str(folder), "FIFTYONE_DATABASE_URI": NOWHERE, **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )
    output = result.stdout + result.stderr
    assert result.returncode == expect, output
    return output


def executed(output: str) -> list[str]:
    """The steps that make executed, as <run>/<step> or <step>."""
    lines = [line.removesuffix(" ...") for line in output.splitlines() if line.endswith(".ipynb ...")]
    return [line.removeprefix(f"reports/{STUDY}/").removesuffix(".ipynb") for line in lines]


def test_one_command_makes_the_report(project):
    reports = project / "reports" / STUDY
    pages = {str(p.relative_to(reports)) for p in reports.rglob("*.ipynb")}
    steps = [f"{run}/{step}" for run in RUNS for step in STEPS_OF_A_RUN]
    assert pages == {
        f"{step}.ipynb" for step in ["1-wrangle", "2-explore", "6-compare", "7-protocol", *steps]
    }
    assert not [p for p in project.rglob(".*.ipynb") if ".venv" not in p.parts]
    assert (project / "_site/index.html").exists()
    assert (project / "artifacts/mlflow.db").exists()
    for page in pages:
        html = (project / "_site/reports" / STUDY / page).with_suffix(".html").read_text()
        assert "Synthetic data." in html
        assert "records_sha256" in html
        assert f'href="{page.split("/")[-1]}"' in html
        assert "older than its parameters" not in html


@MISSING
def test_the_report_has_a_fiftyone_dataset_and_leaves_nothing_running(project):
    page = (project / "reports" / STUDY / "2-explore.ipynb").read_text()
    assert f"FiftyOne dataset `xnn-{STUDY}`: " in page
    assert (project / "artifacts" / STUDY / "fiftyone/mongod.log").exists()
    assert none_is_left(project)


def test_results_keep_the_contract(project):
    folder = project / "reports" / STUDY / "first"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"study", "run", "split", "n", "patients", "classes", "confusion", "scores"} < set(metrics)
    assert {"commit", "dirty", "params_sha256", "records_sha256", "seed"} < set(metrics["provenance"])
    assert {"accuracy", "f1_weighted", "auroc_pneumonia", "ece"} < set(metrics["scores"])
    assert set(metrics["scores"]["f1_macro"]) == {"value", "low", "high"}
    explained = json.loads((folder / "explanations.json").read_text())
    methods = explained["methods"]
    own = {"relative_completeness_p95", "completeness_passed", "steps_median"}
    assert own < set(methods["integrated_gradients"])
    assert {"random", "sobel", "grad_cam", "occlusion"} < set(methods)
    wanted = {"insertion_auc", "deletion_auc", "randomisation_spearman", "frame_share", "intervals"}
    assert all(wanted < set(method) for method in methods.values())
    assert {"baseline", "tolerance", "provenance", "alarm", "supports", "against_floors"} < set(explained)
    header = (folder / "predictions.csv").read_text().splitlines()[0]
    assert header == "path,label,patient,bacteria,normal,virus"
    model = project / "artifacts" / STUDY / "first/model"
    assert {p.name for p in model.iterdir()} == {"model.safetensors", "config.json", "README.md"}


def test_the_gallery_is_part_of_the_site(project):
    for run in RUNS:
        assert (project / "_site/reports" / STUDY / run / "gallery/data.js").exists()
    listed = (project / "_site/gallery.js").read_text()
    assert all(f"reports/{STUDY}/{run}/gallery" in listed for run in RUNS)
    assert (project / "_site/gallery.html").exists()
    assert 'gallery.html"' in (project / "_site/explanations.html").read_text()


def test_a_second_make_does_nothing(project):
    output = make(project, "report")
    assert executed(output) == []
    assert "current" not in output


def test_times_of_a_clone_execute_nothing(project):
    files = [p for p in project.rglob("*") if p.is_file() and ".venv" not in p.parts]
    rng = random.Random(0)
    for file in files:
        moment = time.time() - rng.randrange(100_000)
        os.utime(file, (moment, moment))
    assert executed(make(project, "report")) == []


def test_a_changed_run_is_made_again_and_nothing_else(project):
    before = json.loads((project / "reports" / STUDY / "second/training.json").read_text())
    file = project / "params" / STUDY / "second.yaml"
    file.write_text(RUNS["second"] + "# why\n")
    assert not executed(make(project, "report")), "a comment executes nothing"
    file.write_text(RUNS["second"] + "note: why\n")
    found = executed(make(project, "report"))
    steps = (f"second/{step}" for step in STEPS_OF_A_RUN)
    assert sorted(found) == sorted(["6-compare", "7-protocol", *steps])
    after = json.loads((project / "reports" / STUDY / "second/training.json").read_text())
    assert after == before, "a note trains nothing"


def test_other_figures_train_nothing(project):
    training = project / "artifacts" / STUDY / "first/training.json"
    before = training.read_text()
    with (project / "xnn/plots/evaluation.py").open("a") as file:
        file.write("\nANOTHER = 1\n")
    found = executed(make(project, f"reports/{STUDY}/first/4-evaluate.ipynb"))
    assert found == ["first/4-evaluate"]
    assert training.read_text() == before


def test_a_clone_without_artifacts_makes_what_a_stale_page_needs(project):
    shutil.rmtree(project / "artifacts")
    (project / "reports" / STUDY / "second/5-explain.ipynb").unlink()
    found = executed(make(project, f"reports/{STUDY}/second/5-explain.ipynb"))
    # another plots/evaluation.py than the pages of `second` were made with, too
    wanted = ["first/3-train", *(f"second/{step}" for step in STEPS_OF_A_RUN)]
    assert found == ["1-wrangle", *wanted]


def test_a_killed_step_leaves_nothing_that_looks_done(project):
    page = project / "reports" / STUDY / "2-explore.ipynb"
    page.unlink()
    process = subprocess.Popen(
        ["make", f"STUDY={STUDY}", str(page.relative_to(project))],
        cwd=project,
        env={**os.environ, "XNN_ROOT": str(project), "FIFTYONE_DATABASE_URI": NOWHERE},
        start_new_session=True,
    )
    deadline = time.time() + 60
    while not list(page.parent.glob(".2-explore.*.ipynb")) and time.time() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not page.exists()
    make(project, str(page.relative_to(project)))
    assert pipeline.metadata(page)["xnn"]["step"] == "2-explore"
    assert not list(page.parent.glob(".2-explore.*.ipynb"))


def test_a_failing_notebook_ends_in_one_line_and_keeps_the_last_result(project):
    page = project / "reports" / STUDY / "6-compare.ipynb"
    before = page.read_text()
    metrics = project / "reports" / STUDY / "first/metrics.json"
    kept = metrics.read_text()
    metrics.write_text("{}")
    result = subprocess.run(
        [project / ".venv/bin/python", "-m", "xnn.pipeline", "6-compare", STUDY],
        cwd=project,
        env={**os.environ, "XNN_ROOT": str(project)},
        capture_output=True,
        text=True,
    )
    metrics.write_text(kept)
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
def test_a_wrong_parameter_file_is_one_clear_line(project, text, words):
    file = project / "params" / STUDY / "broken.yaml"
    file.write_text(text)
    output = make(project, f"reports/{STUDY}/broken/3-train.ipynb", expect=2)
    file.unlink()
    (line,) = [line for line in output.splitlines() if line.startswith("xnn: ")]
    assert all(word in line for word in words), line


def test_runs_that_need_a_download_are_made_when_asked_for(project):
    file = project / "params" / STUDY / "far.yaml"
    file.write_text("online: true\n")
    told = ("-n", "report")
    plain, online, named = (make(project, *told, *more) for more in ([], ["ONLINE=1"], ["RUNS=far"]))
    file.unlink()
    assert f"3-train {STUDY} far" not in plain
    assert f"3-train {STUDY} far" in online
    assert f"3-train {STUDY} far" in named


def test_a_study_that_does_not_exist_is_one_clear_line(project):
    output = make(project, "STUDY=nothing", "report", expect=2)
    assert "no study 'nothing'" in output
    assert STUDY in output


# ---- without make --------------------------------------------------------------------------------


def test_unknown_steps_and_missing_runs_are_errors(small):
    with pytest.raises(pipeline.StepError, match="there is: 1-wrangle"):
        pipeline.run_step("7-publish", small)
    with pytest.raises(pipeline.StepError, match="plain"):
        pipeline.run_step("3-train", small)
    with pytest.raises(params.ParameterError, match="no run 'nobody'"):
        pipeline.run_step("3-train", small, "nobody")


def test_inputs_name_all_that_decides_a_result(small):
    found = pipeline.inputs("4-evaluate", load_run(small, "plain"))
    assert {f"params/{small}/study.yaml", "xnn/evaluation.py"} <= set(found)
    assert f"artifacts/{small}/records.csv" in found
    assert "xnn/plots/evaluation.py" in found
    assert not any("plots" in name for name in pipeline.inputs("1-wrangle", load_study(small)))


def test_a_page_depends_on_the_parameters_that_it_reads_and_no_others():
    write_study("read", SMALL, run="explanation: {images: 1}")

    def changed(text, study=SMALL):
        run = load_run("read", "run")
        before = {step: pipeline.inputs(step, run) for step in ("3-train", "4-evaluate", "5-explain")}
        before["6-compare"] = pipeline.inputs("6-compare", run.study)
        write_study("read", study, run=text)
        run = load_run("read", "run")
        return {s for s in before if before[s] != pipeline.inputs(s, run.study if s[0] == "6" else run)}

    assert changed("# in words\nexplanation: {images: 1}") == set()
    assert changed("explanation: {images: 2}") == {"5-explain", "6-compare"}
    assert changed("{}", SMALL.replace("}", ", published: []}")) == set()
    assert changed("training: {epochs: 3}") == {"3-train", "6-compare"}


def test_an_archive_that_is_not_there_is_no_reason_to_doubt(root, monkeypatch):
    write_study("far", "{title: far, source: archive}")
    study = load_study("far")
    made = {**pipeline.inputs("1-wrangle", study), "ARCHIVE": "a fingerprint"}
    notebook = nbformat.v4.new_notebook(
        metadata={"papermill": {"end_time": "now"}, "xnn": {"step": "1-wrangle", "inputs": made}}
    )
    study.reports.mkdir(parents=True)
    nbformat.write(notebook, study.reports / "1-wrangle.ipynb")
    try:
        assert pipeline.is_current("1-wrangle", study)
        monkeypatch.setenv("ARCHIVE", str(root / "params"))  # a folder that it was not made from
        assert not pipeline.is_current("1-wrangle", study)
    finally:
        shutil.rmtree(study.reports)


def test_a_parameter_that_the_notebook_lacks_is_refused(root, tmp_path):
    source = tmp_path / "step.py"
    source.write_text('# %% tags=["parameters"]\nstudy = "phantom"\n')
    with pytest.raises(pipeline.StepError, match="no parameter run"):
        pipeline._notebook(source, {"study": "a", "run": "b"})


def test_streams_are_joined_and_progress_is_dropped():
    out = nbformat.v4.new_output
    outputs = [
        out("stream", name="stdout", text="a\n"),
        out("stream", name="stderr", text="\r10%"),
        out("stream", name="stderr", text="\n\x1b[A"),
        out("stream", name="stderr", text="\n"),
        out("stream", name="stdout", text="b\n"),
        out("display_data"),
    ]
    joined = pipeline._joined(o for o in outputs if not pipeline._is_progress(o))
    assert [o.get("text") for o in joined] == ["a\nb\n", None]


def test_hashes_of_results_do_not_change_when_words_do(small):
    assert provenance.content_sha256(provenance.PACKAGE / "plots/look.py") == provenance.code_sha256(
        "plots/look"
    )
    write_study("words", SMALL)
    before = params.sha256(load_study("words"))
    write_study("words", f"# a comment\n{SMALL}")
    assert params.sha256(load_study("words")) == before
    write_study("words", SMALL.replace("patients: 60", "patients: 61"))
    assert params.sha256(load_study("words")) != before
