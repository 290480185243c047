"""What a sweep of many short trainings costs besides them: busy cores, seconds a run, memory.

    python benchmarks/sweep.py > benchmarks/sweep.md

`xnn sweep` makes 48 runs of a small phantom study on two workers, in a project folder of its own. Cores are
busy from when the workers are there until the last run has ended, by the kernel's own account of the whole
machine, so nothing else should run on it. A run's work is what the cells of its two notebooks take; its
overhead is the rest of the time of its worker. Memory is that of all processes of the sweep, in which a page
that forks share counts once (PSS), every ten seconds: looking takes time of the same cores.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from xnn.config import provenance
from xnn.evaluation import comparison

PROJECT = Path(__file__).resolve().parents[1]
WORKERS = 2
POINTS = {
    "seed": list(range(8)),
    "training.learning_rate": [1e-3, 3e-3, 1e-2],
    "training.weight_decay": [0.0, 0.2],
}
FILES = {
    "many/study": "{title: many runs, source: phantom, image_size: 64, patients: 120}",
    "many/small": "model: {backbone: convnextv2, weights: none, image_size: 64, "
    "config: {depths: [1, 1, 3, 1], hidden_sizes: [32, 64, 128, 256]}}\n"
    "training: {epochs: 2, batch_size: 16, schedule: one_cycle, early_stopping: 0}\n",
    "sweeps/many": f"{{title: many runs, study: many, base: small, grid: {json.dumps(POINTS)}}}",
}


class Watch(threading.Thread):
    """Memory of a process and all that it has started, in bytes, with the time of each look."""

    def __init__(self, process: psutil.Process):
        super().__init__(daemon=True)
        self.process, self.seen = process, []

    def run(self):
        while self.process.is_running():
            self.seen.append((time.time(), sum(map(_memory, _tree(self.process)))))
            time.sleep(10)

    def most(self, begin: float, end: float) -> float:
        """Return the highest memory between two times, in MB."""
        return max(held for at, held in self.seen if begin <= at <= end) / 2**20


def _tree(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _memory(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss
    except psutil.Error:  # it has ended
        return 0


def make(folder: Path) -> tuple[list[tuple[float, float]], Watch]:
    """Make the sweep; return (time, idle CPU seconds) at its start and as each run ends, and its memory."""
    for name, text in FILES.items():
        file = folder / "params" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / "notebooks").symlink_to(PROJECT / "notebooks")
    here = {**os.environ, "XNN_ROOT": str(folder), "JOBS": str(WORKERS), "PYTHONPATH": str(PROJECT)}
    here |= {"OMP_NUM_THREADS": str(max(1, os.cpu_count() // WORKERS)), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "xnn", "sweep", "many"]
    process = subprocess.Popen(command, env=here, stdout=subprocess.PIPE, text=True)
    watch, marks = Watch(psutil.Process(process.pid)), []
    watch.start()
    for line in process.stdout:
        print(line, end="", file=sys.stderr)
        if line.startswith(("dashboard", "[")):
            times = psutil.cpu_times()
            marks.append((time.time(), times.idle + times.iowait))
    if process.wait():
        sys.exit("the sweep failed")
    return marks, watch


def work(folder: Path) -> list[float]:
    """Return the seconds that the cells of each run's notebooks took."""
    found = []
    for run in sorted((folder / "reports/many/sweeps/many").glob("*/")):
        pages = [json.loads(page.read_text()) for page in run.glob("*.ipynb")]
        cells = [cell["metadata"].get("papermill", {}) for page in pages for cell in page["cells"]]
        found.append(sum(cell.get("duration") or 0 for cell in cells))
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="xnn-sweep-") as name:
        marks, watch = make(Path(name))
        cells = work(Path(name))
    (begin, idle), (end, idle_at_end) = marks[0], marks[-1]
    busy = 1 - (idle_at_end - idle) / (os.cpu_count() * (end - begin))
    count = len(cells)
    overhead = (WORKERS * (end - begin) - sum(cells)) / count
    first, last = (watch.most(marks[a][0], marks[b][0]) for a, b in ((0, count // 4), (-count // 4, -1)))
    print("# What does a sweep cost besides its trainings?\n")
    print(
        f"A sweep of {count} runs on {WORKERS} workers keeps {os.cpu_count()} cores {busy:.0%} busy and "
        f"adds {overhead:.1f} s to the {np.mean(cells):.1f} s of a run; its memory is {last / first:.2f} "
        "times as large at the end as at the beginning.\n"
    )
    print("Output of `python benchmarks/sweep.py`, which describes the method.\n")
    print(f"{provenance.device()}, {os.cpu_count()} cores, {date.today()}.\n")
    rows = {
        "runs": f"{count}",
        "from the first worker to the last run, s": f"{end - begin:.0f}",
        "cores busy": f"{busy:.1%}",
        "work of a run, s": f"{np.mean(cells):.1f} ({min(cells):.1f} to {max(cells):.1f})",
        "overhead of a run, s": f"{overhead:.1f}",
        "highest memory, first quarter of the runs, MB": f"{first:.0f}",
        "highest memory, last quarter of the runs, MB": f"{last:.0f}",
    }
    print(comparison.markdown(pd.DataFrame(rows.items(), columns=["what", "value"])), end="")


if __name__ == "__main__":
    main()
