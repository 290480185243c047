"""Do maps repeat with another seed, or at another resolution? From trained runs that differ in these alone.

Integrated Gradients of few gradients, with the runs' baseline, of test images drawn at random, one class of
each for all networks: the one that is most probable on average over them. Networks of any resolution take the
radiographs of the study, so all maps have its pixels. Two maps are compared by their correlation after
smoothing, and by that of their sums over superpixels; means over pairs of networks, with 95 % intervals by
bootstrap over patients. Controls of the same grain: the same network's map of another patient for the same
class, and the edges of the image, which no network has a part in. As a yardstick the first network's map is
compared with its own, integrated to the run's tolerance.

    python benchmarks/stability.py > benchmarks/stability.md  # and the numbers to benchmarks/stability.json
"""

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax

from xnn import load_model, load_run
from xnn.config import provenance
from xnn.config.schema import Run
from xnn.data.regions import load_seen
from xnn.evaluation.comparison import markdown, recipe, signed, with_interval
from xnn.explain import card, evidence, measures, scales, target
from xnn.explain.methods import METHODS
from xnn.explain.sample import Sample
from xnn.models.classifier import logits, to_input

RUNS = tuple(
    f"sweeps/kermany-sizes/image_size-{side}_seed-{seed}"
    for side, seed in itertools.product((112, 224), (0, 1))
)
SEED, ACROSS = "another seed", "another resolution"
PATIENT, EDGES, FINE = "another patient's map", "edges of the image", "nothing, but finer integration"
GRAINS = ("smoothed", "superpixels")


def size(run: Run) -> int:
    """Return the side in pixels at which a run's network sees a radiograph."""
    return run.model.image_size or run.study.image_size


def draw(runs: list[Run], images: int, seed: int = 0) -> Sample:
    """Return test images drawn at random, and the class of each that the networks find most probable.

    Raises ValueError for runs that differ in more than seed and resolution, or in nothing.
    """
    alike = {(run.study.name, recipe(run, "seed", "model.image_size")) for run in runs}
    if len(alike) > 1 or len({(run.seed, size(run)) for run in runs}) < len(runs):
        raise ValueError("the runs must differ in seed or resolution, and in nothing else")
    study = runs[0].study
    records, store = load_seen(study, runs[0].model.region)
    test = records[records.split == "test"].sort_values("path")
    test = test.sample(min(images, len(test)), random_state=seed)
    grey = store[test.row.to_numpy()]
    found = [softmax(logits(load_model(run), grey, run.evaluation.flip), axis=1) for run in runs]
    targets = np.mean(found, axis=0).argmax(1)
    right = targets == test.label.map(study.classes.index)
    return Sample(to_input(grey), torch.as_tensor(targets), test.patient.to_numpy(), right.to_numpy())


def explain(run: Run, sample: Sample, fine: bool = False) -> np.ndarray:
    """Return a run's maps (N, H, W) of a sample, of few gradients or to the run's tolerance."""
    model = target.explained(run, load_model(run))
    if fine:
        return evidence.integrate(model, run, sample).maps
    return evidence.quick(run)(model, sample.images, sample.targets)


def by_superpixel(areas: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a function from two stacks of maps to the correlation of their sums over areas (N, H, W)."""
    counts = areas.max((1, 2)) + 1

    def correlation(one, two):
        pairs = zip(scales.sums(one, areas), scales.sums(two, areas), counts, strict=True)
        return np.concatenate(
            [measures.correlation(a[None, :count], b[None, :count]) for a, b, count in pairs]
        )

    return correlation


def compare(runs: list[Run], maps: list[np.ndarray], fine: np.ndarray, sample: Sample) -> dict[str, dict]:
    """Return how alike maps are: {what differs: {grain: (N,)}}, means over pairs of networks.

    `fine` are the first run's maps again, integrated more finely.
    """
    edges = METHODS["sobel"](None, sample.images, sample.targets)
    areas, other = scales.superpixels(sample.images[:, 0].numpy()), evidence.others(sample)
    smooth = [scales.smoothed(each) for each in (*maps, fine, edges)]
    ways = {
        "smoothed": (smooth, measures.correlation),
        "superpixels": ([*maps, fine, edges], by_superpixel(areas)),
    }
    found = {}
    for grain, ((*each, finer, outline), correlation) in ways.items():
        pairs = [(FINE, each[0], finer)]
        for (one, first), (two, second) in itertools.combinations(zip(runs, each, strict=True), 2):
            same = size(one) == size(two)
            pairs.append((f"{SEED}, {size(one)} px" if same else ACROSS, first, second))
        pairs += [(PATIENT, own, own[other]) for own in each] + [(EDGES, own, outline) for own in each]
        for name, first, second in pairs:
            found.setdefault(name, {}).setdefault(grain, []).append(correlation(first, second))
    return {name: {grain: np.mean(v, axis=0) for grain, v in own.items()} for name, own in found.items()}


def margins(found: dict[str, dict], patients, against: str | None = None) -> pd.DataFrame:
    """Return by how much maps of two networks are more alike than each control, image by image.

    Or, where resolutions differ, than those `against` which differ in their seed alone.
    """
    names = [name for name in found if name.startswith((SEED, ACROSS))]
    pairs = [(name, control) for name in names for control in (PATIENT, EDGES)]
    if against:
        pairs = [(ACROSS, name) for name in names if name.startswith(against) and ACROSS in found]
    gains = {
        f"{name}, against {other}": {grain: found[name][grain] - found[other][grain] for grain in GRAINS}
        for name, other in pairs
    }
    return card.table(gains, patients, questions=len(gains) * len(GRAINS))


PRETRAINED = """ They start from the same pretrained weights: another seed
changes the new layers' first values, the order of the images and their augmentation."""
PAGE = """# Do maps repeat with another seed or at another resolution?

**Answer.** {answer}

Output of `{command}`, which describes the method.

Runs: {runs}. {n} test images of {patients} patients; for {right} of them the class explained is that of the
label. The table has the correlation of two maps of an image, 1 if they are the same, 0 if they have nothing
in common, with 95 % intervals over patients.

{table}
Image by image, by how much two networks' maps are more alike than the controls (intervals corrected for the
number of differences):

{margins}
Chests resemble each other, and so may maps of different patients: a correlation says nothing without the
controls. Networks that differ in their seed would have the same maps if these depended on the data alone;
what is missing to 1 is chance in training.{pretrained}
{resolution}

{device}.
"""


def wide(table: pd.DataFrame, how: Callable[[dict], str], first: str) -> str:
    """Return a table of `card.table` as Markdown, a column per grain."""
    cells = table.assign(cell=[how(row._asdict()) for row in table.itertuples(index=False)])
    cells = cells.pivot_table("cell", "method", "measure", "first", sort=False)[list(GRAINS)]
    return markdown(cells.rename_axis(first).reset_index())


def report(runs: list[Run], sample: Sample, found: dict, command: str) -> tuple[str, dict]:
    """Return the page, and the numbers in it as {what differs: {grain: score}}."""
    table, against = card.table(found, sample.patients), margins(found, sample.patients)
    beyond = against.low > 0
    ends = table[table.measure == GRAINS[1]].set_index("method").apply(with_interval, axis=1)
    told = "; ".join(f"with {name} {ends[name]}" for name in ends.index if name.startswith((SEED, ACROSS)))
    coarser, resolution = None, ""
    if ACROSS in found:
        coarser = margins(found, sample.patients, SEED)
        resolution = (
            f"\nAnother resolution compared with another seed:\n\n{wide(coarser, signed, 'more alike')}"
        )
    verdict = "Yes, more than controls" if beyond.all() else "Only in part" if beyond.any() else "No"
    answer = (
        f"{verdict}. Sums over superpixels correlate {told}; with {PATIENT} {ends[PATIENT]}, with the "
        f"{EDGES} {ends[EDGES]}. Maps of two networks are more alike than a control in {beyond.sum()} of "
        f"{len(against)} comparisons, beyond chance."
    )
    page = PAGE.format(
        answer=answer,
        command=command,
        runs=", ".join(f"`{run.name}` ({size(run)} px)" for run in runs),
        n=len(sample.images),
        patients=len(np.unique(sample.patients)),
        right=sample.right.sum(),
        table=wide(table, with_interval, "what differs"),
        margins=wide(against, signed, "more alike"),
        pretrained="" if runs[0].model.weights == "none" else PRETRAINED,
        resolution=resolution,
        device=provenance.device(),
    )
    return page, card.as_json(pd.concat([table, against, coarser]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--study", default="kermany")
    parser.add_argument("--runs", nargs="+", default=RUNS)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    given = parser.parse_args()
    runs = [load_run(given.study, name) for name in given.runs]
    sample = draw(runs, given.images)
    maps, fine = [explain(run, sample) for run in runs], explain(runs[0], sample, fine=True)
    found = compare(runs, maps, fine, sample)
    page, numbers = report(runs, sample, found, f"python benchmarks/stability.py --images {given.images}")
    provenance.write_json(numbers, given.json)
    print(page, end="")


if __name__ == "__main__":
    main()
