"""Evidence on a run's explanations: the maps of all methods, their measures, and whether they repeat."""

from collections.abc import Mapping

import numpy as np
from tqdm import tqdm

from ..config import files
from ..config.schema import Run
from ..models.classifier import load_model
from . import localisation, measures
from .integrated import Attribution, integrated_gradients
from .methods import METHODS
from .sample import Sample, run_baseline

CONTROLS = ("random", "sobel")  # which know nothing of the network
CARD_METHODS = (
    "integrated_gradients",
    "saliency",
    "gradient_x_input",
    "smoothgrad_ig",
    "grad_cam",
    "occlusion",
    *CONTROLS,
)
# gradients per baseline where Integrated Gradients are computed again and again: ranks need no more
QUICK_GRADIENTS = 17
BASELINES = ("black", "mean", "blur")  # whose agreement is measured
FILLS = ("blur", "mean")  # of insertion and of deletion, as in RISE
LESION_MEASURES = (localisation.pointing_game, localisation.relevance_mass, localisation.relevance_rank)
SHARE_MEASURED = 4  # one in so many images for the measures that call a method again and again


def integrate(model, run: Run, sample: Sample) -> Attribution:
    """Return the Integrated Gradients of a sample, with the run's baseline, tolerance and cap."""
    how, start = run.explanation, run_baseline(run, sample.images)
    return integrated_gradients(model, sample.images, sample.targets, start, how.tolerance, how.max_gradients)


def explainer(run: Run, name: str, baseline: str | None = None) -> measures.Method:
    """Return a method of the card, with the run's baseline or the one of that name.

    Integrated Gradients are quick ones, for the measures that call a method again and again; the maps that
    are measured come from ``integrate``, with its completeness.
    """

    def explain(model, images, targets):
        start = run_baseline(run, images, baseline)
        if name != "integrated_gradients":
            return METHODS[name](model, images, targets, mean_image(start))
        most = QUICK_GRADIENTS * (start.shape[1] if start.ndim == 5 else 1)
        return integrated_gradients(model, images, targets, start, run.explanation.tolerance, most).maps

    return explain


def explainers(run: Run) -> dict[str, measures.Method]:
    """Return the methods of the card by name."""
    return {name: explainer(run, name) for name in CARD_METHODS}


def mean_image(start):
    """Return a baseline as one image: the mean of several."""
    return start.mean(dim=1) if start.ndim == 5 else start


def explain_all(model, run: Run, sample: Sample, known: Mapping) -> dict[str, np.ndarray]:
    """Return the maps (N, H, W) of every method of the card for the sample; ``known`` ones are kept."""
    methods = tqdm(explainers(run).items(), desc="explaining", unit="method", leave=False)
    return {
        name: known[name] if name in known else method(model, sample.images, sample.targets)
        for name, method in methods
    }


def measure(model, method: measures.Method, sample: Sample, maps, exact: bool = False) -> tuple[dict, dict]:
    """Return all measures of one method by name, (N,) each, and by fill its curves of insertion and deletion.

    ``maps`` (N, H, W) are those of the method for the sample; ``exact`` says that they are better ones than
    the method's own, which sensitivity must not mix. Infidelity and the measures that call the method again
    (sensitivity, randomisation) are taken on one image in four, and NaN for the others.
    """
    curves = {fill: measures.curves(model, sample.images, maps, sample.targets, fill) for fill in FILLS}
    blur, mean = (curves[fill].areas() for fill in FILLS)
    values = {
        "insertion_auc": blur["insertion_auc"],
        "deletion_auc": mean["deletion_auc"],
        "insertion_auc_mean": mean["insertion_auc"],
        "deletion_auc_blur": blur["deletion_auc"],
        **places(maps, sample),
    }
    rows = np.arange(0, len(maps), SHARE_MEASURED)
    (images, targets, *_), own = sample.take(rows), maps[rows]
    repeated = {
        "infidelity": measures.infidelity(model, images, own, targets),
        "sensitivity_max": measures.sensitivity(method, model, images, targets, None if exact else own),
        "randomisation_spearman": measures.randomisation(method, model, images, targets, own),
    }
    for name, each in repeated.items():
        values[name] = np.full(len(maps), np.nan)
        values[name][rows] = each
    return values, curves


def places(maps, sample: Sample) -> dict[str, np.ndarray]:
    """Return where attributions lie; against lesions only for images that are classified correctly."""
    size = maps.shape[-1]
    values = {
        "frame_share": localisation.share_within(maps, localisation.frame(size)),
        "corner_share": localisation.share_within(maps, localisation.corners(size)),
    }
    if sample.markers is not None:
        values["marker_share"] = localisation.share_within(maps, sample.markers)
    if sample.masks is not None:
        for measured in LESION_MEASURES:
            values[measured.__name__] = np.where(sample.right, measured(maps, sample.masks), np.nan)
    return values


def measure_all(model, methods: Mapping, sample: Sample, maps: Mapping) -> tuple[dict, dict]:
    """Return measures and curves of every method, name to callable, given its maps by name."""
    bar, values, curves = tqdm(methods.items(), desc="measuring", unit="method", leave=False), {}, {}
    for name, method in bar:
        exact = name == "integrated_gradients"
        values[name], curves[name] = measure(model, method, sample, maps[name], exact)
    return values, curves


def rise_curves(curves: Mapping[str, Mapping[str, measures.Curves]]) -> dict[str, tuple]:
    """Return for each method shares (S,), insertion and deletion (N, S), with RISE's fill for each."""
    pairs = {name: [each[fill] for fill in FILLS] for name, each in curves.items()}
    return {name: (np.asarray(a.shares), a.insertion, b.deletion) for name, (a, b) in pairs.items()}


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


def agreement(model, run: Run, sample: Sample, maps: Mapping) -> dict[str, dict[str, np.ndarray]]:
    """Return how alike maps are when something changes that should not matter much.

    Integrated Gradients from another baseline, and of networks of the same recipe with another seed;
    SmoothGrad with other noise. ``maps`` has (N, H, W) of integrated_gradients and smoothgrad_ig. The result
    has what was changed to "spearman" and "top_overlap", (N,) each.
    """
    given = (sample.images, sample.targets)
    changed = {
        f"baseline {name}": explainer(run, "integrated_gradients", name)(model, *given)
        for name in BASELINES
        if name != run.explanation.baseline
    }
    noise = METHODS["smoothgrad_ig"](model, *given, mean_image(run_baseline(run, sample.images)), seed=1)
    changed["noise of SmoothGrad"] = noise
    for twin in twins(run):
        changed[f"network {twin.name}"] = explainer(run, "integrated_gradients")(load_model(twin), *given)
    found = {}
    for name, other in changed.items():
        own = maps["smoothgrad_ig" if name == "noise of SmoothGrad" else "integrated_gradients"]
        found[name] = {
            "spearman": localisation.spearman(own, other),
            "top_overlap": localisation.top_overlap(own, other),
        }
    return found
