"""Time, CPU time and memory of the phantom report: made in a fresh clone, made again, and a step alone.

`make report` executes two steps at once, as it does by default. The printed tables are committed, so that
their history shows how the cost changes. Where study kermany was made and its radiographs are given, its
report is checked too, with the runs of which every page is committed. The site has all committed pages.

    ARCHIVE=... MASKS=... WEIGHTS=... python benchmarks/report.py
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import NamedTuple

from xnn.config.provenance import device

PROJECT = Path(__file__).resolve().parents[1]
LIBRARIES = "filelock, pydantic.main, typer, yaml"  # of the command line and of parameters
COMMANDS = {
    "make report, in a fresh clone": ("make", f"BIN={Path(sys.executable).parent}", "report"),
    "make report, again": ("make", f"BIN={Path(sys.executable).parent}", "report"),
    "xnn report, which checks every page": (sys.executable, "-m", "xnn", "report", "phantom"),
    "xnn run, of a step that is current": (sys.executable, "-m", "xnn", "run", "1-wrangle", "phantom"),
    "of it, importing the libraries that it needs": (sys.executable, "-c", f"import {LIBRARIES}"),
}
REAL = ("ARCHIVE", "MASKS", "WEIGHTS")  # of real radiographs: the phantom report needs none
# of the caller; without compiled files every command would compile xnn again
FOREIGN = (*REAL, "PYTHONDONTWRITEBYTECODE")


class Cost(NamedTuple):
    """What a command and its children took."""

    seconds: float
    cpu: float  # seconds, of all cores
    megabytes: float  # of the largest process; by `measure`, of all commands until now


def measure(command: tuple[str, ...], folder: Path, given: tuple[str, ...] = ()) -> Cost:
    """Return the cost of a command in a folder; end with its output if it fails.

    Of FOREIGN variables it sees the `given` ones only.
    """
    here = {**os.environ, "XNN_ROOT": str(folder), "PYTHONPATH": str(folder)}
    here = {name: value for name, value in here.items() if name in given or name not in FOREIGN}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    result = subprocess.run(command, cwd=folder, env=here, capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.time() - began, cpu, after.ru_maxrss / 1024)


def real(folder: Path) -> dict[str, Cost]:
    """Return the cost of a real study's report that is current; nothing where its records are not here."""
    made = PROJECT / "artifacts/kermany"
    if not (made / "images.npy").exists() or "ARCHIVE" not in os.environ:
        return {}
    (folder / "artifacts/kermany").symlink_to(made)
    runs = sorted(page.parent.name for page in (folder / "reports/kermany").glob("*/5-explain.ipynb"))
    command = (sys.executable, "-m", "xnn", "report", "kermany", *runs)
    measure(command, folder, REAL)  # logs the runs to MLflow
    return {f"xnn report kermany, {len(runs)} runs, all current": measure(command, folder, REAL)}


def site(folder: Path) -> dict[str, Cost]:
    """Return the cost of the whole site, and of the site after one of its pages has changed."""
    for made in ("_site", "artifacts/site"):
        shutil.rmtree(folder / made)
    command = (sys.executable, "-m", "xnn", "site")
    whole = measure(command, folder)
    page = next((folder / "reports/kermany").glob("*/4-evaluate.ipynb"))
    page.write_text(page.read_text().replace("## Scores", "## All scores", 1))
    return {"xnn site, the whole": whole, "xnn site, after one page has changed": measure(command, folder)}


def pages(folder: Path) -> dict[str, float]:
    """Return the seconds of each executed notebook."""
    reports = folder / "reports"
    files = [
        *sorted((reports / "phantom").rglob("[!.]*.ipynb")),
        *sorted((reports / "methods").glob("*.ipynb")),
    ]
    pages = {
        file.relative_to(reports): json.loads(file.read_text())["metadata"]["papermill"] for file in files
    }
    return {str(name.with_suffix("")): page["duration"] for name, page in pages.items()}


def answer(costs: dict[str, Cost]) -> str:
    """Return in a sentence what the report costs, made and made again."""
    first, again, *_ = costs.values()
    return (
        f"The phantom report takes {first.seconds / 60:.1f} minutes ({first.cpu / 60:.1f} CPU minutes) and "
        f"at most {first.megabytes / 1024:.1f} GB in one process; made again, it takes {again.seconds:.1f} s."
    )


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="xnn-report-") as name:
        folder = Path(name) / "xnn"
        subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(folder)], check=True)
        costs = {what: measure(command, folder) for what, command in COMMANDS.items()}
        costs |= real(folder) | site(folder)
        seconds = pages(folder)
    print(f"# What does the report cost?\n\n{answer(costs)}\n")
    print("Output of `python benchmarks/report.py`, which describes the method.\n")
    load = os.getloadavg()[2]
    print(f"{device()}, {os.cpu_count()} cores, load {load:.1f} over 15 minutes, {date.today()}.\n")
    print("| command | seconds | CPU seconds |\n|---|---|---|")
    for what, cost in costs.items():
        print(f"| {what} | {cost.seconds:.1f} | {cost.cpu:.1f} |")
    print("\n| page | seconds, beside another |\n|---|---|")
    for page, took in seconds.items():
        print(f"| {page} | {took:.0f} |")


if __name__ == "__main__":
    main()
