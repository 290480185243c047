"""A process on a leash ends with its parent, also with one that is killed."""

import contextlib
import signal
import subprocess
import sys
import time

import psutil
import pytest

from xnn.config import leash

PARENT = """
import sys
from xnn.config import leash
child = leash.start("{module}")
print(child.pid, flush=True)
child.wait()
"""


def gone(pid, seconds=60) -> bool:
    """Whether a process has ended, or ends within some seconds."""
    deadline = time.time() + seconds
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            if time.time() > deadline:
                return False
            time.sleep(0.05)
    return True


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that would run for an hour."""
    (tmp_path / "endless.py").write_text("import time\ntime.sleep(3600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    return "endless"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_parent(module, end):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(module=module)], stdout=subprocess.PIPE, text=True
    )
    child = int(parent.stdout.readline())
    assert not gone(child, 0.5)
    parent.send_signal(end)
    parent.wait()
    assert gone(child)


def test_a_module_has_its_arguments_and_its_status():
    process = leash.start("json.tool", "--nonsense", stderr=subprocess.PIPE, text=True)
    with process:
        assert "--nonsense" in process.stderr.read()
        assert process.wait() == 2
