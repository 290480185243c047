"""What a network's answers depend on: parts removed from its inputs, markers, and changes nobody sees."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from joblib import Memory

from ..config import freshness
from ..config.provenance import read_json
from ..config.schema import Run, Study
from ..data import markers, regions
from ..data.archive import DataError
from ..data.changes import CHANGES
from ..data.lungs import load_lungs
from ..data.records import load_images, load_records
from ..evaluation.comparison import with_interval
from ..evaluation.regions import SCORES, by_input, moved
from ..models import kept, prediction
from ..models.classifier import Classifier, answers, load_model
from .target import fused

RESAMPLES = 1000  # of patients
TITLES = {
    "auroc_pneumonia": "AUROC, pneumonia",
    "auroc_bacteria_vs_virus": "AUROC, bacteria or virus",
    "f1_weighted": "weighted F1",
}


class Tested(NamedTuple):
    """The test radiographs of a study that have a lung mask, by path."""

    records: pd.DataFrame
    images: np.ndarray  # (N, H, W) uint8
    masks: np.ndarray  # (N, H, W) bool, the lungs
    missing: int  # test radiographs without a mask


def load(run: Run) -> Tested:
    """Return the test radiographs with a lung mask, or `evaluation.altered` of them drawn at random.

    Raises DataError if the study has no masks.
    """
    records = load_records(run.study)
    records = records[records.split == "test"].sort_values("path")
    lungs = load_lungs(run.study, records)
    if lungs is None:
        raise DataError(f"study {run.study.name} has no lung masks: set MASKS to a zip or folder of them")
    rows = np.flatnonzero(lungs.known)
    if run.evaluation.altered and run.evaluation.altered < len(rows):
        rows = np.sort(np.random.default_rng(run.seed).choice(rows, run.evaluation.altered, replace=False))
    records = records.iloc[rows].reset_index(drop=True)
    images = load_images(run.study)[records.row.to_numpy()]
    return Tested(records, images, lungs.masks[rows], int((~lungs.known).sum()))


def examples(tested: Tested) -> tuple[list[np.ndarray], list[str]]:
    """Return each input of the radiograph with the median lung area, one fill after the other, and titles."""
    middle = np.argsort(tested.masks.mean((1, 2)))[len(tested.masks) // 2]
    image, mask = tested.images[middle], tested.masks[middle]
    shown = [regions.part(image, mask, name, fill) for fill in regions.FILLS for name in regions.INPUTS]
    return shown, [name.replace("_", " ") for name in regions.INPUTS] * len(regions.FILLS)


def results(run: Run, tested: Tested) -> dict:
    """Return what `measured` does, or what regions.json has, with its provenance, if nothing has changed."""
    kept.check_recipe(run)
    if prediction.regions_are_kept(run):
        return read_json(run.reports / prediction.REGIONS)
    return measured(run, tested) | {"key": prediction.regions_key(run)}


def measured(run: Run, tested: Tested) -> dict:
    """Return the results of a run's network: n, patients, scores by fill (inputs: mean) and changes."""
    network = fused(load_model(run))
    whole = answers(network, tested.images, run.evaluation.flip)
    scores = region_test(run, network, tested, whole)
    changes = small_changes(run, network, tested, whole).to_dict("records")
    found = {"n": len(tested.records), "patients": tested.records.patient.nunique()}
    return found | {"inputs": scores["mean"], "inpainted": scores["inpainted"], "changes": changes}


def region_test(run: Run, network: Classifier, tested: Tested, whole: np.ndarray) -> dict[str, dict]:
    """Return a network's scores on each input, as `evaluation.regions.by_input` does, by the fill's name.

    ``whole`` are its answers to the unchanged images.
    """
    labels = pd.Index(run.study.classes).get_indexer(tested.records.label)
    patients, found, result = tested.records.patient, {"whole": whole}, {}
    for fill in regions.FILLS:
        for name in regions.INPUTS:
            if name not in found or name not in regions.UNFILLED:
                parts = _parts(run.study, tested, name, fill)
                found[name] = answers(network, parts, run.evaluation.flip)
        result[fill] = by_input(labels, found, run.study.classes, patients, RESAMPLES, run.seed)
    return result


def _parts(study: Study, tested: Tested, name: str, fill: str) -> np.ndarray:
    """Return ``regions.parts`` of the test radiographs, which the runs of a study share: kept on disk."""
    code = freshness.of_function("xnn.data.regions", "parts").sha256
    memory = Memory(study.artifacts / "parts" / code[:12], mmap_mode="r", verbose=0)
    return memory.cache(regions.parts)(tested.images, tested.masks, name, fill)


def small_changes(run: Run, network: Classifier, tested: Tested, before: np.ndarray) -> pd.DataFrame:
    """Return how far each of CHANGES, and each change of the side marker, moves the answers from `before`.

    Columns change, n, changed and shift, as from `evaluation.regions.moved`. A marker is removed or moved to
    the mirrored place where one is found, and pasted from another radiograph where none is.
    """
    patients, table = tested.records.patient.to_numpy(), []
    for name, rows, images in _changes(tested, np.random.default_rng(run.seed)):
        after = answers(network, images, run.evaluation.flip)
        found = moved(before[rows], after, patients[rows], RESAMPLES, run.seed)
        table.append({"change": name, "n": len(rows)} | found)
    return pd.DataFrame(table)


def _changes(tested: Tested, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield the name of each change, the rows that it applies to, and their changed images."""
    _, images, masks, _ = tested
    for name, change in CHANGES.items():
        yield name, np.arange(len(images)), np.stack([change(image, rng) for image in images])
    found = np.stack([markers.find_marker(*pair) for pair in zip(images, masks, strict=True)])
    has, lacks = (np.flatnonzero(found.any((1, 2)) == known) for known in (True, False))
    if len(has):
        yield "marker removed", has, np.stack([markers.without(images[i], found[i]) for i in has])
        yield "marker on the other side", has, np.stack([markers.moved(images[i], found[i]) for i in has])
    if len(has) and len(lacks):
        pairs = zip(lacks, rng.choice(has, len(lacks)), strict=True)
        pasted = [markers.pasted(images[i], images[j], found[j] & ~masks[i]) for i, j in pairs]
        yield "marker pasted from another radiograph", lacks, np.stack(pasted)


# ---- shown on the page ---------------------------------------------------------------------------


def by_fill(found: dict) -> dict[str, dict]:
    """Return the scores that `region_test` gave, of `results`."""
    return {"mean": found["inputs"], "inpainted": found["inpainted"]}


def table(found: dict[str, dict]) -> pd.DataFrame:
    """Return the scores of `region_test` with intervals, one row per input and fill."""
    rows = []
    for fill, inputs in found.items():
        for name, scores in inputs.items():
            if name in regions.UNFILLED and fill != regions.FILLS[0]:
                continue
            row = {"input": name.replace("_", " "), "filled with": "" if name in regions.UNFILLED else fill}
            row |= {TITLES[score]: with_interval(each) for score, each in scores.items()}
            rows.append(row | {"change of the F1": with_interval(scores["f1_weighted"]["difference"])})
    return pd.DataFrame(rows).set_index("input")


def main_score(found: dict[str, dict]) -> str:
    """Return the first of SCORES that the study's classes have."""
    return next(name for name in SCORES if name in found[regions.FILLS[0]]["whole"])


def by_score(found: dict[str, dict], score: str) -> dict[str, pd.DataFrame]:
    """Return one score by input for each fill: tables with columns input, value, low and high."""
    return {
        fill: pd.DataFrame(
            [{"input": name, **scores[score]} for name, scores in inputs.items()],
            columns=["input", "value", "low", "high"],
        )
        for fill, inputs in found.items()
    }


def shown(changes: list[dict]) -> pd.DataFrame:
    """Return the rows of `small_changes` as they are read: percentages and nats with intervals."""
    changes = pd.DataFrame(changes)
    percent = "{value:.1%} ({low:.1%} to {high:.1%})".format_map
    nats = "{value:.2f} ({low:.2f} to {high:.2f})".format_map
    return pd.DataFrame(
        {
            "change": changes.change,
            "radiographs": changes.n,
            "predicted class changed": changes.changed.map(percent),
            "shift of the log-odds (nats)": changes["shift"].map(nats),
        }
    ).set_index("change")
