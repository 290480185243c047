"""Evidence on a run's explanations: the maps of all methods, their measures, and whether they repeat."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch
from scipy.special import expit
from tqdm.auto import tqdm

from ..config import files
from ..config.schema import Run
from ..data import regions
from ..models.classifier import load_model, to_input
from . import localisation, measures, scales
from .integrated import Attribution, batch_size, integrated_gradients, ready
from .methods import BASELINES, METHODS
from .sample import Sample, run_baseline
from .target import Evidence, explained

METHOD = "integrated_gradients"  # whose card it is
CONTROLS = ("random", "sobel", "centre", "other_patient")  # which know nothing of the network
CARD_METHODS = (
    METHOD,
    "xrai",
    "expected_gradients",
    "idgi",
    "guided_ig",
    "occlusion",
    "grad_cam",
)
# gradients per baseline where Integrated Gradients are computed again and again: ranks need no more
QUICK_GRADIENTS = 9
HEALTHY = 4  # baselines of expected gradients
LANDING = (METHOD, "occlusion", "sobel")  # in the gallery and on the landing page: two methods and a control
FILLS = {"blur": "", "mean": "_mean"}  # and what follows the names of measures with them
LESION_MEASURES = (localisation.pointing_game, localisation.relevance_mass, localisation.relevance_rank)
SHARE_MEASURED = 4  # one in so many images for the measures that call a method again


def integrate(model: Evidence, run: Run, sample: Sample) -> Attribution:
    """Return the Integrated Gradients of a sample, with the run's baseline, tolerance and cap."""
    how, start = run.explanation, run_baseline(run, sample.images)
    return integrated_gradients(model, sample.images, sample.targets, start, how.tolerance, how.max_gradients)


def baselines(model: Evidence, run: Run, sample: Sample) -> pd.DataFrame:
    """Return what a network says of each image that attributions could start from: a row per baseline.

    Columns: the mean probability of each class. A baseline should say nothing; one that is itself called a
    class cannot explain a call of that class.
    """
    rows = {}
    for name in BASELINES:
        start = run_baseline(run, sample.images, name).flatten(0, -4)
        with torch.inference_mode():
            logits = [model.logits(ready(model, each)).cpu() for each in start.split(batch_size(model))]
        rows[name] = torch.cat(logits).double().softmax(1).mean(0).tolist()
    return pd.DataFrame.from_dict(rows, orient="index", columns=run.study.classes)


def quick(run: Run, baseline: str | None = None, gradients: int = QUICK_GRADIENTS) -> measures.Method:
    """Return Integrated Gradients of few gradients, with the run's baseline or the one of that name."""

    def explain(model, images, targets):
        start = run_baseline(run, images, baseline)
        start = start[:, :HEALTHY] if start.ndim == 5 else start
        most = gradients * (start.shape[1] if start.ndim == 5 else 1)
        return integrated_gradients(model, images, targets, start, run.explanation.tolerance, most).maps

    return explain


def explain_all(
    model: Evidence, run: Run, sample: Sample, own: np.ndarray, names=(*CARD_METHODS, *CONTROLS)
) -> dict[str, np.ndarray]:
    """Return the maps (N, H, W) of methods and controls by name; ``own`` are METHOD's."""
    given, start = (sample.images, sample.targets), run_baseline(run, sample.images)
    maps, mean = {METHOD: own}, start.mean(dim=1) if start.ndim == 5 else start
    for name in tqdm(names, "explaining", unit="method", leave=False):
        if name == "expected_gradients":
            healthy = run_baseline(run, sample.images, "expected")[:, :HEALTHY]
            most = QUICK_GRADIENTS * healthy.shape[1]
            maps[name] = integrated_gradients(model, *given, healthy, max_gradients=most).maps
        elif name == "xrai":
            maps[name] = scales.xrai(own, sample.images[:, 0].numpy())
        elif name == "other_patient":
            maps[name] = own[others(sample)]
        elif name != METHOD:
            maps[name] = METHODS[name](model, *given, mean)
    return maps


def others(sample: Sample) -> np.ndarray:
    """Return for each image another patient's, of the same class explained where there is one."""
    rng, found = np.random.default_rng(0), []
    targets = np.asarray(sample.targets)
    for patient, target in zip(sample.patients, targets, strict=True):
        foreign = sample.patients != patient
        rows = np.flatnonzero(foreign & (targets == target))
        found.append(rng.choice(rows if len(rows) else np.flatnonzero(foreign)))
    return np.array(found)


def measure_all(model: Evidence, sample: Sample, maps: Mapping, every: int = 1) -> tuple[dict, dict]:
    """Return every measure (N,) of each map by name, and its curves with the blurred image as fill.

    Maps are compared at one grain: faithfulness by superpixels, places after smoothing. The measures that
    may not judge are computed on one image in ``every``, and NaN elsewhere.
    """
    areas, few = scales.superpixels(sample.images[:, 0].numpy()), slice(None, None, every)
    values, curves = {name: {} for name in maps}, {}
    for fill, suffix in FILLS.items():
        rows, fills = few if suffix else slice(None), measures.filled(sample.images, fill)
        asked = (sample.images[rows], {name: each[rows] for name, each in maps.items()}, sample.targets[rows])
        curves[fill] = measures.curves(model, *asked, areas[rows], fills[rows])
        asked = (areas[few], fills[few])
        removed = measures.removals(model, sample.images[few], sample.targets[few], *asked)
        for name, each in maps.items():
            found = {key: (rows, area) for key, area in curves[fill][name].areas().items()}
            found["removal"] = few, measures.removal_correlation(each[few], areas[few], removed)
            for key, (known, one) in found.items():
                values[name][key + suffix] = np.full(len(each), np.nan)
                values[name][key + suffix][known] = one
    return {name: own | places(maps[name], sample) for name, own in values.items()}, curves["blur"]


def places(maps, sample: Sample) -> dict[str, np.ndarray]:
    """Return where smoothed attributions lie; against lesions only for images classified correctly."""
    maps, values = scales.smoothed(maps), {}
    if sample.lungs is not None:
        values["lung_share"] = localisation.share_within(maps, sample.lungs)
    if sample.markers is not None:
        values["marker_share"] = localisation.share_within(maps, sample.markers)
    if sample.masks is not None:
        for measured in LESION_MEASURES:
            values[measured.__name__] = np.where(sample.right, measured(maps, sample.masks), np.nan)
    return values


def by_zone(sample: Sample, maps) -> pd.DataFrame | None:
    """Return what each lung zone contributes to the evidence, a row per image; None without lung masks."""
    if sample.lungs is None:
        return None
    found = scales.sums(maps, scales.zones(sample.lungs), len(scales.ZONES))
    return pd.DataFrame(found, columns=scales.ZONES)


def captions(found: Attribution, model: Evidence, sample: Sample) -> list[str]:
    """Return a caption for each image: the change explained, its gap, and what is said without the lungs."""
    texts = [
        f"{change:+.1f} log-odds, gap {gap:.1%}, {count} gradients"
        for change, gap, count in zip(found.difference, found.gap, found.gradients, strict=True)
    ]
    if sample.lungs is None:
        return texts
    grey = (255 * sample.images[:, 0]).round().byte().numpy()
    without = to_input(regions.parts(grey, sample.lungs, "lungs_removed", "inpainted"))
    odds = measures.answers(model, without, sample.targets)
    return [f"{text}\nwithout the lungs: {one:.2f}" for text, one in zip(texts, expit(odds), strict=True)]


def shown(images, maps, titles, captions, sample: Sample, zones) -> Callable[..., dict]:
    """Return a function from rows, and what to show otherwise, to the arguments of ``plots.cases``."""

    def arguments(rows, **more):
        parts = {"images": images, "titles": titles, "captions": np.asarray(captions)}
        found = {name: each[rows] for name, each in parts.items()} | {"maps": {METHOD: maps[rows]}}
        if zones is not None:
            found |= {"lungs": sample.lungs[rows], "zones": zones.loc[rows]}
        return found | more

    return arguments


def twins(run: Run) -> list[Run]:
    """Return the trained runs of the same study and recipe with another seed."""
    recipe = (run.model, run.training, run.augmentation)
    others = [files.load_run(run.study.name, name) for name in files.runs(run.study.name)]
    return [
        other
        for other in others
        if other.seed != run.seed
        and (other.model, other.training, other.augmentation) == recipe
        and (other.artifacts / "model").exists()
    ]


def repeats(model: Evidence, run: Run, sample: Sample, own: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Return how alike smoothed maps are when something changes: {change: {correlation: (N,)}}.

    Noise that no eye sees, another baseline, a network of the same recipe with another seed; and a network
    with random parameters, whose maps should be unlike. The edges of the image are the control: nothing
    changes them, so they do not depend on what was learnt.
    """
    given, method, found = (sample.images, sample.targets), quick(run), {}
    ways = {"": (method, own), " (edges)": (METHODS["sobel"], METHODS["sobel"](model, *given))}
    for control, way in ways.items():
        noise, nothing = measures.dependence(way[0], model, *given, way[1]).values()
        found |= {f"noise of 3 grey levels{control}": noise, f"nothing learnt{control}": nothing}
    smooth = scales.smoothed(own)
    for name in BASELINES:
        if name != run.explanation.baseline:
            other = quick(run, name)(model, *given)
            found[f"baseline {name}"] = measures.correlation(smooth, scales.smoothed(other))
    for twin in twins(run):
        other = method(explained(run, load_model(twin)), *given)
        found[f"network {twin.name}"] = measures.correlation(smooth, scales.smoothed(other))
    return {name: {"correlation": each} for name, each in found.items()}
