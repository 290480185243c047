"""Cost of determinism and effect of data-loading workers, on the same training.

    python benchmarks/determinism.py [--rounds 3] > benchmarks/determinism.md

All layers are trained from random weights on a phantom study, once per setting and round. Settings alternate
within a round, so that a slow period of the machine affects all of them. Seconds are the median epoch over
all rounds, without each training's first epoch (warm-up); ratios are to the first row. Weights are compared
bit by bit with those of the first training.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile

os.environ["TQDM_DISABLE"] = "1"
os.environ["XNN_ROOT"] = tempfile.mkdtemp(prefix="xnn-benchmark-")

import pandas as pd
import torch

import xnn
from xnn.config import provenance, schema
from xnn.evaluation import comparison
from xnn.training import recipe

EPOCHS = 3
STUDY = "{title: benchmark, source: phantom, image_size: 128, patients: 120, fractions: [0.8, 0.1, 0.1]}"
SETTINGS = [
    {"deterministic": deterministic, "workers": workers}
    for workers in (0, 2)
    for deterministic in (True, False)
]
BACKBONES = ("mobilenet_v2", "resnet18", "convnextv2")
ATTO = {"depths": [2, 2, 6, 2], "hidden_sizes": [40, 80, 160, 320]}


def run_of(backbone: str, setting: dict, turn: int) -> schema.Run:
    """Return a run of the benchmark's study, with its own name."""
    config = ATTO if backbone == "convnextv2" else {}
    text = {
        "model": {"backbone": backbone, "weights": "none", "config": config},
        "training": {"epochs": EPOCHS, "early_stopping": 0, **setting},
    }
    name = f"{backbone}-{setting['deterministic']}-{setting['workers']}-{turn}".lower()
    (schema.root() / f"params/benchmark/{name}.yaml").write_text(json.dumps(text))
    return xnn.load_run("benchmark", name)


def trained(run: schema.Run) -> tuple[list[float], dict]:
    """Return the seconds of the epochs after the first, and the weights."""
    with contextlib.redirect_stdout(sys.stderr):  # the training's progress output
        seconds = [row["seconds"] for row in xnn.fit(run)["history"]]
    return seconds[1:], xnn.load_model(run).state_dict()


def rows(backbone: str, rounds: int) -> list[dict]:
    """Return one row per setting."""
    made = [[trained(run_of(backbone, setting, turn)) for setting in SETTINGS] for turn in range(rounds)]
    epochs = [statistics.median(s for turn in made for s in turn[i][0]) for i in range(len(SETTINGS))]
    first = made[0][0][1]
    equal = [all(_equal(first, turn[i][1]) for turn in made) for i in range(len(SETTINGS))]
    return [
        {
            "backbone": backbone,
            **setting,
            "s an epoch": round(epochs[i], 2),
            "ratio": round(epochs[i] / epochs[0], 2),
            "weights": "equal" if equal[i] else "different",
        }
        for i, setting in enumerate(SETTINGS)
    ]


def _equal(one: dict, two: dict) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


def answer(table: pd.DataFrame) -> str:
    seconds = table.set_index(["backbone", "workers", "deterministic"])["s an epoch"].unstack()
    ratio, equal = seconds[True] / seconds[False], (table.weights == "equal").sum()
    return (
        f"A deterministic epoch takes {ratio.min():.2f} to {ratio.max():.2f} times as long as one that is "
        f"not (mean {ratio.mean():.2f}); on this CPU the weights are equal in {equal} of "
        f"{len(table)} settings."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folder = schema.root() / "params/benchmark"
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(STUDY)
    study = xnn.load_study("benchmark")
    images = (xnn.wrangle(study).records.split == "train").sum()
    device = f"{provenance.device()}, torch {torch.__version__}"
    precision = recipe.precision(run_of(BACKBONES[0], SETTINGS[0], 0))
    table = pd.DataFrame([row for backbone in BACKBONES for row in rows(backbone, options.rounds)])
    load = os.getloadavg()[1]
    print(f"# What does determinism cost?\n\n{answer(table)}\n")
    command = f"python benchmarks/determinism.py --rounds {options.rounds}"
    print(f"Output of `{command}`, which describes the method.\n")
    print(f"{images} images, 128 pixels a side, {device}, {precision}; load average {load:.1f}.\n")
    print(comparison.markdown(table))


if __name__ == "__main__":
    main()
