"""A small study in a project folder of its own, whose report the real make makes."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.project import PROJECT, SMALL, TINY, command, environment
from xnn.report import warm

STUDY = "tiny"
STEPS_OF_A_RUN = ("3-train", "4-evaluate", "4-regions", "5-explain")


def recipe(run: str, start: str) -> str:
    """The file of a run that is quick and still has every figure and measure."""
    return f"""study: {STUDY}
run: {run}
model: {{{start}, {TINY}}}
training: {{epochs: 1, batch_size: 16, learning_rate: 3e-3, early_stopping: 0}}
evaluation: {{resamples: 200}}
explanation: {{images: 1, measured: 3, max_gradients: 65}}
"""


RUNS = {
    "first": recipe("first", "weights: none"),
    "second": recipe("second", "start_from: first, train: head"),
}
OF_RUNS = {f"{run}/{step}" for run in RUNS for step in STEPS_OF_A_RUN}
PAGES = {"1-wrangle", "2-explore", "6-compare", "7-protocol", *OF_RUNS}
BIN = f"BIN={Path(sys.executable).parent}"  # nothing is installed into it from here
NOWHERE = "mongodb://%2Fnowhere.sock"  # no database answers there


def write_project(folder: Path) -> None:
    """Write a copy of the project with one small study, as a clone would have it."""
    for name in ("xnn", "notebooks", "pages"):
        shutil.copytree(PROJECT / name, folder / name)
    for name in (
        "Makefile",
        "requirements.lock",
        "pyproject.toml",
        "_quarto.yml",
        "index.qmd",
        "CITATION.cff",
    ):
        shutil.copy2(PROJECT / name, folder)
    (folder / "reports/kermany").mkdir(parents=True)
    (folder / "reports/kermany/_results.md").write_text("| none |\n|---|\n")
    (folder / "reports/kermany/_findings.md").write_text("- none\n")
    (folder / "reports/kermany/_data.md").write_text("none\n")
    (folder / "params" / STUDY).mkdir(parents=True)
    (folder / "params" / STUDY / "study.yaml").write_text(SMALL)
    for run, text in RUNS.items():
        (folder / "params" / STUDY / f"{run}.yaml").write_text(text)


def goals(*names: str) -> list[str]:
    """The words of a make with some goals."""
    return ["make", BIN, f"STUDY={STUDY}", *names]


def settings(folder: Path, **more: str) -> dict[str, str]:
    """The environment of make in a folder: without a database for FiftyOne, to be quicker."""
    return environment(folder, **{"FIFTYONE_DATABASE_URI": NOWHERE, **more})


def make(folder: Path, *names: str, expect: int = 0, **more: str) -> str:
    """Run make; return all that it printed."""
    result = subprocess.run(
        goals(*names), cwd=folder, env=settings(folder, **more), capture_output=True, text=True, timeout=1800
    )
    output = result.stdout + result.stderr
    assert result.returncode == expect, output
    return output


@contextlib.contextmanager
def running(folder: Path):
    """Function that runs `xnn ARGUMENTS...`; where they can be, commands are forks that need not import."""
    here = environment(folder, PYTHONPATH=os.pathsep.join(sys.path))
    if not warm.forking:
        yield lambda *words: subprocess.run(command(*words), cwd=folder, env=here, check=True)
        return
    server, log = warm.Server(folder, here), folder / "commands.log"

    def run(*words: str) -> None:
        assert server.run(log, "xnn", *words) == 0, log.read_text()

    try:
        yield run
    finally:
        server.close()


def executed(output: str) -> list[str]:
    """The steps that make executed, as <run>/<step> or <step>, in order."""
    lines = [line.removesuffix(" ...") for line in output.splitlines() if line.endswith(".ipynb ...")]
    return [line.removeprefix(f"reports/{STUDY}/").removesuffix(".ipynb") for line in lines]


def stale(status: str) -> set[str]:
    """The steps that `make status` calls stale, without those that only follow them."""
    lines = [line for line in status.splitlines() if ".ipynb: " in line and "only if" not in line]
    return {line.split(".ipynb: ")[0].removeprefix(f"reports/{STUDY}/") for line in lines}
