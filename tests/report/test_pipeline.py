"""The real make, with real notebooks and kernels, on a phantom study small enough for a test."""

import contextlib
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import time

import nbformat
import pytest

from support.mongod import MISSING, none_is_left
from support.project import PROJECT, QUICK, SMALL, write_study
from xnn import load_run, load_study
from xnn.config import freshness, schema
from xnn.report import execute, pipeline, steps
from xnn.report.steps import Task

STUDY = "tiny"
NAMES = "study: tiny\nrun: "
ONE = QUICK.replace("epochs: 2", "epochs: 1")
RUNS = {
    "first": f"{NAMES}first\nmodel: {{weights: none}}\ntraining: {ONE}}}\nexplanation: {{measured: 6}}\n",
    "second": f"{NAMES}second\nmodel: {{start_from: first, train: head}}\ntraining: {ONE}}}\n"
    "explanation: {measured: 6}\n",
}
BIN = f"BIN={PROJECT / '.venv/bin'}"  # nothing is installed into it from here
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
        ["make", BIN, f"STUDY={STUDY}", *goals],
        cwd=folder,
        env={**os.environ, "XNN_ROOT": str(folder), "FIFTYONE_DATABASE_URI": NOWHERE, **environment},
        capture_output=True,
        text=True,
        timeout=1800,
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


# ---- what an edit makes stale: each is tried on the real study, and taken back -----------------------

OF_RUNS = {f"{run}/{step}" for run in RUNS for step in STEPS_OF_A_RUN}
TRAININGS = {f"{run}/3-train" for run in RUNS}


def replaced(file, old, new):
    def edit(folder):
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    return edit


def moved(folder):
    """Module scoring becomes judging/marks.py."""
    package = folder / "xnn/judging"
    package.mkdir()
    (package / "__init__.py").touch()
    (folder / "xnn/evaluation/scoring.py").rename(package / "marks.py")
    for file in [*(folder / "xnn").rglob("*.py"), folder / "xnn/__init__.pyi"]:
        text = file.read_text().replace("from .scoring import", "from ..judging.marks import")
        file.write_text(text.replace("from .evaluation.scoring import", "from .judging.marks import"))


def renamed(folder):
    """A function has another name, wherever it is called."""
    for file in (folder / "xnn/evaluation/curves.py", folder / "notebooks/4-evaluate.py"):
        text = file.read_text()
        assert "best_thresholds(" in text
        file.write_text(text.replace("best_thresholds(", "optimal_thresholds("))


def without_models(folder):
    for run in RUNS:
        shutil.rmtree(folder / "artifacts" / STUDY / run / "model")


READER = replaced("xnn/evaluation/predictions.py", "ignore_index=True)", "ignore_index=True)[::2]")
EDITS = {
    "the reader of predictions returns every second row": (READER, {"6-compare", "7-protocol", *OF_RUNS}, 0),
    "the gradient is clipped": (
        replaced("xnn/training/fit.py", "logger=False,", "logger=False,\n        gradient_clip_val=0.1,"),
        TRAININGS,
        2,
    ),
    "a line is wrapped in another way": (
        replaced(
            "xnn/models/classifier.py",
            "model.head.requires_grad_(True)",
            "model.head.requires_grad_(\n        True\n    )",
        ),
        set(),
        0,
    ),
    "comments, docstrings and the words of an error": (
        lambda folder: [
            replaced("xnn/models/classifier.py", '"""Pool, then small', '"""Pool; small')(folder),
            replaced("xnn/models/weights.py", "cannot be had: tried", "was not found: tried")(folder),
            replaced("xnn/evaluation/scoring.py", "def scores(", "# why\ndef scores(")(folder),
        ],
        set(),
        0,
    ),
    "a key with a default": (
        replaced(
            "xnn/config/schema.py",
            "    epochs: Count = 20",
            "    warm_up: Count = 1\n    epochs: Count = 20",
        ),
        set(),
        0,
    ),
    "a default that this study relies on": (
        replaced(
            "xnn/config/schema.py",
            "weight_decay: Annotated[float, Field(ge=0)] = 0.05",
            "weight_decay: Annotated[float, Field(ge=0)] = 0.1",
        ),
        # explanations are compared with those of runs of the same recipe
        {*TRAININGS, *(f"{run}/5-explain" for run in RUNS), "6-compare", "7-protocol"},
        2,
    ),
    "a word of prose": (replaced("notebooks/5-explain.py", "**Where in", "**Whence in"), set(), 0),
    "a module is renamed and moved into a package": (moved, set(), 0),
    "a function is renamed": (renamed, set(), 0),
    "a name that nothing uses": (
        lambda folder: (folder / "xnn/plots/runs.py").open("a").write("\nANOTHER = 1\n"),
        set(),
        0,
    ),
    "another figure, in a clone without models": (
        lambda folder: [
            replaced("xnn/plots/runs.py", "figure, ", "figure,  ")(folder),
            replaced("xnn/plots/runs.py", "subplots(", "subplots(0.1 + ")(folder),
            without_models(folder),
        ],
        TRAININGS,
        0,
    ),
    "a measure of explanations, in a clone without models": (
        lambda folder: [
            replaced("xnn/explain/card.py", "def table(", "def table(ignored=None, *, ")(folder),
            without_models(folder),
        ],
        {f"{run}/5-explain" for run in RUNS},
        2,
    ),
}


@pytest.fixture
def copy(project, tmp_path):
    """A copy of the project to edit: its own environment, as a link."""
    shutil.copytree(project, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_makes_stale_what_it_reaches_and_nothing_else(copy, what):
    edit, stale, trainings = EDITS[what]
    edit(copy)
    told = make(copy, "status")
    found = {
        line.split(".ipynb: ")[0].removeprefix(f"reports/{STUDY}/")
        for line in told.splitlines()
        if ".ipynb: " in line and "only if" not in line
    }
    assert found == stale, told
    expected = "no training is needed" if not trainings else f"{trainings} trainings are needed"
    assert expected in told


def test_figures_are_drawn_again_from_kept_results_and_words_without_execution(copy):
    """In a clone: models are not there, the records are made again."""
    EDITS["another figure, in a clone without models"][0](copy)
    EDITS["a word of prose"][0](copy)
    page = copy / "reports" / STUDY / "first/5-explain.ipynb"
    before = nbformat.read(page, as_version=4)
    told = make(copy, "report")
    assert set(executed(told)) == TRAININGS
    assert "training is" not in told
    assert not (copy / "artifacts" / STUDY / "first/model").exists()
    after = nbformat.read(page, as_version=4)
    assert "**Whence in" in after.cells[1].source
    assert [c.get("outputs") for c in after.cells] == [c.get("outputs") for c in before.cells]


def test_a_clone_without_artifacts_makes_what_a_stale_page_needs(copy):
    shutil.rmtree(copy / "artifacts")
    (copy / "reports" / STUDY / "second/5-explain.ipynb").unlink()
    told = make(copy, f"reports/{STUDY}/second/5-explain.ipynb")
    assert "2 trainings are needed" in told
    assert executed(told) == ["second/5-explain"] or executed(told) == ["1-wrangle", "second/5-explain"]


def test_results_on_real_radiographs_are_not_trained_again_unasked(copy):
    """As a clone of the committed report is: models are not there."""
    for file in (copy / "params" / STUDY).glob("study.yaml"):
        file.write_text(SMALL.replace("source: phantom", "source: archive").replace("patients: 60, ", ""))
    told = make(copy, "report", expect=2)
    (line,) = [line for line in told.splitlines() if line.startswith("xnn: ")]
    assert re.search(r"2 trainings are needed, about \d+ min by the last records: .* TRAIN=1", line)
    assert executed(told) == []


def test_named_runs_are_made_and_no_others(copy):
    reports = copy / "reports" / STUDY
    shutil.rmtree(reports / "second")
    (reports / "first/4-evaluate.ipynb").unlink()
    told = make(copy, "report", "RUNS=first")
    assert "second" not in told
    assert sorted(executed(told)) == ["6-compare", "7-protocol", "first/4-evaluate"]


def test_one_study_s_report_does_not_stand_for_another_s(copy):
    """As in a fresh clone: kermany is made, then make report."""
    shutil.copytree(copy / "params" / STUDY, copy / "params/other")
    told = make(copy, "report", "-n", "STUDY=other")
    assert "report other" in told
    assert "report other" not in make(copy, "report", "-n")


def test_only_what_was_current_in_the_last_commit_is_restamped(copy):
    """One page is stale when a variable of a deciding function gets another name; it stays so."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(copy)]
    stale = copy / "reports" / STUDY / "second/4-evaluate.ipynb"
    stale.write_text(stale.read_text().replace('"code": "', '"code": "0'))
    (copy / ".gitignore").write_text("artifacts\n.venv\n_site\n")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "made"]):
        subprocess.run([*git, *command], check=True)
    file = copy / "xnn/evaluation/predictions.py"
    file.write_text(re.sub(r"\bneeded\b", "columns", file.read_text()))
    before = make(copy, "status")
    assert f"{STUDY}/first/4-evaluate.ipynb: its code" in before
    here = {**os.environ, "XNN_ROOT": str(copy)}
    python = str(copy / ".venv/bin/python")
    subprocess.run([python, "-m", "xnn", "restamp"], cwd=copy, env=here, check=True)
    after = [line for line in make(copy, "status").splitlines() if ": its code" in line]
    assert [line.split(":")[0] for line in after] == [f"reports/{STUDY}/second/4-evaluate.ipynb"]


# ---- by papermill alone ----------------------------------------------------------------------------


def papermill(folder, command, expect=0) -> str:
    """A command of reproduce.qmd, on this study."""
    words = shlex.split(command.replace("params/phantom/resnet18", f"params/{STUDY}/first"))
    words = [str(folder / ".venv/bin/papermill"), *words[1:]]
    here = {**os.environ, "XNN_ROOT": str(folder), "JUPYTER_PLATFORM_DIRS": "1"}
    done = subprocess.run(words, cwd=folder, env=here, capture_output=True, text=True)
    assert done.returncode == expect, done.stderr
    return done.stdout + done.stderr


def test_papermill_takes_the_parameter_files(copy):
    lines = (PROJECT / "reproduce.qmd").read_text().splitlines()
    one, *sweep = [line for line in lines if line.startswith("papermill ")]
    reports = copy / "reports" / STUDY
    result, training = (reports / "first" / name for name in ("metrics.json", "training.json"))
    before, trained = json.loads(result.read_text()), training.read_text()
    result.unlink()
    assert "unknown parameter" not in papermill(copy, one)
    after = json.loads(result.read_text())
    assert {**after, "provenance": 0} == {**before, "provenance": 0}
    for command in sweep:
        papermill(copy, command)
    fast = json.loads((reports / "resnet18-fast/training.json").read_text())
    assert len(fast["history"]) == 2
    assert fast["inputs"]["parameters"]["run"]["training.learning_rate"] == 0.003
    assert (reports / "resnet18-fast/metrics.json").exists()
    assert training.read_text() == trained

    under_its_name = sweep[1].replace("-p run resnet18-fast", "")
    assert "give the run a name of its own" in papermill(copy, under_its_name, expect=1)
    mistyped = one + ' -y "{trainin: {epochs: 1}}"'
    assert "did you mean 'training'" in papermill(copy, mistyped, expect=1)
    other = sweep[1].replace("epochs: 2", "epochs: 3")
    assert "was trained otherwise (training.epochs was 2, is 3)" in papermill(copy, other, expect=1)


# ---- disturbed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["MPLBACKEND=Agg", "MATPLOTLIBRC=rc", "LC_ALL=C"])
def test_the_caller_s_settings_change_no_page(copy, name):
    (copy / "rc").write_text("figure.facecolor: red\n")
    page = copy / "reports" / STUDY / "first/4-evaluate.ipynb"
    before = nbformat.read(page, as_version=4)
    page.unlink()
    variable, value = name.split("=")
    make(copy, str(page.relative_to(copy)), **{variable: value.replace("rc", str(copy / "rc"))})
    after = nbformat.read(page, as_version=4)
    pictures = [
        [
            output.data["image/png"]
            for cell in each.cells
            for output in cell.get("outputs", [])
            if "image/png" in output.get("data", {})
        ]
        for each in (before, after)
    ]
    assert pictures[0] == pictures[1]
    assert len(pictures[0]) > 4


@pytest.mark.parametrize(
    ("shown", "fails"),
    [
        ({"image/png": "x"}, False),
        ({"text/markdown": ""}, False),
        ({"text/plain": "<Figure>"}, True),
        ({}, True),
    ],
)
def test_a_figure_without_a_picture_is_an_error(root, shown, fails):
    outputs = [nbformat.v4.new_output("display_data", shown)] if shown else []
    cell = nbformat.v4.new_code_cell("#| code-fold: true\n#| fig-alt: Bars.\nplots.bars()", outputs=outputs)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    with pytest.raises(steps.StepError, match="no picture") if fails else contextlib.nullcontext():
        execute._check_figures(notebook, root / "reports/a.ipynb")


def test_a_killed_step_leaves_nothing_that_looks_done(project):
    page = project / "reports" / STUDY / "2-explore.ipynb"
    page.unlink()
    process = subprocess.Popen(
        ["make", BIN, f"STUDY={STUDY}", str(page.relative_to(project))],
        cwd=project,
        env={**os.environ, "XNN_ROOT": str(project), "FIFTYONE_DATABASE_URI": NOWHERE},
        start_new_session=True,
    )
    deadline = time.time() + 600
    while not list(page.parent.glob(".2-explore.*.ipynb")):
        assert time.time() < deadline, "the step never started"
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not page.exists()
    make(project, str(page.relative_to(project)))
    assert steps.metadata(page)["xnn"]["step"] == "2-explore"
    assert not list(page.parent.glob(".2-explore.*.ipynb"))


def test_a_failing_notebook_ends_in_one_line_and_keeps_the_last_result(project):
    page = project / "reports" / STUDY / "6-compare.ipynb"
    before = page.read_text()
    metrics = project / "reports" / STUDY / "first/metrics.json"
    kept = metrics.read_text()
    metrics.write_text("{}")
    result = subprocess.run(
        [project / ".venv/bin/python", "-m", "xnn", "run", "6-compare", STUDY],
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
    plain, online, named = (make(project, "status", *more) for more in ([], ["ONLINE=1"], ["RUNS=far"]))
    file.unlink()
    assert "far/3-train" not in plain
    assert "far/3-train" in online
    assert "far/3-train" in named
    assert "second/3-train" not in named


def test_a_study_that_does_not_exist_is_one_clear_line(project):
    output = make(project, "STUDY=nothing", "report", expect=2)
    assert "no study 'nothing'" in output
    assert STUDY in output


# ---- without make --------------------------------------------------------------------------------


def test_unknown_steps_and_missing_runs_are_errors(small):
    with pytest.raises(steps.StepError, match="there is: 1-wrangle"):
        pipeline.run_step("7-publish", small)
    with pytest.raises(steps.StepError, match="plain"):
        pipeline.run_step("3-train", small)
    with pytest.raises(schema.ParameterError, match="no run 'nobody'"):
        pipeline.run_step("3-train", small, "nobody")


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


def test_a_parameter_that_the_notebook_lacks_is_refused(root, tmp_path):
    source = tmp_path / "step.py"
    source.write_text('# %% tags=["parameters"]\nstudy = "phantom"\n')
    with pytest.raises(steps.StepError, match="no parameter run"):
        execute._notebook(source, {"study": "a", "run": "b"})


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
    joined = execute._joined(o for o in outputs if not execute._is_progress(o))
    assert [o.get("text") for o in joined] == ["a\nb\n", None]
