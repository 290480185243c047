"""Recovery of `make report` from being killed at random moments.

A small phantom study and one page on methods are made once undisturbed, then repeatedly from scratch. Each of
these reports is interrupted several times: its processes are killed (SIGKILL) at a random moment, and what is
left is inspected. A plain `make report` then finishes it. A kill counts as survived if no process is left, no
result file is half-written, and the finished report equals the undisturbed one to the last digit.

    python benchmarks/kills.py --reports 6 --kills 5
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from xnn.report.verify import compare

PROJECT = Path(__file__).resolve().parents[1]
STUDY = "kills"
METHOD = "optimiser"  # one of these pages is enough: all are made the same way
FILES = {
    "study": "{title: killed, source: phantom, image_size: 32, patients: 60, fractions: [0.6, 0.2, 0.2]}",
    "first": "{model: {weights: none}, training: {epochs: 3, batch_size: 16, early_stopping: 0}, "
    "explanation: {measured: 3, images: 1}}",
}
GRACE = 15.0  # seconds for a kernel to notice that its parent is gone


def checkout(folder: Path) -> None:
    """Copy the tracked files into `folder`, with the small study as the only one."""
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)
    left_out = re.compile(f"params/|methods/(?!{METHOD})|reports/(?!kermany/_)")  # pages include these
    kept = [name for name in listed.stdout.splitlines() if not left_out.match(name)]
    for name in kept:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, folder / name)
    (folder / "params" / STUDY).mkdir(parents=True)
    for name, text in FILES.items():
        (folder / "params" / STUDY / f"{name}.yaml").write_text(text)


def start(folder: Path) -> subprocess.Popen:
    """Start `make report` in its own process group and return its process."""
    command = ["make", "report", f"STUDY={STUDY}", f"BIN={Path(sys.executable).parent}"]
    here = {**os.environ, "XNN_ROOT": str(folder), "PYTHONPATH": str(folder)}
    log = (folder / "make.log").open("a")
    return subprocess.Popen(
        command,
        cwd=folder,
        env=here,
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def left(folder: Path) -> list[int]:
    """Return the ids of live processes that were started for `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"XNN_ROOT={folder}".encode() in (process / "environ").read_bytes().split(b"\0"):
                state = (process / "stat").read_text().rpartition(")")[2].split()[0]
                found += [int(process.name)] if state != "Z" else []
        except OSError:
            continue
    return found


def broken(folder: Path) -> list[str]:
    """Return the names of result files that cannot be parsed."""
    found = []
    for file in (folder / "reports").rglob("*"):
        if file.name.startswith(".") or ".failed." in file.name:
            continue
        try:
            if file.suffix in (".json", ".ipynb"):
                json.loads(file.read_text())
            elif file.suffix == ".csv":
                pd.read_csv(file)
        except ValueError:
            found.append(file.name)
    return found


def results(folder: Path) -> dict:
    """Return every number of the report, by file."""
    reports = folder / "reports" / STUDY
    found = {
        str(file.relative_to(reports)): json.loads(file.read_text())
        for file in sorted(reports.rglob("*.json"))
        if not file.name.startswith((".", "predictions", "validation"))
    }
    for file in sorted(reports.rglob("*.csv")):
        table = pd.read_csv(file)
        found[str(file.relative_to(reports))] = table.drop(columns="minutes", errors="ignore").to_dict("list")
    return found


def kill(folder: Path, after: float) -> dict:
    """Resume a report, kill it after `after` seconds, and return what is left."""
    make = start(folder)
    time.sleep(after)
    done = make.poll() is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(make.pid, signal.SIGKILL)
    make.wait()
    deadline = time.time() + GRACE
    while (strays := left(folder)) and time.time() < deadline:
        time.sleep(0.5)
    pages = len(list((folder / "reports" / STUDY).rglob("[1-9]*.ipynb")))
    return {"after": after, "done": done, "pages": pages, "left": len(strays), "halves": len(broken(folder))}


def trial(folder: Path, pauses: list[float], wanted: dict) -> pd.DataFrame:
    """Kill a report after each pause, then finish it; return one row per kill."""
    for made in (f"reports/{STUDY}", "reports/methods", "artifacts", "_site"):
        shutil.rmtree(folder / made, ignore_errors=True)
    table = pd.DataFrame([kill(folder, pause) for pause in pauses])
    code = start(folder).wait()
    found = compare("results", wanted, results(folder)) if code == 0 else None
    return table.assign(equal=found is not None and found.verdict == "equal")


def answer(kills: int, lost: int) -> str:
    return f"After {kills - lost} of {kills} kills, the report was completed with the same results."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reports", type=int, default=6)
    parser.add_argument("--kills", type=int, default=5, help="of each report")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="xnn-kills-") as name:
        folder = Path(name)
        checkout(folder)
        began = time.time()
        if start(folder).wait():
            sys.exit((folder / "make.log").read_text()[-2000:])
        whole = time.time() - began
        wanted = results(folder)
        longest = 2 * whole / (given.kills + 1)  # so that a report's pauses add up to its length on average
        pauses = [[chance.uniform(0, longest) for _ in range(given.kills)] for _ in range(given.reports)]
        trials = [trial(folder, each, wanted) for each in tqdm(pauses, unit="report", leave=False)]
    table = pd.concat(trials)
    lost = ~table.equal | (table.left > 0) | (table.halves > 0)
    print(f"# Is anything lost when a report is killed?\n\n{answer(len(table), int(lost.sum()))}\n")
    command = f"python benchmarks/kills.py --reports {given.reports} --kills {given.kills}"
    print(f"Output of `{command}`, which describes the method.\n")
    late = f"{table.done.sum()} of the kills came after its end"
    print(f"Undisturbed, the report takes {whole:.0f} s; {late}.\n")
    print("| reports | kills | survived | lost | a process left | with a half-written result |")
    print("|---|---|---|---|---|---|")
    counts = (len(trials), len(table), *((x > 0).sum() for x in (~lost, lost, table.left, table.halves)))
    print(f"| {' | '.join(map(str, counts))} |\n")
    print("Pages that were done when it was killed: " + ", ".join(map(str, sorted(table.pages))) + ".")
    return int(lost.any())


if __name__ == "__main__":
    sys.exit(main())
