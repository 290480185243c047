"""Cost of complete attributions: uniform steps (Captum) and adaptive steps (ours), from every baseline.

    python benchmarks/attribution.py --runs mobilenetv2-112-robust ... > benchmarks/attribution.md

Every scheme explains the same random test images of a trained run for the predicted class, in one process:
what a run's pages explain (the log-odds, averaged over the mirror image where its answers are), from each
baseline that a run may choose. Of `expected` each image has one healthy training image, so that every scheme
has one path an image from every baseline. `within 1 %` is the share of images whose attributions sum to
F(x) - F(x') to within 1 %; `local gap` the median over images of the summed absolute gaps of the path's
segments; `map off` the median relative L1 distance to the map of the most uniform steps in the table, which
is itself not exact. Gradients and CPU seconds are means per image. Captum's steps are computed image by image
in its batches, ours over all images. `The card` is all that a page of explanations measures, as the mean cost
of one of its images: a quarter of what is asked of one image in four, and a share of the whole test split's.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import xnn
from xnn.config import provenance
from xnn.evaluation import comparison
from xnn.explain import errors, evidence, integrated, sample, target
from xnn.explain.methods import BASELINES
from xnn.explain.target import Evidence

sys.path.append(str(Path(__file__).parents[1] / "methods"))
from demo import fixed

STEPS, TOLERANCES, BATCHES, SIDES = (20, 50, 100, 200, 400), (0.05, 0.01), (8, 16, 50), (224, 320, 512)
FEW = 2  # images where throughput is measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", default="kermany")
    parser.add_argument("--runs", nargs="+", required=True, help="trained runs of the study")
    parser.add_argument("--images", type=int, default=12, help="a multiple of 4, for exact costs of the card")
    options = parser.parse_args()
    ratios, parts, costs = [], [], {}
    for name in options.runs:
        run = xnn.load_run(options.study, name)
        model, given = problem(run, options.images)
        mirrored = ", averaged over the mirror image" if run.evaluation.flip else ""
        seen = f"{run.model.backbone} at {model.network.image_size} px{mirrored}"
        parts.append(f"## {name}: {seen}, {options.images} images\n")
        for baseline in BASELINES:
            table = pd.DataFrame(curve(path(model, run, given, baseline)))
            ratios.append({"run": name, "from": baseline, **ratio(table)})
            parts += [f"### From {baseline}\n", comparison.markdown(table)]
        asked = path(model, run, given)
        table = pd.DataFrame(card(model, run, given))
        costs[name] = table.iloc[-1, -1]
        parts += ["### The card\n", comparison.markdown(table)]
        tables = growth(asked), internal(asked), pixels(asked)
        parts += ["### What grows\n", *(comparison.markdown(pd.DataFrame(each)) for each in tables)]
    ratios = pd.DataFrame(ratios)
    summary = ["## Ours at 1 % against uniform steps\n", comparison.markdown(ratios)]
    title = "# What complete attributions cost\n"
    print("\n".join([title, answer(ratios, costs), heading(), *summary, *parts]), end="")


def answer(table: pd.DataFrame, costs: dict[str, float]) -> str:
    """Return the answer from the ratios of all runs and baselines, and the CPU seconds of each run's card."""
    times = table["gradients, ratio"].str.removeprefix("> ").astype(float)
    least, most = (table.loc[times == each].iloc[0] for each in (times.min(), times.max()))
    ends = (f"{each['gradients, ratio']} times ({each.run}, from {each['from']})" for each in (least, most))
    return (
        "To complete as many maps to 1 % as adaptive steps do, uniform steps need more gradients for "
        f"{(times > 1).sum()} of {len(table)} pairs of network and baseline: {' to '.join(ends)}, "
        f"{times.median():.1f} times in the median. The whole card of a page takes "
        f"{' and '.join(f'{cost:.1f} ({run})' for run, cost in costs.items())} CPU seconds an image."
    )


def heading() -> str:
    load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the start"
    return (
        f"\nOutput of `python benchmarks/attribution.py {' '.join(sys.argv[1:])}`; the columns "
        "are described at the top of that file.\n\n"
        f"{provenance.device()}, torch {torch.__version__}, float32; load average {load}: what is above "
        "the threads of this benchmark is other work that ran beside it.\n"
    )


def problem(run, count: int) -> tuple[Evidence, sample.Sample]:
    """Return what a run's pages explain, and test images drawn at random, for their predicted classes."""
    model = target.explained(run, xnn.load_model(run))
    drawn = sample.answered(xnn.predictions(run), run.study.classes).sort_values("path")
    given = sample.load_sample(run, drawn.sample(count, random_state=0))
    first = given.images[:1]
    fixed.uniform(model, first, given.targets[:1], first / 2, integrated.BATCH)  # the first pass is slow
    return model, given


def path(model, run, given: sample.Sample, baseline: str | None = None) -> tuple:
    """Return model, images, targets, and where each path starts, of the run's baseline or the one named."""
    start = sample.run_baseline(run, given.images, baseline)
    if start.ndim == 5:
        start = start[0, torch.arange(len(given.images)) % start.shape[1]]
    return model, given.images, given.targets, start.expand(given.images.shape)


def curve(given: tuple) -> list[dict]:
    """Return completeness and cost, one row per scheme and setting."""
    found = [(f"uniform, {n} steps", *timed(fixed.uniform, *given, n)) for n in STEPS]
    finest = found[-1][2].maps
    for tolerance in TOLERANCES:
        found.append((f"ours, {tolerance:.0%}", *timed(xnn.integrated_gradients, *given, tolerance)))
    return [row(*each, finest) for each in found]


def timed(function, *given) -> tuple[float, Any]:
    """Return the CPU seconds of a call, and its result."""
    began = time.process_time()
    result = function(*given)
    return time.process_time() - began, result


def row(scheme: str, seconds: float, result: integrated.Attribution, finest: np.ndarray) -> dict:
    off = np.abs(result.maps - finest).sum((1, 2)) / np.abs(finest).sum((1, 2))
    return {
        "scheme": scheme,
        "gradients": round(result.gradients.mean(), 1),
        "CPU s": round(seconds / len(result.gap), 2),
        "within 1 %": round((result.gap <= 0.01).mean(), 3),
        "within 5 %": round((result.gap <= 0.05).mean(), 3),
        "largest gap": f"{result.gap.max():.2%}",
        "local gap": f"{np.median(result.local_gap):.1%}",
        "map off": f"{np.median(off):.1%}",
    }


def ratio(table: pd.DataFrame) -> dict:
    """Return the cost ratio of the fewest uniform steps that complete as many images to 1 % as ours.

    If even the most uniform steps complete fewer, the ratio is a lower bound.
    """
    ours, uniform = table.iloc[-1], table[table.scheme.str.startswith("uniform")]
    enough = uniform[uniform["within 1 %"] >= ours["within 1 %"]]
    other, bound = (enough.iloc[0], "") if len(enough) else (uniform.iloc[-1], "> ")
    return {
        "ours within 1 %": ours["within 1 %"],
        "against": other.scheme,
        "theirs within 1 %": other["within 1 %"],
        "gradients, ratio": f"{bound}{other.gradients / ours.gradients:.1f}",
        "CPU s, ratio": f"{bound}{other['CPU s'] / ours['CPU s']:.1f}",
    }


def card(model, run, given: sample.Sample) -> list[dict]:
    """Return the CPU seconds an image of each part of the card, and of all of them."""
    seconds, own = timed(evidence.integrate, model, run, given)
    found, maps = {evidence.METHOD: seconds}, {evidence.METHOD: own.maps}
    for name in (*evidence.CARD_METHODS[1:], "controls"):
        asked = evidence.CONTROLS if name == "controls" else (name,)
        found[name], new = timed(evidence.explain_all, model, run, given, own.maps, asked)
        maps |= new
    few = slice(None, None, evidence.SHARE_MEASURED)
    found["measures"], _ = timed(evidence.measure_all, model, given, maps, evidence.SHARE_MEASURED)
    found["whether maps repeat"], _ = timed(evidence.repeats, model, run, given.take(few), own.maps[few])
    quick = evidence.quick(run, gradients=errors.GRADIENTS)
    seconds, _ = timed(quick, model, given.images, given.targets)
    tested = len(xnn.predictions(run))
    found[f"traits of {tested} test images"] = seconds * tested / run.explanation.measured
    found["all"] = sum(found.values())
    count = len(given.images)
    return [{"part": name, "CPU s an image": round(each / count, 2)} for name, each in found.items()]


def growth(given: tuple) -> list[dict]:
    """Return the time of ours at 1 % for growing numbers of images."""
    model, *each = given
    return [
        cost({"images": count}, *timed(xnn.integrated_gradients, model, *(part[:count] for part in each)))
        for count in (1, len(each[0]) // 2, len(each[0]))
    ]


def cost(asked: dict, seconds: float, found: integrated.Attribution) -> dict:
    """Return a row on what was asked: its gradients and their throughput."""
    total = int(found.gradients.sum())
    return asked | {
        "gradients": total,
        "CPU s": round(seconds, 1),
        "gradients a CPU s": round(total / seconds, 1),
    }


def internal(given: tuple) -> list[dict]:
    """Return the throughput of 100 uniform steps by the number of points per pass."""
    model, *each = given
    found = []
    for batch in BATCHES:
        seconds, _ = timed(fixed.uniform, model, *(part[:FEW] for part in each), 100, 0.01, batch)
        rate = round(100 * FEW / seconds, 1)
        found.append({"points together": batch, "gradients a CPU s": rate})
    return found


def pixels(given: tuple) -> list[dict]:
    """Return the time of ours at 1 % for the same images at growing sizes, each seen by the network whole."""
    model, images, targets, first = given
    usual, found = model.network.prepare.size, []
    for side in SIDES:
        model.network.prepare.size = (side, side)
        images_, first_ = (nn.functional.interpolate(each[:FEW], (side, side)) for each in (images, first))
        timing = timed(xnn.integrated_gradients, model, images_, targets[:FEW], first_)
        one = cost({"side in pixels": side, "images": FEW}, *timing)
        rate = round(one["gradients a CPU s"] * side**2 / 1e6, 2)
        found.append(one | {"gradients a CPU s, by megapixel": rate})
    model.network.prepare.size = usual
    return found


if __name__ == "__main__":
    main()
