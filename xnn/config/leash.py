"""Child processes that cannot outlive their parent.

``python -m xnn.config.leash MODULE ARGUMENTS...`` runs a module and ends when its standard input does: a pipe
whose other end the parent holds. That works on every system, and for a parent that was killed.
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time

GRACE = 20  # seconds for the module to clean up


def start(module: str, *arguments: str, **options) -> subprocess.Popen:
    """Start ``python -m MODULE ARGUMENTS...`` in a child that ends with this process; options are Popen's."""
    command = [sys.executable, "-m", "xnn.config.leash", module, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, **options)


def _watch() -> None:
    while os.read(0, 1):  # not sys.stdin: its lock would be held at exit
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_watch, daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
