"""What an edit makes stale, and how much of it has to be trained: each is tried on the small report."""

import ast
import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from support.project import SMALL, command, environment
from support.report import OF_RUNS, RUNS, STUDY, executed, make, stale

TRAININGS = {f"{run}/3-train" for run in RUNS}
EXPLANATIONS = {f"{run}/5-explain" for run in RUNS}
REGIONS = {f"{run}/4-regions" for run in RUNS}  # they read no file of predictions


def edited(file, pattern, new):
    """An edit: the first text of a file that fits a pattern becomes another one."""

    def edit(folder):
        text, count = re.subn(pattern, new, (folder / file).read_text(), count=1)
        assert count, f"{file} has no {pattern}"
        (folder / file).write_text(text)

    return edit


def wrapped(folder):
    """A module is written in another way, and loses its comments."""
    file = folder / "xnn/models/classifier.py"
    text = ast.unparse(ast.parse(file.read_text()))
    assert text != file.read_text()
    file.write_text(text)


def moved(folder):
    """Module scoring of a package becomes marks, in a package of that one."""
    package = folder / "xnn/evaluation/judging"
    package.mkdir()
    (package / "__init__.py").touch()
    text = (folder / "xnn/evaluation/scoring.py").read_text()
    (package / "marks.py").write_text(re.sub(r"^from \.", "from ..", text, flags=re.MULTILINE))
    (folder / "xnn/evaluation/scoring.py").unlink()
    in_package, elsewhere = r"^from \.scoring import", r"^from (\.+evaluation)\.scoring import"
    found = 0
    for file in [*(folder / "xnn").rglob("*.py"), folder / "xnn/__init__.pyi"]:
        text, count = re.subn(
            elsewhere, r"from \1.judging.marks import", file.read_text(), flags=re.MULTILINE
        )
        found += count
        if file.parent.name == "evaluation":
            text, count = re.subn(in_package, "from .judging.marks import", text, flags=re.MULTILINE)
            found += count
        file.write_text(text)
    assert found > 4
    code = "import sys, xnn; sys.exit(xnn.scores.__module__ != 'xnn.evaluation.judging.marks')"
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment(folder), check=True)


def renamed(folder):
    """A function has another name, wherever it is called."""
    found = 0
    for file in [*(folder / "xnn").rglob("*.py"), *(folder / "notebooks").glob("*.py")]:
        text, count = re.subn(r"\bbest_thresholds\b", "optimal_thresholds", file.read_text())
        file.write_text(text)
        found += count
    assert found > 1


def without_models(folder):
    for run in RUNS:
        shutil.rmtree(folder / "artifacts" / STUDY / run / "model")


def edits(*each):
    return lambda folder: [edit(folder) for edit in each]


ANOTHER_FIGURE = edits(edited("xnn/plots/runs.py", r"subplots\(", "subplots(0.1 + "), without_models)
A_WORD = edits(
    edited("notebooks/5-explain.py", r"\n# \*\*", "\n# **Whence? "),
    edited("xnn/explain/answers.py", "Measured on", "Seen on"),
)
# what is edited, how, which pages become stale, and how many trainings that takes
EDITS = {
    "the reader of predictions returns every second row": (
        edited("xnn/evaluation/predictions.py", r"(def read\((?:.*\n)+?    return .*)", r"\1[::2]"),
        {"2-explore", "6-compare", "7-protocol", *OF_RUNS} - REGIONS,  # FiftyOne shows predictions
        0,
    ),
    "the gradient is clipped": (
        edited("xnn/training/fit.py", r"pl\.Trainer\(", "pl.Trainer(gradient_clip_val=0.1, "),
        TRAININGS,
        2,
    ),
    "lines are wrapped in another way": (wrapped, set(), 0),
    "comments, docstrings and the words of errors": (
        edits(
            edited("xnn/models/classifier.py", '"""', '"""Other words. '),
            edited("xnn/models/classifier.py", r'(\n    def .*\n +""")', r"\1Other words. "),
            edited("xnn/models/weights.py", r'(raise WeightsError\(f")', r"\1other words: "),
            edited("xnn/models/weights.py", "cannot be had: tried", "was not found: tried"),
            edited("xnn/evaluation/scoring.py", r"def scores\(", "# why\ndef scores("),
        ),
        set(),
        0,
    ),
    "a key with a default": (
        edited("xnn/config/schema.py", "    epochs: Count", "    warm_up: Count = 1\n    epochs: Count"),
        set(),
        0,
    ),
    "a default that this study relies on": (
        edited("xnn/config/schema.py", r"(weight_decay: .*) = 0\.05", r"\1 = 0.1"),
        # explanations are compared with those of runs of the same recipe
        {*TRAININGS, *EXPLANATIONS, "6-compare", "7-protocol"},
        2,
    ),
    "words of prose and of an answer": (A_WORD, set(), 0),
    "a module is renamed and moved into a package": (moved, set(), 0),
    "a function is renamed": (renamed, set(), 0),
    "a name that nothing uses": (edited("xnn/plots/runs.py", r"\Z", "\nANOTHER = 1\n"), set(), 0),
    "another figure, in a clone without models": (ANOTHER_FIGURE, TRAININGS, 0),
    "a measure of explanations, in a clone without models": (
        edits(edited("xnn/explain/card.py", r"def table\(", "def table(ignored=None, *, "), without_models),
        EXPLANATIONS,
        2,
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_makes_stale_what_it_reaches_and_nothing_else(copy, what):
    edit, pages, trainings = EDITS[what]
    edit(copy)
    told = make(copy, "status")
    assert stale(told) == pages, told
    expected = "no training is needed" if not trainings else f"{trainings} trainings are needed"
    assert expected in told


@pytest.fixture(scope="module")
def named(copied):
    """The report of one run in a clone, with another figure and other words, by a caller with own settings.

    Models are not there. Gives the project and what make printed.
    """
    folder = copied()
    ANOTHER_FIGURE(folder)
    A_WORD(folder)
    shutil.rmtree(folder / "reports" / STUDY / "second")
    (folder / "reports" / STUDY / "first/4-evaluate.ipynb").unlink()
    (folder / "rc").write_text("figure.facecolor: red\n")
    own = {"MPLBACKEND": "Agg", "MATPLOTLIBRC": str(folder / "rc"), "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    return folder, make(folder, "report", "RUNS=first", **own)


def test_named_runs_are_made_and_no_others(named):
    _, told = named
    assert "second" not in told
    assert sorted(executed(told)) == ["6-compare", "7-protocol", "first/3-train", "first/4-evaluate"]


def test_the_caller_s_settings_change_no_page(built, named):
    before, after = (pictures(page) for page in both(built, named, "4-evaluate"))
    assert before == after
    assert len(before) > 4


def test_figures_are_drawn_again_from_kept_results(built, named):
    folder, told = named
    assert "training is" not in told
    assert not (folder / "artifacts" / STUDY / "first/model").exists()
    before, after = ((each / "reports" / STUDY / "first/training.json") for each in (built, folder))
    assert before.read_text() == after.read_text()
    differ = [old != new for old, new in zip(*map(outputs, both(built, named, "3-train")), strict=True)]
    assert differ.count(True) == 2, "the figure, and the provenance"


def test_words_change_without_execution(built, named):
    before, after = both(built, named, "5-explain")
    assert "**Whence? " in after.cells[1].source
    (answer,) = [new for old, new in zip(outputs(before), outputs(after), strict=True) if old != new]
    assert "Seen on 3 test images" in answer[0].data["text/markdown"]


def both(built, named, step: str) -> list[nbformat.NotebookNode]:
    """A page of the first run, before and after."""
    pages = [folder / "reports" / STUDY / f"first/{step}.ipynb" for folder in (built, named[0])]
    return [nbformat.read(page, as_version=4) for page in pages]


def outputs(notebook):
    return [cell.get("outputs") for cell in notebook.cells]


def pictures(notebook) -> list[str]:
    shown = [each.get("data", {}) for cell in notebook.cells for each in cell.get("outputs", [])]
    return [data["image/png"] for data in shown if "image/png" in data]


def test_a_clone_without_artifacts_makes_what_a_stale_page_needs(copy):
    shutil.rmtree(copy / "artifacts")
    page = copy / "reports" / STUDY / "second/4-regions.ipynb"
    page.unlink()
    told = make(copy, f"reports/{STUDY}/second/4-regions.ipynb")
    assert "needed" not in told, "what its network was asked is kept"
    assert executed(told)[-1] == "second/4-regions"
    for file in (page, page.with_name("regions.json")):
        file.unlink()
    told = make(copy, f"reports/{STUDY}/second/4-regions.ipynb")
    assert "2 trainings are needed" in told
    assert executed(told) == ["second/4-regions"]


def test_results_on_real_radiographs_are_not_trained_again_unasked(copy):
    """As a clone of the committed report is: models are not there."""
    study = SMALL.replace("source: phantom", "source: archive").replace("patients: 60, ", "")
    (copy / "params" / STUDY / "study.yaml").write_text(study)
    told = make(copy, "report", expect=2, PYTHONHASHSEED="1")  # without forks, which import all first
    (line,) = [line for line in told.splitlines() if line.startswith("xnn: ")]
    assert re.search(r"2 trainings are needed, about \d+ min by the last records: .* TRAIN=1", line)
    assert executed(told) == []


def test_only_what_was_current_in_the_last_commit_is_restamped(copy):
    """One page is stale when a variable of a deciding function gets another name; it stays so."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(copy)]
    page = copy / "reports" / STUDY / "second/4-evaluate.ipynb"
    page.write_text(page.read_text().replace('"code": "', '"code": "0'))
    (copy / ".gitignore").write_text("artifacts\n_site\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "made"]):
        subprocess.run([*git, *words], check=True)
    file = copy / "xnn/evaluation/predictions.py"
    file.write_text(re.sub(r"\bneeded\b", "columns", file.read_text()))
    before = make(copy, "status")
    assert f"{STUDY}/first/4-evaluate.ipynb: its code" in before
    subprocess.run(command("restamp"), cwd=copy, env=environment(copy), check=True)
    after = [line for line in make(copy, "status").splitlines() if ": its code" in line]
    assert [line.split(":")[0] for line in after] == [f"reports/{STUDY}/second/4-evaluate.ipynb"]
