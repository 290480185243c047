"""Is anything lost where `make report` is killed at a random moment, and run again?

A small phantom study, and one page on methods, are made undisturbed, then again and again in an empty
folder: each time everything that belongs to it is killed (SIGKILL) at a random moment, what is left is looked
at, and a plain `make report` follows. A trial survives where no process of it is left, every file that bears
a result's name is whole, and the results equal the undisturbed ones to the last digit.

    python benchmarks/kills.py --trials 30
"""

import argparse
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

from xnn.verify import compare

PROJECT = Path(__file__).resolve().parents[1]
STUDY = "kills"
METHOD = "optimiser"  # of the pages on methods one is enough: all are made alike
FILES = {
    "study": "{title: killed, source: phantom, image_size: 32, patients: 60, fractions: [0.6, 0.2, 0.2]}",
    "first": "{model: {weights: none}, training: {epochs: 3, batch_size: 16, early_stopping: 0}, "
    "explanation: {measured: 3, images: 1}}",
}
GRACE = 15.0  # seconds in which a kernel notices that its parent is gone


def checkout(folder: Path) -> None:
    """The project as a clone has it, with the small study alone, and the environment that runs this."""
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
    """`make report` in a process group of its own."""
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
    """Processes that were started in, or for, a folder and are still there."""
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
    """Files under a result's name that are not whole."""
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
    """Every number that the report leaves."""
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


def trial(folder: Path, after: float, wanted: dict) -> dict:
    """Kill a report after some seconds, run it again, and say what came of it."""
    for made in (f"reports/{STUDY}", "reports/methods", "artifacts", "_site"):
        shutil.rmtree(folder / made, ignore_errors=True)
    make = start(folder)
    time.sleep(after)
    done = make.poll() is not None
    os.killpg(make.pid, signal.SIGKILL)
    make.wait()
    deadline = time.time() + GRACE
    while (strays := left(folder)) and time.time() < deadline:
        time.sleep(0.5)
    halves = broken(folder)
    code = start(folder).wait()
    found = compare("results", wanted, results(folder)) if code == 0 else None
    equal = found is not None and found.verdict == "equal"
    return {"after": after, "done": done, "strays": len(strays), "half-written": len(halves), "equal": equal}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    moments = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="xnn-kills-") as name:
        folder = Path(name)
        checkout(folder)
        began = time.time()
        if start(folder).wait():
            sys.exit((folder / "make.log").read_text()[-2000:])
        whole = time.time() - began
        wanted = results(folder)
        rows = [
            trial(folder, moments.uniform(0, whole), wanted)
            for _ in tqdm(range(given.trials), unit="trial", leave=False)
        ]
    table = pd.DataFrame(rows)
    survived = table.equal & (table.strays == 0) & (table["half-written"] == 0)
    print("# Is anything lost when a report is killed?\n")
    print(f"Output of `python benchmarks/kills.py --trials {given.trials}`; how it is done stands there.\n")
    print(f"Undisturbed, the report takes {whole:.0f} s. Killed at a random moment of that time:\n")
    print("| trials | survived | lost | a process left | with a half-written result |\n|---|---|---|---|---|")
    print(
        f"| {len(table)} | {survived.sum()} | {(~survived).sum()} | {(table.strays > 0).sum()} | "
        f"{(table['half-written'] > 0).sum()} |"
    )
    print(
        f"\nThe moments: {', '.join(f'{each:.0f}' for each in sorted(table.after))} s. "
        f"{table.done.sum()} reports were done by then."
    )
    return int((~survived).sum() > 0)


if __name__ == "__main__":
    sys.exit(main())
