"""A full disk, a folder that cannot be written to, a database in use, two makes at once: nothing is lost."""

import contextlib
import json
import shutil
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.project import PROJECT, SMALL, command, environment
from support.report import STUDY, executed, make
from xnn.report import steps

XNN = " ".join(command())
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
    for name in ("artifacts", "reports"):
        (tmp_path / name / STUDY).mkdir(parents=True)
    return tmp_path


def bash(folder, script: str, *before: str) -> subprocess.CompletedProcess:
    """Run a script in the project's folder."""
    words, here = [*before, "bash", "-c", script], environment(folder)
    return subprocess.run(words, cwd=folder, env=here, capture_output=True, text=True, timeout=1200)


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
        f"mount -t tmpfs -o size=96k none {place} && head -c 80000 /dev/zero > {place}/other\n"
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


def test_a_tracking_database_in_use_is_one_line_and_a_plain_rerun_logs(copy):
    bash(copy, f"{XNN} track {STUDY}")  # a copy is a moved project, whose runs are logged anew
    file = copy / "reports" / STUDY / "first/training.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "stopped": "otherwise"}))
    with in_use(copy / "artifacts/mlflow.db"):
        done = bash(copy, f"{XNN} track {STUDY}")
    (line,) = last_lines(done.stderr)
    assert done.returncode == 1
    assert "artifacts/mlflow.db" in line
    assert "in use" in line
    assert bash(copy, f"{XNN} track {STUDY}").stdout == "first: logged to MLflow (make mlflow)\n"


def test_two_makes_at_once_execute_every_step_once(copy):
    pages = [f"reports/{STUDY}/{step}.ipynb" for step in ("1-wrangle", "first/4-evaluate", "6-compare")]
    for page in pages:
        (copy / page).unlink()
    with ThreadPoolExecutor() as pool:  # the last page follows the others
        both = list(pool.map(lambda _: executed(make(copy, pages[-1])), range(2)))
    assert sorted(both[0] + both[1]) == ["1-wrangle", "6-compare", "first/4-evaluate"]
    assert all(steps.metadata(copy / page) for page in pages)
