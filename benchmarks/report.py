"""Time and memory of each step of the phantom report.

Steps are executed one at a time, starting from an empty folder; `make report` runs two at once. The printed
table is committed, so that its history shows how the cost changes.

    python benchmarks/report.py
"""

import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from xnn.report import steps

PROJECT = Path(__file__).resolve().parents[1]
STUDY = "phantom"


def arguments_of_steps() -> list[tuple[str, ...]]:
    """Return the arguments of every step of the study, in order."""
    return [(task.step, *task.names.values()) for task in steps.report(STUDY) if task.subject]


def measure(arguments: tuple[str, ...], folder: Path) -> tuple[float, float]:
    """Return the seconds of a step and the peak memory (MB) of its largest process."""
    began = time.time()
    here = {**os.environ, "XNN_ROOT": str(folder)}
    command = [sys.executable, "-m", "xnn", "run", *arguments]
    process = subprocess.Popen(command, env=here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(arguments)} failed")
    return time.time() - began, usage.ru_maxrss / 1024


def answer(seconds: float, megabytes: float) -> str:
    return (
        f"The report of the phantom study takes {seconds / 60:.0f} minutes, one step at a time, and "
        f"{megabytes / 1024:.1f} GB of memory at most."
    )


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="xnn-report-") as name:
        for part in ("params", "notebooks"):
            (Path(name) / part).symlink_to(PROJECT / part)
        rows = [(arguments, *measure(arguments, Path(name))) for arguments in arguments_of_steps()]
    total, most = sum(row[1] for row in rows), max(row[2] for row in rows)
    print(f"# What does the report cost?\n\n{answer(total, most)}\n")
    print("Output of `python benchmarks/report.py`, which describes the method.\n")
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    print(f"{os.cpu_count()} cores, {threads} threads a step, {date.today()}.\n")
    print("| step | seconds | peak memory, MB |\n|---|---|---|")
    for arguments, seconds, memory in rows:
        print(f"| {' '.join(arguments)} | {seconds:.0f} | {memory:.0f} |")
    print(f"| all, one after the other | {total:.0f} | {most:.0f} |")


if __name__ == "__main__":
    main()
