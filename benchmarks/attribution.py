"""Cost of complete attributions: uniform steps (Captum), non-uniform steps and adaptive steps (ours).

    python benchmarks/attribution.py --runs mobilenetv2-full ... > benchmarks/attribution.md

Every scheme explains the same random test images of a trained run, for the predicted class and from a black
baseline, one scheme after the other in one process. `within 1 %` is the share of images whose attributions
sum to F(x) - F(x') to within 1 %; `local gap` the median over images of the summed absolute gaps of the
path's segments; `map off` the median relative L1 distance to the map of the most uniform steps in the table,
which is itself not exact. Gradients and seconds are means per image.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import xnn
from xnn.config import provenance
from xnn.evaluation import comparison
from xnn.explain import integrated

sys.path.append(str(Path(__file__).parents[1] / "methods"))
from demo import fixed

STEPS, NON_UNIFORM, TOLERANCES, BATCHES = (20, 50, 100, 200, 400), (50, 200), (0.05, 0.01), (8, 16, 50)
INTERNAL = 2  # images in the comparison of internal batch sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", default="kermany")
    parser.add_argument("--runs", nargs="+", required=True, help="trained runs of the study")
    parser.add_argument("--images", type=int, default=12)
    options = parser.parse_args()
    ratios, parts = [], [heading()]
    for name in options.runs:
        run = xnn.load_run(options.study, name)
        given = problem(run, options.images)
        table = pd.DataFrame(curve(given))
        ratios.append({"run": name, **ratio(table)})
        parts.append(f"## {name}: {run.model.backbone}, {len(given[1])} images\n")
        tables = table, pd.DataFrame(growth(given)), pd.DataFrame(internal(given))
        parts += map(comparison.markdown, tables)
    parts += ["## Ours at 1 % against uniform steps\n", comparison.markdown(pd.DataFrame(ratios))]
    print("\n".join(["# What complete attributions cost\n", answer(pd.DataFrame(ratios)), *parts]), end="")


def answer(table: pd.DataFrame) -> str:
    """Return the answer from the ratios of all runs."""
    each = zip(table["gradients, ratio"], table.run, strict=True)
    return (
        "To complete as many maps to 1 % as adaptive steps do, uniform steps need more gradients: "
        f"{', '.join(f'{ratio} times ({run})' for ratio, run in each)}."
    )


def heading() -> str:
    load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the start"
    return (
        f"\nOutput of `python benchmarks/attribution.py {' '.join(sys.argv[1:])}`; the columns "
        "are described at the top of that file.\n\n"
        f"{provenance.device()}, torch {torch.__version__}, float32; load average {load}: what is above "
        "the threads of this benchmark is other work that ran beside it.\n"
    )


def problem(run, count: int) -> tuple:
    """Return model, images, targets and baseline, after a warm-up pass."""
    model, records = xnn.load_model(run), xnn.load_records(run.study)
    drawn = records[records.split == "test"].sort_values("path").sample(count, random_state=0)
    images = xnn.to_input(xnn.load_images(run.study)[drawn.row.to_numpy()])
    with torch.inference_mode():
        targets = torch.cat([model(batch) for batch in images.split(integrated.BATCH)]).argmax(1)
    baseline = xnn.baseline("black", images)
    fixed.uniform(model, images[:1], targets[:1], baseline, integrated.BATCH)
    return model, images, targets, baseline


def curve(given: tuple) -> list[dict]:
    """Return completeness and cost, one row per scheme and setting."""
    found = [(f"uniform, {n} steps", *timed(fixed.uniform, *given, n)) for n in STEPS]
    finest = found[-1][2].maps
    found += [(f"non-uniform, {n} steps", *timed(fixed.non_uniform, *given, n)) for n in NON_UNIFORM]
    for tolerance in TOLERANCES:
        found.append((f"ours, {tolerance:.0%}", *timed(xnn.integrated_gradients, *given, tolerance)))
    return [row(*each, finest) for each in found]


def timed(function, *given) -> tuple[float, integrated.Attribution]:
    began = time.perf_counter()
    result = function(*given)
    return time.perf_counter() - began, result


def row(scheme: str, seconds: float, result: integrated.Attribution, finest: np.ndarray) -> dict:
    off = np.abs(result.maps - finest).sum((1, 2)) / np.abs(finest).sum((1, 2))
    return {
        "scheme": scheme,
        "gradients": round(result.gradients.mean(), 1),
        "s": round(seconds / len(result.gap), 2),
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
        "seconds, ratio": f"{bound}{other.s / ours.s:.1f}",
    }


def growth(given: tuple) -> list[dict]:
    """Return the time of ours at 1 % for growing numbers of images."""
    model, images, targets, baseline = given
    rows = []
    for count in (1, len(images) // 2, len(images)):
        seconds, found = timed(xnn.integrated_gradients, model, images[:count], targets[:count], baseline)
        total = int(found.gradients.sum())
        rows.append({"images": count, "gradients in all": total, "s in all": round(seconds, 1)})
        rows[-1]["gradients/s"] = round(total / seconds, 1)
    return rows


def internal(given: tuple) -> list[dict]:
    """Return the throughput of 100 uniform steps by the number of points per pass."""
    model, images, targets, baseline = given
    rows = []
    for batch in BATCHES:
        part = model, images[:INTERNAL], targets[:INTERNAL], baseline, 100, 0.01, batch
        seconds, _ = timed(fixed.uniform, *part)
        rows.append({"points together": batch, "gradients/s": round(100 * INTERNAL / seconds, 1)})
    return rows


if __name__ == "__main__":
    main()
