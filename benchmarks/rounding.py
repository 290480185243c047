"""What it would change to compute the measures of explanations in bf16, and what that would save.

    python benchmarks/rounding.py --runs mobilenetv2-112-robust ... > benchmarks/rounding.md

All methods and controls of the card explain the same random test images of a trained run. Their maps are
measured twice, with the network in float32 as on the pages, and in bf16 but for its preprocessing. `a mean
moves by` and `an image by` are the largest changes over methods. `verdicts` are those of Integrated Gradients
against the controls, `changed` is how many of them differ. CPU seconds are means per image, of all measures.
"""

import argparse
import copy
import sys

import numpy as np
import pandas as pd
import torch
from attribution import problem, timed
from torch import nn

import xnn
from xnn.config import provenance
from xnn.evaluation import comparison
from xnn.explain import card, evidence
from xnn.explain.target import Evidence

LIMIT = 0.005  # of what may move a score


class Rounded(nn.Module):
    """A network that computes in bf16, from images (N, 3, H, W) to logits (N, C) float32."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        inputs = self.network.forward_range(images, 0, 1)  # grey levels are finer than bf16
        with torch.autocast(images.device.type, torch.bfloat16):
            return self.network.forward_range(inputs, 1).float()


def both(model: Evidence, given, maps) -> tuple[list[dict], list[float]]:
    """Return the measures of the maps in float32 and in bf16, and the CPU seconds an image of each."""
    rounded = copy.deepcopy(model)
    rounded.network = Rounded(rounded.network)
    values, seconds = [], []
    for asked in (model, rounded):
        took, (found, _) = timed(evidence.measure_all, asked, given, maps)
        values.append(found)
        seconds.append(took / len(given.images))
    return values, seconds


def rows(name: str, given, values: list[dict], seconds: list[float]) -> list[dict]:
    """Return a row for each measure that judges."""
    verdicts = [card.over_controls(each, given.patients).set_index(["method", "measure"]) for each in values]
    found = []
    for measure in card.JUDGES:
        exact, rounded = (np.stack([own[measure] for own in each.values()]) for each in values)
        moved = rounded - exact  # (methods, images)
        row = {"run": name, "measure": measure, "a mean moves by": round(np.abs(moved.mean(1)).max(), 4)}
        row |= {"an image by": round(np.abs(moved).max(), 4)} | changed(measure, *verdicts)
        row |= {"float32, CPU s": round(seconds[0], 2), "bf16, CPU s": round(seconds[1], 2)}
        found.append(row)
    return found


def changed(measure: str, exact: pd.DataFrame, rounded: pd.DataFrame) -> dict:
    """Return on how many controls a measure has a verdict, and how many of these bf16 changes."""
    signs = [np.sign(each.low) + np.sign(each.high) for each in (exact, rounded)]
    own = exact.index.get_level_values("measure") == measure
    return {"verdicts": int(own.sum()), "changed": int((signs[0] != signs[1])[own].sum())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", default="kermany")
    parser.add_argument("--runs", nargs="+", required=True, help="trained runs of the study")
    parser.add_argument("--images", type=int, default=24)
    options = parser.parse_args()
    found = []
    for name in options.runs:
        run = xnn.load_run(options.study, name)
        model, given = problem(run, options.images)
        own = evidence.integrate(model, run, given).maps
        maps = evidence.explain_all(model, run, given, own)
        found += rows(name, given, *both(model, given, maps))
    table = pd.DataFrame(found)
    times = table["float32, CPU s"] / table["bf16, CPU s"]
    print(f"# What does bf16 change in the measures of explanations?\n\n{answer(table, times)}\n")
    print(
        f"Output of `python benchmarks/rounding.py {' '.join(sys.argv[1:])}`, which describes the method.\n"
    )
    print(f"{options.images} images, {provenance.device()}, torch {torch.__version__}\n")
    print(comparison.markdown(table), end="")


def answer(table: pd.DataFrame, times: pd.Series) -> str:
    """Return the page's answer."""
    most, kept = table["a mean moves by"].max(), (table.verdicts - table.changed).sum()
    limit = f"{'more than' if most > LIMIT else 'within'} the limit of {LIMIT}"
    return (
        f"bf16 moves a mean by {most:.4f} at most, {limit}, and {kept} of {table.verdicts.sum()} verdicts "
        f"stay. The measures take {times.min():.2f} to {times.max():.2f} times as long in float32."
    )


if __name__ == "__main__":
    main()
