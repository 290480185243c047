"""Which measures of explanations order maps as the truth does? On phantoms, whose lesions are known.

For each network and each correctly classified phantom with a lesion, every method and control of the card
gives a map, averaged over superpixels. A measure agrees with a truth on the share of pairs of maps of one
phantom that it orders alike, 0.5 by chance. There are three truths:

- *ladder*: Integrated Gradients of which a growing share is replaced by the same values at other
  superpixels; less replaced is better;
- *controls*: a method beside a control; better is the map with the larger share of its highest pixels,
  as many as the lesion has, in the lesion (relevance rank), by 0.1 at least;
- *methods*: the same of two methods.

A measure may judge a map against controls if for every network the 95 % interval of its agreement, by
bootstrap over patients, lies above MAY_JUDGE with the ladder and above 0.5 with the controls. It may rank
methods if that with the methods lies above 0.5.
"""

import argparse
import time
from itertools import combinations

import numpy as np
import pandas as pd

from xnn import load_model, load_run, predictions
from xnn.config import provenance
from xnn.config.schema import Run
from xnn.evaluation import comparison
from xnn.explain import card, evidence, localisation, sample, scales, target
from xnn.training.fit import fit

LEVELS = (0.25, 0.5, 0.75, 1.0)  # of the ladder, beside 0
MARGIN = 0.1  # of the lesion truth
MAY_JUDGE = 0.75  # an order right three times of four
TRUTHS = ("ladder", "controls", "methods")
MEASURES = [
    f"{name}{fill}" for fill in ("", "_mean") for name in ("insertion_auc", "deletion_auc", "removal")
]


def ladder(maps: np.ndarray, areas: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Return maps by superpixel (N, H, W) with a growing share replaced by values of other superpixels."""
    rng, own = np.random.default_rng(seed), scales.pooled(maps, areas)
    sizes = scales.sums(np.ones(own.shape), areas)
    means = scales.sums(own, areas) / np.maximum(sizes, 1)
    counts = areas.max((1, 2)) + 1
    moved = zip(means, counts, areas, strict=True)
    other = np.stack([rng.permutation(values[:count])[area] for values, count, area in moved])
    return {f"ladder {level}": (1 - level) * own + level * other for level in LEVELS}


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
    """Return the agreement of each measure with each truth for one network, with intervals."""
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
    lesion = {
        name: localisation.relevance_rank(scales.pooled(m, areas), given.masks) for name, m in maps.items()
    }
    rungs = {name: np.full(len(own), -float(n)) for n, name in enumerate([evidence.METHOD, *steps])}
    pairs = list(combinations(maps, 2))
    controls = [pair for pair in pairs if len({*pair} & {*evidence.CONTROLS}) == 1]
    methods = [pair for pair in pairs if not {*pair} & {*evidence.CONTROLS}]
    asked = ((rungs, list(combinations(rungs, 2))), (lesion, controls), (lesion, methods))
    rows = []
    for measure in MEASURES:
        by_map = {name: each[measure] for name, each in values.items()}
        for name, (truth, pairs) in zip(TRUTHS, asked, strict=True):
            found = agreement(by_map, truth, pairs, card.BETTER[measure])
            rows.append({"measure": measure, "truth": name} | card.mean_interval(found, given.patients))
    return pd.DataFrame(rows)


PAGE = """# Which measures of explanations order maps as the truth does?

**Answer.** A map can be judged against degraded copies of itself and against controls by {judges}. Rejected:
{rejected}. Different methods are ordered as the truth has it, for every network, by {rankers}: an order of
methods by these measures need not be an order by where the lesion is.

Output of `{command}`, which describes the method.

Phantoms of the test split with a lesion, classified correctly: {n} for each network at most; {seconds:.0f} s.
The table has the share of pairs of maps that are ordered as the truth has it, 0.5 by chance, with 95 %
intervals by bootstrap over patients. *blur*, *grey*: what stands where the image is not shown. *ladder*: a
map against copies of which a quarter, a half, three quarters or all was moved elsewhere. *controls*: methods
against controls, *methods*: methods against each other, by the share of their highest pixels that lies in the
lesion.

{table}
A measure may judge if for every network its interval lies above {MAY_JUDGE} with the ladder and above 0.5
with the controls. Mean grey is unlike any radiograph: the network reacts to the fill, and the measure follows
that. Agreement with the lesion is lower than that with the ladder: a network may use more of the image than
the lesion, and then a correct map shows more.

{device}.
"""


def name_of(measure: str) -> str:
    """Return a measure and its fill as the page has them."""
    fill = "grey" if measure.endswith("_mean") else "blur"
    return f"{measure.removesuffix('_mean').removesuffix('_auc')} ({fill})"


def report(found: pd.DataFrame, command: str, seconds: float) -> str:
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
                provenance.write_json(fit(run), run.reports / "training.json")
            tables.append(agreements(run, given.images).assign(network=run.name))
    command = f"python benchmarks/measures.py --images {given.images}"
    print(report(pd.concat(tables, ignore_index=True), command, time.time() - began), end="")


if __name__ == "__main__":
    main()
