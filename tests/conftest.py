"""A project folder of the tests' own: nothing here reads or writes the real params, artifacts or reports."""

import os
import shutil
import tempfile
from pathlib import Path

# before xnn is imported, which reads it once
os.environ["XNN_ROOT"] = tempfile.mkdtemp(prefix="xnn-tests-")
os.environ.pop("ARCHIVE", None)
os.environ.pop("WEIGHTS", None)
os.environ["TQDM_DISABLE"] = "1"

import pytest

PROJECT = Path(__file__).resolve().parents[1]
ROOT = Path(os.environ["XNN_ROOT"])
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
for _folder in ("notebooks", "methods"):
    (ROOT / _folder).symlink_to(PROJECT / _folder)
SMALL = "{title: small, source: phantom, image_size: 32, patients: 60, fractions: [0.6, 0.2, 0.2]}"
QUICK = "{epochs: 2, batch_size: 16, learning_rate: 3e-3, early_stopping: 0"


@pytest.fixture
def root() -> Path:
    """The tests' project folder."""
    return ROOT


def write_study(name: str, text: str = SMALL, **runs: str) -> None:
    """Write the parameter files of a study and its runs."""
    folder = ROOT / "params" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(text)
    for run, content in runs.items():
        (folder / f"{run}.yaml").write_text(content)


@pytest.fixture(scope="session")
def small():
    """A wrangled phantom study, 32 pixels a side, with runs of every kind; its name."""
    tiny = "config: {depths: [1, 1, 1, 1], hidden_sizes: [8, 8, 16, 16]}"
    write_study(
        "small",
        plain=f"model: {{weights: none}}\ntraining: {QUICK}, schedule: plateau}}",
        averaged=f"model: {{weights: none}}\ntraining: {QUICK}, schedule: one_cycle, average: 0.9}}",
        tuned=f"model: {{start_from: plain, train: 15}}\ntraining: {QUICK}, class_weights: true}}",
        head=f"model: {{weights: none, train: head, hidden: [8]}}\ntraining: {QUICK}}}",
        cached=f"model: {{weights: none, train: 15}}\ntraining: {QUICK}, views: 1}}",
        lora=f"model: {{weights: none, train: 15, lora: {{rank: 2}}}}\ntraining: {QUICK}, views: 2}}",
        helped=f"model: {{weights: none}}\ntraining: {QUICK}, schedule: plateau, workers: 2}}",
        free=f"model: {{weights: none}}\ntraining: {QUICK}, schedule: plateau, deterministic: false}}",
        tracked="model: {weights: none}",
        convnext=f"model: {{backbone: convnextv2, weights: none, {tiny}}}\ntraining: {QUICK}}}",
    )
    from xnn import load_study, wrangle

    wrangle(load_study("small"))
    return "small"
