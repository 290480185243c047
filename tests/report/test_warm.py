"""Forks of a process that has imported all: their pages, their ends, and that nothing is left of them."""

import os
import signal
import sys
import threading
import time

import nbformat
import psutil
import pytest

from support.project import ROOT, SMALL, command, environment, write_study
from xnn.report import warm

pytestmark = pytest.mark.skipif(not warm.forking, reason="forks are made on Linux without a GPU")
STUDY = "forked"


@pytest.fixture(scope="module")
def server():
    made = warm.Server(ROOT, environment(ROOT, PYTHONPATH=os.pathsep.join(sys.path)))
    yield made
    made.close()


def outputs(page):
    """What a page shows without its provenance, which has the time."""
    cells = nbformat.read(page, as_version=4).cells[:-1]
    return [output.get("data", output.get("text")) for cell in cells for output in cell.get("outputs", [])]


def test_a_fork_makes_the_page_of_a_new_process(server, tmp_path):
    write_study(STUDY, SMALL)
    page = ROOT / "reports" / STUDY / "1-wrangle.ipynb"
    assert server.run(tmp_path / "log", "xnn", "run", "1-wrangle", STUDY) == 0
    forked = outputs(page)
    page.unlink()
    own = environment(ROOT, PYTHONPATH=os.pathsep.join(sys.path))
    assert psutil.Popen(command("run", "1-wrangle", STUDY), env=own).wait() == 0
    assert forked == outputs(page)
    assert any("text/html" in data for data in forked if isinstance(data, dict))


def test_the_status_and_output_of_each_command_are_its_own(server, tmp_path):
    log = tmp_path / "log"
    assert server.run(log, "json.tool", "--nonsense") == 2
    assert "--nonsense" in log.read_text()
    assert server.run(log, "xnn", "run", "1-wrangle", "nowhere") == 1
    assert "xnn: no study 'nowhere'" in log.read_text().splitlines()[-1]


def test_a_command_that_is_killed_is_told_from_one_that_fails(server, tmp_path):
    def kill():
        process = psutil.Process(server.process.pid)
        while not (children := process.children()):
            time.sleep(0.05)
        children[0].send_signal(signal.SIGKILL)

    threading.Thread(target=kill).start()
    assert server.run(tmp_path / "log", "http.server", "0") == -signal.SIGKILL


def test_a_command_ends_with_its_server(server, tmp_path):
    threading.Thread(target=server.run, args=(tmp_path / "log", "http.server", "0")).start()
    process = psutil.Process(server.process.pid)
    while not (children := process.children(recursive=True)):
        time.sleep(0.05)
    process.kill()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


def test_only_processes_that_began_like_kernels_make_forks(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    for name in ("PYTHONWARNINGS", "PYTHONOPTIMIZE"):
        monkeypatch.delenv(name, raising=False)
    assert warm.possible()
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    assert not warm.possible()
    monkeypatch.delenv("PYTHONWARNINGS")
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    assert not warm.possible()
