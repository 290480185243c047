"""The commands of the page on reproduction: papermill alone, with the files of runs."""

import json
import shlex

import pytest
from click.testing import CliRunner
from papermill.cli import papermill as program

from support.project import PROJECT, environment
from support.report import STUDY

LINES = (PROJECT / "pages/reproduce.qmd").read_text().splitlines()
ONE, *SWEEP = [line for line in LINES if line.startswith("papermill ")]


@pytest.fixture
def papermill(copy, monkeypatch, caplog):
    """Run a command of the page, on this study; return all that it printed or logged, and its error.

    The program is called in this process, which need not import it every time; its kernels are new ones.
    """
    monkeypatch.chdir(copy)

    def run(command, expect=0) -> str:
        _, *words = shlex.split(command.replace("params/phantom/resnet18", f"params/{STUDY}/first"))
        done = CliRunner().invoke(program, words, env=environment(copy, JUPYTER_PLATFORM_DIRS="1"))
        assert done.exit_code == expect, done.output
        return f"{done.output}{caplog.text}{done.exception}"

    return run


def test_papermill_takes_the_parameter_files(copy, papermill):
    reports = copy / "reports" / STUDY
    result, training = (reports / "first" / name for name in ("metrics.json", "training.json"))
    before, trained = json.loads(result.read_text()), training.read_text()
    result.unlink()
    assert "unknown parameter" not in papermill(ONE)
    after = json.loads(result.read_text())
    assert {**after, "provenance": 0} == {**before, "provenance": 0}
    for command in SWEEP:
        papermill(command)
    fast = json.loads((reports / "resnet18-fast/training.json").read_text())
    assert len(fast["history"]) == 2
    assert fast["inputs"]["parameters"]["run"]["training.learning_rate"] == 0.003
    assert (reports / "resnet18-fast/metrics.json").exists()
    assert training.read_text() == trained

    other = SWEEP[1].replace("epochs: 2", "epochs: 3")
    assert "was trained otherwise (training.epochs was 2, is 3)" in papermill(other, expect=1)


def test_papermill_is_refused_what_would_overwrite_a_run_or_mean_nothing(papermill):
    under_its_name = SWEEP[1].replace("-p run resnet18-fast", "")
    assert "give the run a name of its own" in papermill(under_its_name, expect=1)
    mistyped = ONE + ' -y "{trainin: {epochs: 1}}"'
    assert "did you mean 'training'" in papermill(mistyped, expect=1)
