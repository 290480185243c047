"""Start the API and the page on this machine; Ctrl-C stops both.

`python -m xnn.app` has the page on port 8501 (XNN_UI_PORT) and the API on port 8000 (XNN_PORT);
`python -m xnn.app page` is the page alone, for an API elsewhere (XNN_API).
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import requests

from ..config import leash
from .settings import Settings, SettingsError, listen, load

STOP_SECONDS = 10  # to wait for a process to stop
ALLOCATION = {"MALLOC_ARENA_MAX": "1"}  # glibc: one pool for all threads, so that freed memory is reused
PAGE = ["--server.headless=true", "--server.fileWatcherType=none", "--browser.gatherUsageStats=false"]
PAGE += ["--client.toolbarMode=minimal", "--client.showErrorDetails=none"]


def page_command(settings: Settings) -> list[str]:
    """Return the module that serves the page, and its arguments."""
    listen(settings.ui_host, settings.ui_port, "XNN_UI_").close()  # Streamlit's message names no variable
    address = [f"--server.address={settings.ui_host}", f"--server.port={settings.ui_port}"]
    limit = f"--server.maxUploadSize={max(1, settings.max_bytes >> 20)}"
    return ["streamlit", "run", str(Path(__file__).with_name("page.py")), *PAGE, *address, limit]


def run(settings: Settings) -> int:
    """Run both until one ends or a signal comes, and return the status of the one that failed."""
    listen(settings.host, settings.port, "XNN_").close()  # before another API on this port passes for ours
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)  # raises KeyboardInterrupt
    api, page, running = f"http://127.0.0.1:{settings.port}", page_command(settings), []
    # sessions of their own: Ctrl-C reaches this process alone, which then stops them in order
    options = {"env": {**ALLOCATION, **os.environ, "XNN_API": api}, "start_new_session": True}
    try:
        running.append(leash.start("xnn.app.api", **options))
        if _ready(running[0], api, settings.ready_seconds):
            running.append(leash.start(*page, **options))
            print(f"xnn: page http://127.0.0.1:{settings.ui_port}  API {api}  (Ctrl-C stops)", flush=True)
        while all(each.poll() is None for each in running):
            time.sleep(0.2)
        return max(each.poll() or 0 for each in running)
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave one of them behind
        for each in running:
            each.terminate()
        for each in running:
            with contextlib.suppress(subprocess.TimeoutExpired):  # its leash ends it then
                each.wait(STOP_SECONDS)


def _ready(process: subprocess.Popen, api: str, seconds: float) -> bool:
    """Return whether an API answers before its process ends; raise SettingsError if it takes too long."""
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise SettingsError(f"no model was loaded within {seconds:g} seconds; raise XNN_READY_SECONDS")
        try:
            requests.get(f"{api}/health", timeout=2)
            return True
        except requests.RequestException:
            time.sleep(0.2)
    return False


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["page"]:
            os.execv(sys.executable, [sys.executable, "-m", *page_command(load())])
        sys.exit(run(load()))
    except SettingsError as error:
        sys.exit(f"xnn: {error}")
