"""The test images that are explained: a few to be shown, and those that the card's measures are taken of."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from ..config.schema import Run
from ..data.records import load_images, load_markers, load_masks, load_records
from ..evaluation import curves
from ..models.classifier import to_input
from . import attribution

TRAINING_IMAGES = 200  # whose mean is the baseline "mean"
HEALTHY = 8  # training images that expected gradients start from


class Sample(NamedTuple):
    """Images, the class asked about, and what is known of them; N rows each."""

    images: torch.Tensor  # (N, 3, H, W) float in [0, 1]
    targets: torch.Tensor  # (N,) int
    patients: np.ndarray  # (N,)
    right: np.ndarray  # (N,) bool, the target is the true class
    masks: np.ndarray | None = None  # (N, H, W) bool, the lesions; None where they are not known
    markers: np.ndarray | None = None  # (N, H, W) bool

    def take(self, rows) -> "Sample":
        """The rows asked for."""
        return Sample(*(None if part is None else part[rows] for part in self))


def draw(predictions: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Draw test images at random: for the card by class, and for showing right and wrong ones.

    Both come from one shuffle, so that an image shown is measured where it can be.

    Returns
    -------
    Rows of ``attribution.cases``, and the columns shown (``explanation.images`` a class, right and wrong
    each, where there are so many), measured (``explanation.measured`` in all, each class with its share
    of the test split, at least one) and surest (the most confident mistake of each kind, not drawn).
    """
    classes, how = run.study.classes, run.explanation
    table = attribution.cases(predictions, classes, len(predictions), run.seed)
    table = table.sort_values("path").sample(frac=1, random_state=run.seed)
    share = table.label.map(table.label.value_counts(normalize=True))
    wanted = (how.measured * share).round().clip(lower=1)
    table["measured"] = table.groupby("label").cumcount() < wanted
    table["shown"] = table.groupby(["label", "right"]).cumcount() < how.images
    table["surest"] = table.path.isin(curves.mistakes(predictions, classes, 1).path)
    kept = table[table.measured | table.shown | table.surest]
    return kept.sort_values(["label", "right", "path"]).reset_index(drop=True)


def load(run: Run, drawn: pd.DataFrame) -> Sample:
    """The images of drawn rows, to be explained for the class that the network names."""
    study = run.study
    rows = load_records(study).set_index("path").row[drawn.path].to_numpy()
    known = [each if each is None else each[rows] > 0 for each in (load_masks(study), load_markers(study))]
    targets = drawn.predicted.map(study.classes.index).to_numpy()
    return Sample(
        to_input(load_images(study)[rows]),
        torch.tensor(targets.tolist()),
        drawn.patient.to_numpy(),
        drawn.right.to_numpy(),
        *known,
    )


def towards(run: Run, sample: Sample, labels) -> Sample:
    """The same images, to be explained for the classes named."""
    targets = torch.tensor([run.study.classes.index(label) for label in labels], dtype=torch.int64)
    return sample._replace(targets=targets)


def baseline(run: Run, images: torch.Tensor, name: str | None = None) -> torch.Tensor:
    """The run's baseline, or the one named, made of training images where it needs them."""
    records, store = load_records(run.study), load_images(run.study)
    train = records[records.split == "train"]
    mean = store[train.row[:TRAINING_IMAGES].to_numpy()].mean(axis=0) / 255
    healthy = to_input(store[train[train.label == "normal"].row[:HEALTHY].to_numpy()])
    return attribution.baseline(name or run.explanation.baseline, images, mean, healthy)
