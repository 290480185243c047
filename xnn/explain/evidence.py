"""Evidence about a model's explanations: the methods of a run, their maps, and all measures of those."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ..config import files
from ..config.schema import Run
from ..models.classifier import load_model
from . import localisation, measures
from .integrated import Attribution, integrated_gradients
from .methods import METHODS
from .sample import Sample, baseline

FLOORS = ("random", "sobel")  # they know nothing: of chance, and of the network
NAMES = (
    "integrated_gradients",
    "saliency",
    "gradient_x_input",
    "smoothgrad_ig",
    "grad_cam",
    "occlusion",
    *FLOORS,
)
# gradients a baseline where Integrated Gradients are computed again and again: ranks need no more
REPEATED = 17
BASELINES = ("black", "mean", "blur")  # whose agreement is looked at
FILLS = ("blur", "mean")
SHARE_MEASURED = 4  # one in so many images for the measures that call a method again and again


class Measured(NamedTuple):
    """What was measured of one method: one number an image, NaN where undefined."""

    values: dict[str, np.ndarray]  # measure to (N,)
    curves: dict[str, measures.Curves]  # fill to the curves of insertion and deletion


# ---- explaining ---------------------------------------------------------------------------------


def integrate(model, run: Run, sample: Sample) -> Attribution:
    """Integrated Gradients of a sample as the run's parameters ask for them: baseline, tolerance, cap."""
    how, start = run.explanation, baseline(run, sample.images)
    return integrated_gradients(model, sample.images, sample.targets, start, how.tolerance, how.max_gradients)


def explainers(run: Run, names=NAMES) -> dict[str, measures.Method]:
    """The methods of the card by name, with the run's baseline.

    Integrated Gradients are the quick ones of the measures that call a method again and again; the maps
    that are measured come from ``integrated_gradients`` itself, with its completeness.
    """
    return {name: _quick(run) if name == "integrated_gradients" else _bound(name, run) for name in names}


def _quick(run, name=None):
    def explain(model, images, targets):
        start = baseline(run, images, name)
        count = start.shape[1] if start.ndim == 5 else 1
        how = run.explanation
        return integrated_gradients(model, images, targets, start, how.tolerance, REPEATED * count).maps

    return explain


def _bound(name, run):
    def explain(model, images, targets):
        return METHODS[name](model, images, targets, single(baseline(run, images)))

    return explain


def single(start):
    """A baseline as one image: of several, their mean."""
    return start.mean(dim=1) if start.ndim == 5 else start


def explain_all(
    model, run: Run, sample: Sample, known: Mapping = MappingProxyType({})
) -> dict[str, np.ndarray]:
    """Maps (N, H, W) of every method of the card for the sample; ``known`` are not computed again."""
    bar = tqdm(explainers(run).items(), desc="explaining", unit="method", leave=False)
    return {
        name: known[name] if name in known else method(model, sample.images, sample.targets)
        for name, method in bar
    }


# ---- measuring ----------------------------------------------------------------------------------


def measure(model, method: measures.Method, sample: Sample, maps, exact: bool = False) -> Measured:
    """All measures of one method, whose maps (N, H, W) of the sample are given.

    ``exact`` says that they are better ones than the method's own, which sensitivity must not mix.
    The measures that call the method again (sensitivity, randomisation) and infidelity are taken of
    one image in four; the others have NaN there.
    """
    found = {fill: measures.curves(model, sample.images, maps, sample.targets, fill) for fill in FILLS}
    values = _areas(found) | places(maps, sample)
    rows = np.arange(0, len(maps), SHARE_MEASURED)
    for name, few in _asked_again(model, method, sample.take(rows), maps[rows], exact).items():
        values[name] = np.full(len(maps), np.nan)
        values[name][rows] = few
    return Measured(values, found)


def _areas(found):
    """RISE's pair, insertion into the blurred image and deletion to grey, and the same the other way."""
    blur, mean = (found[fill].areas() for fill in FILLS)
    return {
        "insertion_auc": blur["insertion_auc"],
        "deletion_auc": mean["deletion_auc"],
        "insertion_auc_mean": mean["insertion_auc"],
        "deletion_auc_blur": blur["deletion_auc"],
    }


def _asked_again(model, method, sample, maps, exact):
    asked = (sample.images, sample.targets)
    return {
        "infidelity": measures.infidelity(model, sample.images, maps, sample.targets),
        "sensitivity_max": measures.sensitivity(method, model, *asked, None if exact else maps),
        "randomisation_spearman": measures.randomisation(method, model, *asked, maps),
    }


def places(maps, sample):
    """Where the attribution lies; against lesions only where the network names one rightly."""
    size = maps.shape[-1]
    values = {
        "frame_share": localisation.share_within(maps, localisation.frame(size)),
        "corner_share": localisation.share_within(maps, localisation.corners(size)),
    }
    if sample.markers is not None:
        values["marker_share"] = localisation.share_within(maps, sample.markers)
    if sample.masks is not None:
        for name in ("pointing_game", "relevance_mass", "relevance_rank"):
            found = getattr(localisation, name)(maps, sample.masks)
            values[name] = np.where(sample.right, found, np.nan)
    return values


def measure_all(model, methods: Mapping, sample: Sample, maps: Mapping) -> dict[str, Measured]:
    """``measure`` of every method, name to callable, given its maps by name, with a line of progress."""
    bar = tqdm(methods.items(), desc="measuring", unit="method", leave=False)
    found = {}
    for name, method in bar:
        bar.set_postfix_str(name)
        found[name] = measure(model, method, sample, maps[name], exact=name == "integrated_gradients")
    return found


def rise_curves(measured: Mapping[str, Measured], fill: tuple[str, str] = FILLS) -> dict[str, tuple]:
    """Method to shares (S,), insertion and deletion (N, S) with the fill that RISE has for each."""
    return {
        name: (
            np.asarray(each.curves[fill[0]].shares),
            each.curves[fill[0]].insertion,
            each.curves[fill[1]].deletion,
        )
        for name, each in measured.items()
    }


# ---- agreement ----------------------------------------------------------------------------------


def twins(run: Run) -> list[Run]:
    """Trained runs of the same study and recipe with another seed."""
    recipe = (run.model, run.training, run.augmentation)
    others = [files.load_run(run.study.name, name) for name in files.runs(run.study.name)]
    return [
        other
        for other in others
        if other.seed != run.seed
        and (other.model, other.training, other.augmentation) == recipe
        and (other.artifacts / "model").exists()
    ]


def agreement(model, run: Run, sample: Sample, maps: Mapping) -> dict[str, dict[str, np.ndarray]]:
    """How alike maps are when something changes that should not matter much.

    Integrated Gradients with another baseline, and of networks of the same recipe with another seed;
    SmoothGrad with other noise.

    Parameters
    ----------
    maps : method to (N, H, W), of integrated_gradients and smoothgrad_ig.

    Returns
    -------
    what was changed to {"spearman", "top_overlap"}, (N,) each.
    """
    asked = (sample.images, sample.targets)
    own = maps["integrated_gradients"]
    pairs = {
        f"baseline {name}": (own, _quick(run, name)(model, *asked))
        for name in BASELINES
        if name != run.explanation.baseline
    }
    noise = METHODS["smoothgrad_ig"](model, *asked, single(baseline(run, sample.images)), seed=1)
    pairs["noise of SmoothGrad"] = (maps["smoothgrad_ig"], noise)
    for twin in twins(run):
        pairs[f"network {twin.name}"] = (own, _quick(run)(load_model(twin), *asked))
    return {
        name: {"spearman": localisation.spearman(*pair), "top_overlap": localisation.top_overlap(*pair)}
        for name, pair in pairs.items()
    }
