"""Scores on the publishers' test split: single runs, averaged networks and adapted batch statistics.

The adapted networks take their batch statistics from the unlabelled test images (adaptive batch
normalisation, Li et al. 2017, arXiv 1603.04779). They see all test images at once, so their scores show how
far the test split differs from training; they are not scores of a classifier that sees one image at a time.

    python benchmarks/official.py --study kermany-official
"""

import argparse

import numpy as np
import pandas as pd
import torch
from torch import nn

from xnn import load_images, load_model, load_records, load_run, load_study, runs, to_input
from xnn.evaluation.intervals import confidence_intervals
from xnn.evaluation.predictions import positions, read
from xnn.models.classifier import Classifier, logits, probabilities

BATCH = 64  # images per batch of statistics
SHARES = (0.5, 1.0)  # weight of the test images' statistics; the rest is training's
SCORES = {
    "accuracy": "accuracy",
    "macro F1": "f1_macro",
    "AUROC, pneumonia": "auroc_pneumonia",
    "sensitivity": "sensitivity_pneumonia",
    "specificity": "specificity_pneumonia",
    "AUROC, bacteria or virus": "auroc_bacteria_vs_virus",
}


@torch.no_grad()
def adapt(model: Classifier, images: np.ndarray, share: float, seed: int = 0) -> Classifier:
    """Return the model with its batch statistics moved by `share` from training's to those of `images`."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    before = [(layer.running_mean.clone(), layer.running_var.clone()) for layer in layers]
    model.eval()
    for layer in layers:
        layer.train().reset_running_stats()
        layer.momentum = None  # the mean over all batches
    order = np.random.default_rng(seed).permutation(len(images))
    for start in range(0, len(images) - BATCH + 1, BATCH):
        model(to_input(images[order[start : start + BATCH]]))
    for layer, (mean, variance) in zip(layers, before, strict=True):
        layer.running_mean.lerp_(mean, 1 - share)
        layer.running_var.lerp_(variance, 1 - share)
    return model.eval()


def row(table: pd.DataFrame, asked: np.ndarray, classes: list[str]) -> str:
    """Return the scores with intervals as cells of a Markdown row."""
    found = confidence_intervals(positions(table, classes), asked, classes, table.patient)
    cells = [found[score] for score in SCORES.values()]
    return " | ".join(f"{c['value']:.3f} ({c['low']:.3f} to {c['high']:.3f})" for c in cells)


def answer(accuracy: pd.Series) -> str:
    return (
        f"Over {len(accuracy)} attempts on the same images, accuracy ranges from {accuracy.min():.3f} "
        f"({accuracy.idxmin()}) to {accuracy.max():.3f} ({accuracy.idxmax()})."
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--study", default="kermany-official")
    study = load_study(parser.parse_args().study)
    records = load_records(study)
    test = records[records.split == "test"].sort_values("path", ignore_index=True)
    images = load_images(study)[test.row.to_numpy()]
    found = {}  # attempt: probabilities (N, C)
    made = [name for name in runs(study.name) if (study.reports / name / "predictions.csv").exists()]
    for name in made:
        table = read(study.reports / name / "predictions.csv")
        found[name] = table[study.classes].to_numpy()
    whole = [name for name in made if load_run(study.name, name).model.train == "all"]
    found[f"mean of {len(whole)} networks (all layers trained)"] = np.mean([found[n] for n in whole], axis=0)
    for share in SHARES:
        title = f"with {share:.0%} of the test images' batch statistics"
        adapted = []
        for name in whole:
            run = load_run(study.name, name)
            model = adapt(load_model(run), images, share)
            adapted.append(probabilities(logits(model, images, run.evaluation.flip)))
            found[f"{name}, {title}"] = adapted[-1]
        found[f"mean of {len(whole)} networks, each {title}"] = np.mean(adapted, axis=0)
    patients = test.patient.nunique()
    cells = {name: row(test, asked, study.classes) for name, asked in found.items()}
    accuracy = pd.Series({name: float(text.split()[0]) for name, text in cells.items()})
    print(f"# What moves the scores on the publishers' own test?\n\n{answer(accuracy)}\n")
    print(f"Output of `python benchmarks/official.py --study {study.name}`, which describes the method.\n")
    print(
        f"{len(test)} test images of {patients} patients, with 95 % intervals by bootstrap over patients. "
        f"The highest of {len(found)} attempts on one test is partly luck.\n"
    )
    print(f"| what | {' | '.join(SCORES)} |\n| --- |{' --- |' * len(SCORES)}")
    for name, text in cells.items():
        print(f"| {name} | {text} |")


if __name__ == "__main__":
    main()
