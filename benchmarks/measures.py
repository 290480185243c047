"""Which measures of explanations order maps as the truth does? On phantoms, whose lesions are known.

For each network and each correctly classified phantom with a lesion, every method and control of the card
gives a map. It is averaged over superpixels, and these are inserted and deleted; or it is smoothed, and each
pixel is (*pixels*). A measure agrees with a truth on the share of pairs of maps of one phantom that it orders
alike, 0.5 by chance. There are three truths:

- *ladder*: Integrated Gradients of which a growing share is replaced by the same values at other places;
  less replaced is better;
- *controls*: a method beside a control; better is the map with the larger share of its highest pixels,
  as many as the lesion has, in the lesion (relevance rank), by 0.1 at least;
- *methods*: the same of two methods.

A measure may judge a map against controls if for every network, all its seeds together, the 95 % interval of
its agreement, by bootstrap over patients, lies above MAY_JUDGE with the ladder and above 0.5 with the
controls. It may rank methods if that with the methods lies above 0.5.
"""

import argparse
import contextlib
import sys
import time
from itertools import combinations

import numpy as np
import pandas as pd

from xnn import load_model, load_run, predictions
from xnn.config import provenance
from xnn.config.schema import Run
from xnn.evaluation import comparison
from xnn.explain import card, evidence, localisation, measures, sample, scales, target
from xnn.training.fit import fit

LEVELS = (0.25, 0.5, 0.75, 1.0)  # of the ladder, beside 0
MARGIN = 0.1  # of the lesion truth
MAY_JUDGE = 0.75  # an order right three times of four
TRUTHS = ("ladder", "controls", "methods")
CURVES, FILLS, PIXELS = ("insertion_auc", "deletion_auc"), tuple(evidence.FILLS.values()), "_pixels"
MEASURES = [f"{name}{fill}" for fill in FILLS for name in (*CURVES, "removal")]
MEASURES += [f"{name}{fill}{PIXELS}" for fill in FILLS for name in CURVES]


def ladder(maps: np.ndarray, areas: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Return maps by superpixel (N, H, W) with a growing share replaced by values of other superpixels."""
    rng, own = np.random.default_rng(seed), scales.pooled(maps, areas)
    sizes = scales.sums(np.ones(own.shape), areas)
    means = scales.sums(own, areas) / np.maximum(sizes, 1)
    counts = areas.max((1, 2)) + 1
    moved = zip(means, counts, areas, strict=True)
    other = np.stack([rng.permutation(values[:count])[area] for values, count, area in moved])
    return {f"ladder {level}": (1 - level) * own + level * other for level in LEVELS}


def shifted(maps: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Return maps (N, H, W) with a growing share replaced by values from a quarter of the side away or more.

    That is the ladder of maps that have no superpixels.
    """
    rng, side = np.random.default_rng(seed), maps.shape[-1]
    ways = rng.integers(side // 4, side - side // 4, (len(maps), 2))
    other = np.stack([np.roll(one, way, (0, 1)) for one, way in zip(maps, ways, strict=True)])
    return {f"ladder {level}": (1 - level) * maps + level * other for level in LEVELS}


def by_pixel(model, given: sample.Sample, maps: dict) -> dict[str, dict[str, np.ndarray]]:
    """Return insertion and deletion (N,) of maps with both fills, where each pixel is its own region."""
    side, values = given.images.shape[-1], {name: {} for name in maps}
    pixels = np.broadcast_to(np.arange(side**2).reshape(side, side), given.images[:, 0].shape)
    for fill, suffix in evidence.FILLS.items():
        fills = measures.filled(given.images, fill)
        curves = measures.curves(model, given.images, maps, given.targets, pixels, fills)
        for name, each in curves.items():
            values[name] |= {f"{key}{suffix}{PIXELS}": area for key, area in each.areas().items()}
    return values


def agreement(values: dict[str, np.ndarray], truth: dict[str, np.ndarray], pairs, sign: int) -> np.ndarray:
    """Return the share of pairs of maps that a measure orders as the truth does, (N,); ties count half."""
    right, asked = 0.0, 0
    for one, other in pairs:
        apart = truth[one] - truth[other]
        counts = np.abs(apart) >= MARGIN
        same = sign * np.sign(values[one] - values[other]) * np.sign(apart)
        right, asked = right + counts * (1 + same) / 2, asked + counts
    return np.divide(right, asked, out=np.full(len(asked), np.nan), where=asked > 0)


def agreements(run: Run, images: int) -> pd.DataFrame:
    """Return the agreement of each measure with each truth for one network: a row per phantom."""
    how = run.explanation.model_copy(update={"measured": 4 * images})
    run = run.model_copy(update={"explanation": how})
    drawn = sample.draw(predictions(run), run)
    drawn = drawn[drawn.measured & drawn.right & (drawn.label != run.study.healthy)].head(images)
    given = sample.load_sample(run, drawn.reset_index(drop=True))
    model = target.explained(run, load_model(run))
    own = evidence.integrate(model, run, given).maps
    areas = scales.superpixels(given.images[:, 0].numpy())
    maps = evidence.explain_all(model, run, given, own)
    steps = ladder(own, areas)
    values, _ = evidence.measure_all(model, given, maps | steps)
    smooth = {name: scales.smoothed(each) for name, each in maps.items()}
    fine = by_pixel(model, given, smooth | shifted(smooth[evidence.METHOD]))
    coarse = {name: scales.pooled(each, areas) for name, each in maps.items()}
    lesions = {
        grain: {name: localisation.relevance_rank(each, given.masks) for name, each in found.items()}
        for grain, found in (("", coarse), (PIXELS, smooth))
    }
    rungs = {name: np.full(len(own), -float(n)) for n, name in enumerate([evidence.METHOD, *steps])}
    pairs = list(combinations(maps, 2))
    controls = [pair for pair in pairs if len({*pair} & {*evidence.CONTROLS}) == 1]
    methods = [pair for pair in pairs if not {*pair} & {*evidence.CONTROLS}]
    rows = []
    for measure in MEASURES:
        lesion = lesions[PIXELS if measure.endswith(PIXELS) else ""]
        by_map = {name: (values[name] | fine[name])[measure] for name in values}
        asked = ((rungs, list(combinations(rungs, 2))), (lesion, controls), (lesion, methods))
        for name, (truth, pairs) in zip(TRUTHS, asked, strict=True):
            found = agreement(by_map, truth, pairs, card.BETTER[measure.removesuffix(PIXELS)])
            row = {"measure": measure, "truth": name, "patient": given.patients, "agrees": found}
            rows.append(pd.DataFrame(row))
    return pd.concat(rows, ignore_index=True)


PAGE = """# Which measures of explanations order maps as the truth does?

**Answer.** A map can be judged against degraded copies of itself and against controls by {judges}. Rejected:
{rejected}. Different methods are ordered as the truth has it, for every network, by {rankers}: an order of
methods by these measures need not be an order by where the lesion is.

Output of `{command}`, which describes the method.

Phantoms of the test split with a lesion, classified correctly: {n} for each network at most, of {seeds}
seeds together; {seconds:.0f} s. The table has the share of pairs of maps that are ordered as the truth has
it, 0.5 by chance, with 95 % intervals by bootstrap over patients. *blur*, *grey*: what stands where the image
is not shown. *pixels*: smoothed maps, pixel by pixel; else maps by superpixel. *ladder*: a map against copies
of which a quarter, a half, three quarters or all was moved elsewhere. *controls*: methods against controls,
*methods*: methods against each other, by the share of their highest pixels that lies in the lesion.

{table}
A measure may judge if for every network its interval lies above {MAY_JUDGE} with the ladder and above 0.5
with the controls. Mean grey is unlike any radiograph: the network reacts to the fill, and the measure follows
that. Agreement with the lesion is lower than that with the ladder: a network may use more of the image than
the lesion, and then a correct map shows more.

{device}.
"""


def name_of(measure: str) -> str:
    """Return a measure and its fill as the page has them."""
    coarse = measure.removesuffix(PIXELS)
    fill = ("grey" if coarse.endswith("_mean") else "blur") + ", pixels" * (measure != coarse)
    return f"{coarse.removesuffix('_mean').removesuffix('_auc')} ({fill})"


def report(found: pd.DataFrame, command: str, seconds: float, seeds: int) -> str:
    """Return the page: the answer, which measures were rejected, the table."""
    lowest = found.groupby(["measure", "truth"]).low.min().unstack().loc[MEASURES].rename(name_of)
    judges = (lowest.ladder > MAY_JUDGE) & (lowest.controls > 0.5)
    said = {"judges": judges, "rejected": ~judges, "rankers": lowest.methods > 0.5}
    cells = found.assign(cell=[comparison.with_interval(row._asdict()) for row in found.itertuples()])
    cells["measure"] = cells.measure.map(name_of)
    table = cells.pivot_table("cell", ["measure", "network"], "truth", "first", sort=False)[list(TRUTHS)]
    return PAGE.format(
        command=command,
        seconds=seconds,
        seeds=seeds,
        n=found.n.max(),
        table=comparison.markdown(table.reset_index()),
        device=provenance.device(),
        MAY_JUDGE=MAY_JUDGE,
        **{name: ", ".join(lowest.index[rows]) or "no measure" for name, rows in said.items()},
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--study", default="phantom")
    parser.add_argument("--runs", nargs="+", default=["resnet18", "mobilenet_v2"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--images", type=int, default=40)
    given = parser.parse_args()
    began, tables = time.time(), []
    for name in given.runs:
        for seed in given.seeds:
            run = load_run(given.study, name)
            if seed != run.seed:
                run = run.model_copy(update={"seed": seed, "name": f"{name}-seed{seed}"})
            if not (run.artifacts / "model").exists():
                with contextlib.redirect_stdout(sys.stderr):  # the training's progress output
                    provenance.write_json(fit(run), run.reports / "training.json")
            tables.append(agreements(run, given.images).assign(network=name))
    rows = [
        dict(zip(("measure", "network", "truth"), key, strict=True))
        | card.mean_interval(part.agrees, part.patient)
        for key, part in pd.concat(tables).groupby(["measure", "network", "truth"], sort=False)
    ]
    seeds = " ".join(map(str, given.seeds))
    command = f"python benchmarks/measures.py --images {given.images} --seeds {seeds}"
    print(report(pd.DataFrame(rows), command, time.time() - began, len(given.seeds)), end="")


if __name__ == "__main__":
    main()
