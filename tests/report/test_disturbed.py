"""A full disk, a folder that cannot be written to, a database in use, two makes at once: nothing is lost."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.project import PROJECT, QUICK, SMALL
from xnn.report import steps

STUDY = "disturbed"
RUN = f"model: {{weights: none}}\ntraining: {QUICK}}}\n"
XNN = f"{sys.executable} -m xnn"
# a mount of its own needs a name space of its own, and not every machine gives one
ALONE = ("unshare", "--map-root-user", "--mount")
MOUNTED = (
    shutil.which("unshare")
    and not subprocess.run([*ALONE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode
)
needs_mounts = pytest.mark.skipif(not MOUNTED, reason="this machine lets no test mount a file system")


@pytest.fixture
def folder(tmp_path):
    """A project with one small study, of which nothing has been made."""
    for name in ("xnn", "notebooks"):
        (tmp_path / name).symlink_to(PROJECT / name)
    (tmp_path / "params" / STUDY).mkdir(parents=True)
    (tmp_path / "params" / STUDY / "study.yaml").write_text(SMALL)
    (tmp_path / "params" / STUDY / "first.yaml").write_text(RUN)
    for name in ("artifacts", "reports"):
        (tmp_path / name / STUDY).mkdir(parents=True)
    return tmp_path


def bash(folder, script: str, *before: str) -> subprocess.CompletedProcess:
    """Run a script in the project's folder."""
    command, here = [*before, "bash", "-c", script], {**os.environ, "XNN_ROOT": str(folder)}
    return subprocess.run(command, cwd=folder, env=here, capture_output=True, text=True, timeout=1200)


def last_lines(text: str) -> list[str]:
    """What xnn itself told, a line an error."""
    return [line for line in text.splitlines() if line.startswith("xnn: ")]


@needs_mounts
@pytest.mark.parametrize("full", ["artifacts", "reports"])
def test_a_full_disk_is_one_line_and_a_plain_rerun_does(folder, full):
    """The images do not fit into 96 KB, nor does the page; then there is room."""
    place = f"{full}/{STUDY}"
    done = bash(
        folder,
        f"mount -t tmpfs -o size=96k none {place} && head -c 60000 /dev/zero > {place}/other\n"
        f"{XNN} run 1-wrangle {STUDY}; echo status $?\n"
        f"ls {place}; mount -o remount,size=100m {place}; rm {place}/other\n"
        f"{XNN} run 1-wrangle {STUDY} >&2; echo status $?\n"
        f"ls reports/{STUDY} artifacts/{STUDY}; cat reports/{STUDY}/1-wrangle.ipynb > page.ipynb",
        *ALONE,
    )
    left, made = done.stdout.split("status 1\n")[1].split("status 0\n")
    (line,) = last_lines(done.stderr)
    assert "No space left on device" in line
    assert "records.csv" not in left
    assert "1-wrangle.ipynb" not in left
    assert {"1-wrangle.ipynb", "records.csv", "images.npy"} <= set(made.split())
    assert steps.metadata(folder / "page.ipynb")


@needs_mounts
@pytest.mark.parametrize("closed", ["artifacts", "reports"])
def test_a_folder_that_cannot_be_written_to_is_one_line(folder, closed):
    done = bash(
        folder,
        f"mount -t tmpfs none {closed} && mkdir {closed}/{STUDY} && mount -o remount,ro {closed}\n"
        f"{XNN} run 1-wrangle {STUDY}; echo status $?; ls {closed}/{STUDY}",
        *ALONE,
    )
    (line,) = last_lines(done.stderr)
    assert "ead-only file system" in line
    assert done.stdout.split("status 1\n")[1] == ""


@contextlib.contextmanager
def in_use(database):
    """Hold a database as another program does that writes to it."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.close()


def test_a_tracking_database_in_use_is_one_line_and_a_plain_rerun_logs(folder):
    record = {
        **dict.fromkeys(("weights", "regime", "stopped", "precision"), "some"),
        **dict.fromkeys(("best_epoch", "images_per_second"), 1),
        "parameters": {},
        "provenance": {"started": "2026-01-01T00:00:00+00:00", "seconds": 1.0},
        "history": [{"epoch": 1, "seconds": 1.0, "val_f1": 0.5}],
    }
    assert bash(folder, f"{XNN} track {STUDY}").returncode == 0  # the first user makes the tables
    (folder / f"reports/{STUDY}/first").mkdir()
    (folder / f"reports/{STUDY}/first/training.json").write_text(json.dumps(record))
    with in_use(folder / "artifacts/mlflow.db"):
        done = bash(folder, f"{XNN} track {STUDY}")
    (line,) = last_lines(done.stderr)
    assert done.returncode == 1
    assert "artifacts/mlflow.db" in line
    assert "in use" in line
    assert "first: logged" in bash(folder, f"{XNN} track {STUDY}").stdout


def test_two_makes_at_once_execute_every_step_once(folder):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy2(PROJECT / name, folder)
    pages = [f"reports/{STUDY}/first/{step}.ipynb" for step in ("3-train", "4-evaluate")]
    # the tests' own environment, as it is: a lock file newer than it does not install anything into it
    goals = f"make BIN={Path(sys.executable).parent} STUDY={STUDY} {' '.join(pages)}"
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda _: bash(folder, goals), range(2)))
    assert [done.returncode for done in both] == [0, 0], both[0].stderr + both[1].stderr
    told = [line for done in both for line in done.stdout.splitlines() if line.endswith(".ipynb ...")]
    assert len(told) == len(set(told)) == 3  # and 1-wrangle
    assert all(steps.metadata(folder / page) for page in pages)
