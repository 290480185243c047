"""Readable names of studies and runs, which figures and the site show in place of those of their files."""

import functools

from . import files
from .schema import Run, Study
from .sweep import Sweep

SPLITS = {
    "patient": "Patients apart",
    "official": "Publishers' test",
    "image": "Images split at random",
}
BACKBONES = {
    "mobilenet_v2": "MobileNetV2",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "convnextv2": "ConvNeXtV2",
    "timm/tf_efficientnet_lite0": "EfficientNet-Lite0",
}
REGIMES = {"full": "all layers", "fine-tuning": "last layers", "feature extraction": "head only"}


@functools.cache
def compared() -> frozenset[str]:
    """Return the studies of which one is compared with the others: they differ in their splits."""
    studies = map(files.load_study, files.studies())
    return frozenset(
        name for each in studies if each.compare_with for name in (each.name, *each.compare_with)
    )


def of_study(study: Study) -> str:
    """Return what a study is: drawn, or its split if others split the same radiographs, or its title."""
    if study.synthetic:
        return "Drawn phantoms" + (", planted marker" if study.marker == "class" else "")
    return SPLITS[study.split] if study.name in compared() else study.title[0].upper() + study.title[1:]


def of_run(run: Run, seed: bool = True) -> str:
    """Return backbone, trained layers and what else sets a run apart, with its seed if that is not 0."""
    start = run
    while start.model.start_from:
        start = files.load_run(start.study.name, start.model.start_from)
    model, training = run.model, run.training
    features = {
        REGIMES.get(model.regime, model.regime): True,
        "random start": start.model.weights == "none",
        model.region.replace("_", " "): model.region != "whole",
        f"{model.image_size} px": model.image_size,
        "class weights": training.class_weights,
        "mix-up": training.mixup,
        "TrivialAugment": run.augmentation.trivial,
        "robust views": run.augmentation.low_pass,
        f"seed {run.seed}": seed and run.seed,
    }
    if run.name.startswith("sweeps/"):
        features[run.name.rpartition("/")[2]] = True
    words = [word for word, holds in features.items() if holds]
    return f"{BACKBONES.get(model.backbone, model.backbone)}, {', '.join(words)}"


def of(subject: Study | Run | Sweep) -> str:
    """Return the name of what a page is about."""
    match subject:
        case Run():
            return of_run(subject)
        case Sweep():
            return f"Sweep: {subject.title}"
    return of_study(subject)
