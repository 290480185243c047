"""Which measures of explanations order maps as the truth does? On phantoms, whose lesions are known.

For each network and each correctly classified phantom with a lesion, every method and control of the card
gives a map, averaged over superpixels. Two truths order the maps of one phantom:

- *lesion*: the share of the highest pixels, as many as the lesion has, that lie in it (relevance rank);
- *ladder*: Integrated Gradients of which a growing share is replaced by the same values at other
  superpixels; less replaced is better.

A measure agrees with a truth on the share of pairs of maps that it orders alike, 0.5 by chance; pairs count
whose lesion truths differ by 0.1 or more. A measure may judge if the 95 % interval of both agreements, by
bootstrap over patients, lies above 0.5 for every network.

    python benchmarks/measures.py --runs resnet18 mobilenet_v2 --seeds 0 1 --images 60
"""

import argparse
import time
from itertools import combinations

import numpy as np
import pandas as pd

from xnn import load_model, load_run, predictions
from xnn.config.schema import Run
from xnn.explain import card, evidence, localisation, sample, scales, target
from xnn.training.fit import fit

LEVELS = (0.25, 0.5, 0.75, 1.0)  # of the ladder, beside 0
MARGIN = 0.1  # of the lesion truth


def ladder(maps: np.ndarray, areas: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Return maps by superpixel (N, H, W) with a growing share replaced by values of other superpixels."""
    rng, own = np.random.default_rng(seed), scales.pooled(maps, areas)
    sizes = scales.sums(np.ones(own.shape), areas)
    means = scales.sums(own, areas) / np.maximum(sizes, 1)
    counts = areas.max((1, 2)) + 1
    moved = zip(means, counts, areas, strict=True)
    other = np.stack([rng.permutation(values[:count])[area] for values, count, area in moved])
    return {f"ladder {level}": (1 - level) * own + level * other for level in LEVELS}


def agreement(values: dict[str, np.ndarray], truth: dict[str, np.ndarray], sign: int) -> np.ndarray:
    """Return the share of pairs of maps that a measure orders as the truth does, (N,); ties count half."""
    right, asked = 0.0, 0
    for one, other in combinations(truth, 2):
        apart = truth[one] - truth[other]
        counts = np.abs(apart) >= MARGIN
        same = sign * np.sign(values[one] - values[other]) * np.sign(apart)
        right, asked = right + counts * (1 + same) / 2, asked + counts
    return np.divide(right, asked, out=np.full(len(asked), np.nan), where=asked > 0)


def agreements(run: Run, images: int) -> pd.DataFrame:
    """Return the agreement of each measure with both truths for one network, with intervals."""
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
    rows = []
    for measure in [name for name in values[evidence.METHOD] if name in MEASURES]:
        by_map = {name: each[measure] for name, each in values.items()}
        for name, truth in {"lesion": lesion, "ladder": rungs}.items():
            found = agreement(by_map, truth, card.BETTER[measure] or 1)
            rows.append({"measure": measure, "truth": name} | card.mean_interval(found, given.patients))
    return pd.DataFrame(rows)


MEASURES = (
    "insertion_auc",
    "insertion_auc_mean",
    "deletion_auc",
    "deletion_auc_blur",
    "removal_blur",
    "removal_mean",
    "lung_share",
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
                fit(run)
            tables.append(agreements(run, given.images).assign(network=run.name))
            print(tables[-1].to_string())
    print(pd.concat(tables).to_csv(index=False), time.time() - began)


if __name__ == "__main__":
    main()
