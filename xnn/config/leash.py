"""Runs a module in a process that ends with the process that started it, however that one ends.

``python -m xnn.config.leash MODULE ARGUMENTS...`` is told of the end by its standard input, a pipe whose
other end its parent holds: that works on every system, and for a parent that was killed. ``start`` starts
one.
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time

GRACE = 20  # seconds to clear up


def start(module: str, *arguments: str, **options) -> subprocess.Popen:
    """``python -m MODULE ARGUMENTS...`` on a leash; options are Popen's."""
    command = [sys.executable, "-m", "xnn.config.leash", module, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, **options)


def _watch() -> None:
    while os.read(0, 1):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_watch, daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
