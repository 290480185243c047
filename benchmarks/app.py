"""Latency, throughput and memory of the app's API, under load and under hostile files.

    python benchmarks/app.py [--seconds 60] [--files 2000] [--before OLD.md] > benchmarks/app.md

The API serves the bundled model in its own process, pinned to two cores (taskset), to clients on this
machine. Each client sends the page's examples without a pause on its own connection: one client measures
latency; 8 and 32 show the API under overload. Seconds run from sending a request to receiving the whole
answer; processor seconds are the CPU time of the API's process. MB is resident memory, and its peak is over
the whole benchmark so far. A client that is refused waits for the seconds in Retry-After and sends again,
even after the last second of the row. A request is lost if it gets no answer or an unexpected status. The
hostile files are those of tests/support/hostile.py.
"""

import argparse
import collections
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support import hostile
from xnn.app.__main__ import ALLOCATION
from xnn.app.settings import Settings
from xnn.config import provenance
from xnn.data import examples
from xnn.evaluation import comparison

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES, SOURCE = examples.examples("kermany")
PORT, CORES, CLIENTS = 8321, 2, (1, 8, 32)
URL = f"http://127.0.0.1:{PORT}"
REFUSED = (400, 408, 413, 415, 422, 503)
PAUSE = 1.0  # seconds before a client retries after a refusal that names none


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of each row of the first table")
    parser.add_argument("--files", type=int, default=2000, help="hostile files")
    parser.add_argument(
        "--before", type=Path, help="an earlier result, whose table is shown below the new one"
    )
    options = parser.parse_args()
    before = options.before.read_text() if options.before else ""
    about, server = heading(), started()
    try:
        watched = psutil.Process(server.pid)
        rows = [
            row(watched, clients, explain, options.seconds)
            for explain in (True, False)
            for clients in CLIENTS
        ]
        files = corpus(watched, options.files)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    table = pd.DataFrame(rows)
    print("\n".join(["# What the app costs\n", answer(table), about, comparison.markdown(table)]))
    if before:
        old = [line for line in before.splitlines() if line.startswith("|")]
        model = [line for line in before.splitlines() if line.startswith("Model ")]
        print("", "## Before the change", "", *model, "", *old, "", sep="\n")
    print(files)
    print(f"\nLoad average at the end {os.getloadavg()[0]:.1f}.")


def answer(table: pd.DataFrame) -> str:
    alone = table[table.clients == 1].set_index("explained")["p50 s"]
    return (
        f"A single client waits {alone['no']:.1f} s for a prediction and {alone['yes']:.1f} s for one with "
        f"its explanation (medians); {table.lost.sum()} requests of up to {table.clients.max()} clients were "
        "lost."
    )


def heading() -> str:
    return (
        f"\nOutput of `python benchmarks/app.py {' '.join(sys.argv[1:])}`; the method is described at the "
        "top of that file.\n\n"
        f"Model `{Settings().model}`.\n\n"
        f"{provenance.device()}, the API on {CORES} of {os.cpu_count()} cores, which its clients share; load "
        f"average {os.getloadavg()[0]:.1f} at the start. {SOURCE}\n"
    )


def started() -> subprocess.Popen:
    """Return the process of a ready API, pinned to the first cores."""
    cores = ",".join(str(core) for core in range(CORES))
    environment = {**ALLOCATION, **os.environ, "XNN_PORT": str(PORT), "OMP_NUM_THREADS": str(CORES)}
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
        environment.pop(name, None)
    command = ["taskset", "-c", cores, sys.executable, "-m", "xnn.app.api"]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 180
    while time.monotonic() < until and server.poll() is None:
        try:
            requests.get(f"{URL}/ready", timeout=2)
            return server
        except requests.RequestException:
            time.sleep(0.5)
    raise SystemExit("the API did not start")


# ---- load ----------------------------------------------------------------------------------------


def row(watched, clients: int, explain: bool, seconds: float) -> dict:
    """Return the table's row for `clients` clients during `seconds`."""
    found, began, used = [], time.monotonic(), sum(watched.cpu_times()[:2])
    until = began + seconds
    threads = [
        threading.Thread(target=ask, args=(number, explain, until, found)) for number in range(clients)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    took, used = time.monotonic() - began, sum(watched.cpu_times()[:2]) - used
    done = [taken for status, taken, _ in found if status == 200]
    counts = collections.Counter(status for status, *_ in found)
    again = [status == 200 for status, _, waited in found if waited]
    return {
        "explained": "yes" if explain else "no",
        "clients": clients,
        "answers": len(done),
        "p50 s": round(float(np.percentile(done, 50)), 2),
        "p95 s": round(float(np.percentile(done, 95)), 2),
        "answers/s": round(len(done) / took, 2),
        "processor s an answer": round(used / len(done), 2),
        "503": counts[503],
        "sent again, answered": f"{sum(again)} of {len(again)}",
        "lost": sum(count for status, count in counts.items() if status not in (200, *REFUSED)),
        **memory(watched),
    }


def ask(number: int, explain: bool, until: float, found: list) -> None:
    """Send requests until `until`; append status (0: none), seconds, and whether it was sent again."""
    session, files, turn, waited = requests.Session(), list(EXAMPLES.values()), number, False
    while waited or time.monotonic() < until:
        began = time.monotonic()
        try:
            given = {"file": ("x.png", files[turn % len(files)])}
            answer = session.post(
                f"{URL}/predict", files=given, params={"explain": str(explain).lower()}, timeout=90
            )
            status = answer.status_code
        except requests.RequestException:
            status = 0
        found.append((status, time.monotonic() - began, waited))
        turn, waited = turn + 1, status == 503
        if status != 200:
            time.sleep(float(answer.headers.get("retry-after", PAUSE)) if status else PAUSE)


def memory(watched) -> dict:
    """Return the resident memory of the API's process and its peak, in MB."""
    status = Path(f"/proc/{watched.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return {"MB": watched.memory_info().rss // 2**20, "peak MB": peak // 1024}


# ---- hostile files -------------------------------------------------------------------------------


def corpus(watched, count: int) -> str:
    """Return a paragraph on the statuses of hostile files and the memory while they are sent."""
    statuses, points, kinds = collections.Counter(), [memory(watched)["MB"]], set()
    for number, (kind, data) in enumerate(hostile.corpus(count), 1):
        given = {"file": ("x.png", data)}
        try:
            answer = requests.post(f"{URL}/predict", files=given, params={"explain": "false"}, timeout=90)
            statuses[answer.status_code] += 1
        except requests.RequestException:
            statuses[0] += 1
        kinds.add(kind)
        if number % max(1, count // 5) == 0:
            points.append(memory(watched)["MB"])
    said = ", ".join(f"{status}: {number}" for status, number in sorted(statuses.items()))
    lost = sum(number for status, number in statuses.items() if status not in (200, *REFUSED))
    return (
        f"## Hostile files\n\n{count} files of {len(kinds)} kinds, one after the other. Statuses {said}; "
        f"{lost} lost or failed. Resident memory before, and after each fifth: "
        f"{', '.join(map(str, points))} MB; peak {memory(watched)['peak MB']} MB."
    )


if __name__ == "__main__":
    main()
