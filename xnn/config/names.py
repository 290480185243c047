"""Words for studies, runs and scores: names that are shown in place of identifiers, and summaries."""

import functools
import re

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
WORDS = {
    "auroc": "AUROC",
    "auc": "AUC",
    "f1": "F1",
    "ece": "calibration error",
    "nll": "log loss",
    "sd": "standard deviation",
    "lr": "learning rate",
    "val": "validation",
    "real": "exceeds chance",
    "n": "images",
    "sha256": "SHA-256",
}
AVERAGED = re.compile(r"^(f1|average precision) (weighted|macro|micro)$")
OF_CLASS = re.compile(
    r"^(auroc|accuracy|sensitivity|specificity|recall|precision|average precision) (?!for )"
)
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
            return subject.title[0].upper() + subject.title[1:]
    return of_study(subject)


def in_words(text: str) -> str:
    """Return an identifier in words: ``auroc_pneumonia`` is AUROC for pneumonia."""
    words = OF_CLASS.sub(r"\1 for ", AVERAGED.sub(r"\2 \1", text.replace("_", " ")))
    return " ".join(WORDS.get(word, word) for word in words.split(" "))


def summary(subject: Study | Run | Sweep) -> str:
    """Return Markdown that pages open with: whether the data is real, the study, and the run or the sweep."""
    if isinstance(subject, Run):
        line = f"Run `{subject.name}`: {subject.model.backbone}, {subject.model.regime}. {subject.note}"
        return f"{summary(subject.study)}\n\n{line.rstrip()}"
    if isinstance(subject, Sweep):
        keys = ", ".join(f"`{key}`" for key in subject.varied)
        line = f"Sweep `{subject.name}`: {subject.title}. Runs like `{subject.base}`, with other values of"
        return f"{summary(subject.base_run.study)}\n\n{line} {keys}."
    if subject.synthetic:
        kind = "**Synthetic data.** Every radiograph of this study is a drawn phantom, not a patient."
    else:
        kind = f"**Real radiographs.** {subject.archive.attribution}".strip()
    split = "publishers' split" if subject.split == "official" else f"split by {subject.split}"
    size = f"{subject.image_size} x {subject.image_size} pixels"
    return f"{kind} Study `{subject.name}`: {subject.title}; {split}, {size}, seed {subject.seed}."
