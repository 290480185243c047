"""Start the API and the page on this machine alone, and stop both together.

    python -m xnn.app

The page is on port 8501, the API on 8000 (XNN_UI_PORT, XNN_PORT); Ctrl-C stops both. `python -m xnn.app page`
is the page alone, for an API elsewhere (XNN_API).
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import requests

READY_SECONDS = 120  # for the model to load, from the hub if need be
STOP_SECONDS = 10  # until one that does not stop is killed
PR_SET_PDEATHSIG = 1
# of glibc: threads share one pool of memory, so that what one has given back another one takes
ALLOCATION = {"MALLOC_ARENA_MAX": "1"}
PAGE = {
    "server.address": os.environ.get("XNN_UI_HOST", "127.0.0.1"),
    "server.port": os.environ.get("XNN_UI_PORT", "8501"),
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": "10",
    "browser.gatherUsageStats": "false",  # nothing is told to anyone
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
}


def page_command() -> list[str]:
    """The command that serves the page."""
    options = [f"--{name}={value}" for name, value in PAGE.items()]
    return [sys.executable, "-m", "streamlit", "run", str(Path(__file__).with_name("page.py")), *options]


def main() -> int:
    """Run both until one ends or a signal comes; the status of the one that failed."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _interrupt)
    port = os.environ.get("XNN_PORT") or "8000"
    environment = {**ALLOCATION, **os.environ, "XNN_API": f"http://127.0.0.1:{port}"}
    running = []
    try:
        running.append(_start([sys.executable, "-m", "xnn.app.api"], environment))
        if not _ready(running[0], port):
            return running[0].poll() or 1
        running.append(_start(page_command(), environment))
        print(
            f"xnn: page http://127.0.0.1:{PAGE['server.port']}  API http://127.0.0.1:{port}  (Ctrl-C stops)"
        )
        sys.stdout.flush()
        while all(each.poll() is None for each in running):
            time.sleep(0.2)
        return max(each.poll() or 0 for each in running)
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(running)


def _start(command, environment):
    # of a group of its own: Ctrl-C reaches this process alone, which then stops them in order
    return subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=_die_with_parent)


def _die_with_parent():
    """On Linux: be stopped where this process is killed and cannot stop anyone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _ready(api, port):
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and api.poll() is None:
        try:
            return requests.get(f"http://127.0.0.1:{port}/health", timeout=2).ok
        except requests.RequestException:
            time.sleep(0.2)
    return False


def _stop(running):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave one behind
    for each in running:
        each.terminate()
    until = time.monotonic() + STOP_SECONDS
    for each in running:
        try:
            each.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            each.kill()


def _interrupt(*_):
    raise KeyboardInterrupt


if __name__ == "__main__":
    if sys.argv[1:] == ["page"]:
        os.execv(sys.executable, page_command())
    sys.exit(main())
