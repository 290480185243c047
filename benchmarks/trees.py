"""Two commits side by side on one machine: the report, the tests, an explanation and a training.

Each commit is cloned, and gets the packages of its own lock. Every command runs alone, once before and once
after. Seconds are those of the whole command, CPU seconds those of all its processes, memory that of its
largest process. The kermany report is measured where its radiographs are given; it is made twice, and the
second one has nothing to do. Commands that a commit does not have, or that fail in it, have no numbers.

    ARCHIVE=... MASKS=... WEIGHTS=... python benchmarks/trees.py BEFORE [AFTER]
"""

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import pandas as pd

from report import REAL, Cost, pages
from xnn.config import provenance
from xnn.evaluation import comparison

PROJECT = Path(__file__).resolve().parents[1]
FOREIGN = (*REAL, "PYTHONDONTWRITEBYTECODE", "XNN_ROOT", "PYTHONPATH", "OMP_NUM_THREADS", "PYTHONHASHSEED")
TRAINING = ("--images", "96", "--backbones", "mobilenet_v2")
ROW = "| mobilenet_v2 |"  # of the table of benchmarks/training.py


class Tree:
    """A clone of the project at a commit."""

    def __init__(self, folder: Path, commit: str):
        self.folder, self.log = folder, folder.with_suffix(".log")
        subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(folder)], check=True)
        subprocess.run(["git", "-C", str(folder), "checkout", "--quiet", commit], check=True)

    def cost(self, *command: str, given: tuple[str, ...] = ()) -> Cost | None:
        """Return the cost of a command, None if it fails; of FOREIGN variables it sees the `given` ones."""
        here = {name: value for name, value in os.environ.items() if name in given or name not in FOREIGN}
        print(self.folder.name, *command, file=sys.stderr, flush=True)
        began, at = time.time(), self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            child = subprocess.Popen(command, cwd=self.folder, env=here | {"TQDM_DISABLE": "1"}, **streams)
            _, status, usage = os.wait4(child.pid, 0)
        cost = Cost(time.time() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
        self.output = self.log.read_bytes()[at:].decode()
        print(f"{self.output[-2000:]}\nfailed, {cost}" if status else cost, file=sys.stderr, flush=True)
        return None if status else cost

    def python(self, *arguments: str) -> Cost | None:
        return self.cost(".venv/bin/python", *arguments)

    def current_step(self) -> Cost | None:
        module = "xnn" if (self.folder / "xnn/__main__.py").exists() else "xnn.pipeline"
        run = ["run"] if module == "xnn" else []
        return self.python("-m", module, *run, "1-wrangle", "phantom")

    def kermany(self) -> Cost | None:
        """Return the cost of a report of all explained runs that is current."""
        if "ARCHIVE" not in os.environ:
            return None
        explained = sorted((self.folder / "reports/kermany").glob("*/5-explain.ipynb"))
        runs = " ".join(page.parent.name for page in explained)
        command = ("make", "report", "STUDY=kermany", f"RUNS={runs}")
        return self.cost(*command, given=REAL) and self.cost(*command, given=REAL)

    def explanation(self) -> Cost | None:
        """Return the mean seconds of the pages that explain phantom networks, made beside other steps."""
        took = [seconds for page, seconds in pages(self.folder).items() if page.endswith("/5-explain")]
        return Cost(statistics.mean(took), math.nan, math.nan) if took else None

    def training_ratios(self) -> str:
        """Return how many times as fast as a plain loop each regime is, by benchmarks/training.py."""
        self.python("benchmarks/training.py", *TRAINING)
        lines = [line for line in self.output.splitlines() if line.startswith(ROW)]
        rows = [[cell.strip() for cell in line.split("|")] for line in lines]
        return ", ".join(f"{row[2]} {row[-3]}" for row in rows) or "none"


COMMANDS = {
    "the packages, installed": lambda tree: tree.cost("make", ".venv/.installed"),
    "make report, in a fresh clone": lambda tree: tree.cost("make", "report"),
    "make report, again": lambda tree: tree.cost("make", "report"),
    "a step that is current": Tree.current_step,
    "a page that explains a network by 12 images": Tree.explanation,
    "make report STUDY=kermany, current": Tree.kermany,
    "make test": lambda tree: tree.cost("make", "test"),
}


def table(costs: dict[str, tuple[Cost | None, Cost | None]]) -> pd.DataFrame:
    """Return before, after and their ratio for each command, as texts."""
    rows = []
    for what, pair in costs.items():
        row = {"command": what}
        for unit, place, digits in (("seconds", 0, 1), ("CPU seconds", 1, 1), ("MB", 2, 0)):
            one, two = (cost[place] if cost else math.nan for cost in pair)
            texts = [f"{value:.{digits}f}" if math.isfinite(value) else "-" for value in (one, two)]
            row[unit] = " to ".join(texts) if texts != ["-", "-"] else "-"
        one, two = pair
        row["times as fast"] = f"{one.seconds / two.seconds:.1f}" if one and two else "-"
        rows.append(row)
    return pd.DataFrame(rows)


def main(before: str, after: str = "HEAD") -> None:
    with tempfile.TemporaryDirectory(prefix="xnn-trees-") as name:
        trees = [Tree(Path(name) / each, commit) for each, commit in (("before", before), ("after", after))]
        costs = {what: tuple(cost(tree) for tree in trees) for what, cost in COMMANDS.items()}
        ratios = [tree.training_ratios() for tree in trees]
    one, two = costs["make report, in a fresh clone"]
    print("# Two commits side by side\n")
    if one and two:
        print(f"The phantom report takes {two.seconds / 60:.1f} minutes; it took {one.seconds / 60:.1f}.\n")
    print(f"Output of `python benchmarks/trees.py {before} {after}`, which describes the method.\n")
    load = f"load {os.getloadavg()[2]:.1f} over 15 minutes"
    print(f"{provenance.device()}, {os.cpu_count()} cores, {load}, {date.today()}.\n")
    print(comparison.markdown(table(costs)))
    print(f"\nTrainings, times as fast as a plain loop (`benchmarks/training.py {' '.join(TRAINING)}`):\n")
    for when, found in zip(("before", "after"), ratios, strict=True):
        print(f"- {when}: {found}")


if __name__ == "__main__":
    main(*sys.argv[1:])
