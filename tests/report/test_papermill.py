"""The commands of the page on reproduction: papermill alone, with the files of runs."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

from support.project import PROJECT, environment
from support.report import STUDY

LINES = (PROJECT / "pages/reproduce.qmd").read_text().splitlines()
ONE, *SWEEP = [line for line in LINES if line.startswith("papermill ")]


def papermill(folder, command, expect=0) -> str:
    """Run a command of the page, on this study; return all that it printed."""
    words = shlex.split(command.replace("params/phantom/resnet18", f"params/{STUDY}/first"))
    words[0] = str(Path(sys.executable).with_name("papermill"))
    here = environment(folder, JUPYTER_PLATFORM_DIRS="1")
    done = subprocess.run(words, cwd=folder, env=here, capture_output=True, text=True)
    assert done.returncode == expect, done.stderr
    return done.stdout + done.stderr


def test_papermill_takes_the_parameter_files(copy):
    reports = copy / "reports" / STUDY
    result, training = (reports / "first" / name for name in ("metrics.json", "training.json"))
    before, trained = json.loads(result.read_text()), training.read_text()
    result.unlink()
    assert "unknown parameter" not in papermill(copy, ONE)
    after = json.loads(result.read_text())
    assert {**after, "provenance": 0} == {**before, "provenance": 0}
    for command in SWEEP:
        papermill(copy, command)
    fast = json.loads((reports / "resnet18-fast/training.json").read_text())
    assert len(fast["history"]) == 2
    assert fast["inputs"]["parameters"]["run"]["training.learning_rate"] == 0.003
    assert (reports / "resnet18-fast/metrics.json").exists()
    assert training.read_text() == trained

    other = SWEEP[1].replace("epochs: 2", "epochs: 3")
    assert "was trained otherwise (training.epochs was 2, is 3)" in papermill(copy, other, expect=1)


def test_papermill_is_refused_what_would_overwrite_a_run_or_mean_nothing(copy):
    under_its_name = SWEEP[1].replace("-p run resnet18-fast", "")
    assert "give the run a name of its own" in papermill(copy, under_its_name, expect=1)
    mistyped = ONE + ' -y "{trainin: {epochs: 1}}"'
    assert "did you mean 'training'" in papermill(copy, mistyped, expect=1)
