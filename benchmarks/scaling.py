"""Growth of time and memory with images, classes and runs, extrapolated to a million images.

    python benchmarks/scaling.py [--images 1000 3000 10000 30000 100000]

Images are JPEG files of noise, 48 x 48 pixels, two per patient, in a zip; the study stores them at 32 x 32.
The cost per image of decoding and of the network's arithmetic does not depend on the number of images, so
small images suffice. Every phase runs the project's code in its own process:

- wrangle: from the zip to records.csv and images.npy;
- train: the preparation of a training, and one epoch of a tiny ConvNeXtV2 at batch size 256, without
  augmentation;
- predict: predictions on the test split (a tenth), written to disk;
- evaluate: scores and their intervals, 2000 resamples of patients;
- compare: the difference of two runs' scores with its interval, 2000 resamples.

Memory is the peak of anonymous memory (RssAnon) above the level after imports; pages of the memory-mapped
image store belong to the file cache and can be evicted. Slope and exponent (the slope on logarithmic axes)
come from the last two sizes, and the values at a million images extend the last size by that slope.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import numpy as np

os.environ["TQDM_DISABLE"] = "1"
os.environ.setdefault("XNN_ROOT", tempfile.mkdtemp(prefix="xnn-benchmark-"))

import pandas as pd
from PIL import Image

import xnn
from xnn.config import provenance
from xnn.config.schema import root
from xnn.evaluation import comparison
from xnn.report import steps

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
CLASSES = (3, 6, 12, 24)  # numbers of classes, in 3,000 predictions
RUNS = (10, 100, 1_000)  # numbers of runs in a sweep
SIDES = (32, 112, 224)  # pixels
MILLION = 1_000_000
RUN = """
model: {backbone: convnextv2, weights: none, config: {depths: [1, 1, 1, 1], hidden_sizes: [8, 8, 16, 16]}}
training: {epochs: 1, batch_size: 256, early_stopping: 0, precision: "32"}
augmentation: {crop: 1.0, degrees: 0.0, jitter: 0.0, flip: 0.0}
"""


# ---- phases, each in its own process --------------------------------------------------------------


def wrangle(study: str) -> None:
    xnn.wrangle(xnn.load_study(study))


def train(study: str) -> dict:
    record = xnn.fit(xnn.load_run(study, "tiny"))
    run = xnn.load_run(study, "tiny")
    provenance.write_json(record, run.reports / "training.json")
    return {"epoch": record["history"][0]["seconds"]}


def predict(study: str) -> dict:
    return {"rows": len(xnn.predictions(xnn.load_run(study, "tiny")))}


def evaluate(study: str) -> None:
    run = xnn.load_run(study, "tiny")
    xnn.metrics(xnn.predictions(run), run.study.classes, "test", 2000, 0)


def compare(study: str) -> None:
    comparison.differences(xnn.load_study(study), [("tiny", "tiny")], ["f1_weighted"])


def classes(count: str) -> None:
    rng = np.random.default_rng(0)
    names = [f"class{number}" for number in range(int(count))]
    probabilities = rng.dirichlet(np.ones(len(names)), 3_000)
    labels = np.array([rng.choice(len(names), p=row) for row in probabilities])
    patients = [str(number // 2) for number in range(3_000)]
    xnn.confidence_intervals(labels, probabilities, names, patients)


def sweep(count: str) -> dict:
    loaded = xnn.load_sweep(f"of{count}")
    began = time.perf_counter()
    one = xnn.load_run(loaded.study, loaded.runs()[-1].name)  # as every step of the sweep does
    read = time.perf_counter() - began
    for run in loaded.runs():
        steps.doubts(steps.Task("3-train", run))
    return {"one": read, "name": one.name}


PHASES = {each.__name__: each for each in (wrangle, train, predict, evaluate, compare, classes, sweep)}


class Memory(threading.Thread):
    """Peak anonymous memory of this process in bytes, sampled every 20 ms, and the level at the start."""

    def __init__(self):
        super().__init__(daemon=True)
        self.before = self.most = _anonymous()

    def run(self):
        while True:
            self.most = max(self.most, _anonymous())
            time.sleep(0.02)


def _anonymous() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))


def phase(name: str, argument: str) -> None:
    """Execute one phase and print its time and memory as JSON."""
    import xnn.evaluation.intervals  # imported before the clock starts
    import xnn.training.fit  # noqa: F401

    memory = Memory()
    memory.start()
    began = time.perf_counter()
    found = PHASES[name](argument) or {}
    found = {"seconds": time.perf_counter() - began, **found}
    print(json.dumps(found | {"bytes": max(memory.most, _anonymous()) - memory.before}))


def asked(name: str, argument, **environment) -> dict:
    """Return the time and memory of a phase, measured in its own process."""
    result = subprocess.run(
        [sys.executable, __file__, "--phase", name, str(argument)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(result.stdout.splitlines()[-1])
    print(name, argument, {k: v for k, v in found.items() if k != "name"}, flush=True)
    return found


# ---- inputs and measurements ---------------------------------------------------------------------


def archive(count: int) -> Path:
    """Return the path of a new zip of JPEG noise, two images per patient, a third of each class."""
    rng, file = np.random.default_rng(count), root() / f"{count}.zip"
    with zipfile.ZipFile(file, "w") as zipped:
        for number in range(count):
            data = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (48, 48), np.uint8)).save(data, "JPEG")
            patient = number // 2 if number % 20 else f"{number}alone"
            name = ("bacteria", "normal", "virus")[number // 2 % 3]
            zipped.writestr(f"{name}/p{patient}_{number}.jpeg", data.getvalue())
    return file


def write(where: str, **files: str) -> None:
    folder = root() / "params" / where
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def of_images(sizes: list[int]) -> pd.DataFrame:
    """Return seconds and bytes, one row per phase and size."""
    rows = []
    for count in sizes:
        study = f"images{count}"
        text = "{title: noise, source: archive, image_size: 32, archive: {patient: ['^(p[^_]+)_']}}"
        write(study, study=text, tiny=RUN)
        file = archive(count)
        for name in ("wrangle", "train", "predict", "evaluate", "compare"):
            found = asked(name, study, ARCHIVE=str(file))
            rows.append({"phase": name, "size": count, **found})
            if name == "train":
                rows.append({"phase": "(of it one epoch)", "size": count, "seconds": found["epoch"]})
        file.unlink()
        (root() / "artifacts" / study / "images.npy").unlink()
    return pd.DataFrame(rows)


def of_sides() -> pd.DataFrame:
    """Return the memory of wrangling 3,000 images by stored side: does it hold all decoded images?"""
    file, rows = archive(3_000), []
    for side in SIDES:
        text = f"{{title: noise, source: archive, image_size: {side}, archive: {{patient: ['^(p[^_]+)_']}}}}"
        write(f"side{side}", study=text)
        found = asked("wrangle", f"side{side}", ARCHIVE=str(file))
        decoded = round(3_000 * side**2 / 2**20)
        rows.append({"side": side, "decoded, MB": decoded, "memory, MB": round(found["bytes"] / 2**20)})
    return pd.DataFrame(rows)


def of_runs() -> pd.DataFrame:
    write("images0", study="{title: none, source: phantom}", tiny=RUN)
    rows = []
    for count in RUNS:
        text = f"{{title: many, study: images0, base: tiny, grid: {{seed: {list(range(count))}}}}}"
        write("sweeps", **{f"of{count}": text})
        found = asked("sweep", count)
        rows += [
            {"phase": "a sweep read, every run looked at", "size": count, **found},
            {"phase": "one of its runs read", "size": count, "seconds": found["one"]},
        ]
    return pd.DataFrame(rows)


# ---- the tables ----------------------------------------------------------------------------------


def growth(table: pd.DataFrame, what: str, unit: float, digits: int) -> pd.DataFrame:
    """Return one row per phase: the value at each size, and exponent and slope of the last two sizes."""
    rows = []
    for name, each in table.dropna(subset=what).groupby("phase", sort=False):
        values = dict(zip(each["size"], each[what] / unit, strict=True))
        (one, before), (two, last) = list(values.items())[-2:]
        slope = (last - before) / (two - one)
        exponent = np.log(max(last, 1e-9) / max(before, 1e-9)) / np.log(two / one)
        shown = {f"{size:,}": round(value, digits) for size, value in values.items()}
        rows.append({"": name, **shown, "exponent": round(exponent, 2), "slope": slope, "last": (two, last)})
    return pd.DataFrame(rows)


def at_a_million(table: pd.DataFrame) -> pd.Series:
    found = [
        last + slope * (MILLION - size)
        for slope, (size, last) in zip(table.slope, table["last"], strict=True)
    ]
    return pd.Series(found, index=table[""])


def told(table: pd.DataFrame, slope: str, factor: float, digits: int, million: str = "") -> str:
    shown = table.drop(columns=["slope", "last"])
    shown[slope] = (table.slope * factor).round(digits)
    if million:
        shown[million] = at_a_million(table).round(1).to_numpy()
    return comparison.markdown(shown)


def answer(memory: pd.Series, seconds: pd.Series) -> str:
    """Return the answer from MB and seconds at a million images, by phase."""
    return (
        f"At a million images, `{memory.idxmax()}` needs the most memory ({memory.max() / 1024:.1f} GB at "
        f"32 x 32 pixels) and, apart from the network's arithmetic, `{seconds.idxmax()}` the most time "
        f"({seconds.max() / 60:.0f} minutes)."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--phase", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.phase:
        return phase(*options.phase)
    began = time.perf_counter()
    images, sides, runs = of_images(options.images), of_sides(), of_runs()
    kinds = pd.DataFrame([{"phase": "evaluate", "size": n, **asked("classes", n)} for n in CLASSES])
    seconds, memory = growth(images, "seconds", 1, 1), growth(images, "bytes", 2**20, 1)
    print(
        f"# What grows with images, classes and runs\n\n{answer(at_a_million(memory), at_a_million(seconds))}"
    )
    print("\nOutput of `python benchmarks/scaling.py`, which describes the method.")
    print(f"\n{time.perf_counter() - began:.0f} s on {provenance.device()}, one thread a phase.\n")
    print("## Images: seconds\n")
    print(told(seconds, "ms an image", 1e3, 3, "s at a million"))
    print("## Images: MB of memory\n")
    print(told(memory, "bytes an image", 2**20, 0, "MB at a million"))
    print("## Is the decoded set held while wrangling? 3,000 images by their side in pixels\n")
    print(comparison.markdown(sides))
    print("## Classes: 3,000 predictions, 2,000 resamples\n")
    print(told(growth(kinds, "seconds", 1, 1), "s a class", 1, 3))
    print(told(growth(kinds, "bytes", 2**20, 1), "MB a class", 1, 2))
    print("## Runs of a sweep: seconds\n")
    print(told(growth(runs, "seconds", 1, 3), "ms a run", 1e3, 3))
    return None


if __name__ == "__main__":
    main()
