"""Test images that are explained: those that are shown, and those that the card is measured on."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from ..config.schema import Run
from ..data.lungs import load_lungs
from ..data.records import load_markers, load_masks
from ..data.regions import load_seen
from ..evaluation.curves import mistakes
from ..models.classifier import to_input
from ..models.segmenter import shipped_masks
from .methods import baseline

TRAINING_IMAGES = 200  # whose mean is the baseline "mean"
HEALTHY = 8  # training images that expected gradients start from


class Sample(NamedTuple):
    """N images, the classes that are explained, and what is known of the images."""

    images: torch.Tensor  # (N, 3, H, W) float in [0, 1]
    targets: torch.Tensor  # (N,) int
    patients: np.ndarray  # (N,)
    right: np.ndarray  # (N,) bool, classified correctly
    masks: np.ndarray | None = None  # (N, H, W) bool, the lesions; None where they are not known
    markers: np.ndarray | None = None  # (N, H, W) bool
    # (N, H, W) bool, none where an image has no mask; of a study without masks those that the segmenter finds
    lungs: np.ndarray | None = None

    def take(self, rows) -> "Sample":
        """Return some of the images."""
        return Sample(*(None if part is None else part[rows] for part in self))


def draw(predictions: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Return test images drawn at random, and the most confident error of each kind (confident_error).

    Those shown are ``explanation.images`` per class, right and wrong each, if there are so many; those
    measured ``explanation.measured`` in all, each class with its share of the test split, at least one. Both
    come from one shuffle. More columns: those of `answered`.
    """
    how, table = run.explanation, answered(predictions, run.study.classes)
    table = table.sort_values("path").sample(frac=1, random_state=run.seed)
    share = table.label.map(table.label.value_counts(normalize=True))
    wanted = (how.measured * share).round().clip(lower=1)
    table["measured"] = table.groupby("label").cumcount() < wanted
    table["shown"] = table.groupby(["label", "right"]).cumcount() < how.images
    table["confident_error"] = table.path.isin(mistakes(predictions, run.study.classes, 1).path)
    drawn = table[table.measured | table.shown | table.confident_error]
    return drawn.sort_values(["label", "right", "path"]).reset_index(drop=True)


def answered(predictions: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """Return path, label, patient, predicted (class), its probability, and right of each prediction."""
    probabilities = predictions[classes].to_numpy()
    table = predictions[["path", "label", "patient"]].assign(
        predicted=np.array(classes)[probabilities.argmax(axis=1)], probability=probabilities.max(axis=1)
    )
    return table.assign(right=table.predicted == table.label)


def load_sample(run: Run, drawn: pd.DataFrame) -> Sample:
    """Return the images of drawn rows, to be explained for the predicted class."""
    study = run.study
    records, images = load_seen(study, run.model.region)
    chosen = records.set_index("path", drop=False).loc[drawn.path]
    rows, lungs = chosen.row.to_numpy(), load_lungs(study, chosen.reset_index(drop=True))
    found = lungs.masks if lungs is not None else shipped_masks(images[rows])
    known = [each if each is None else each[rows] > 0 for each in (load_masks(study), load_markers(study))]
    return Sample(
        to_input(images[rows]),
        _targets(run, drawn.predicted),
        drawn.patient.to_numpy(),
        drawn.right.to_numpy(),
        *known,
        found,
    )


def _targets(run: Run, labels) -> torch.Tensor:
    return torch.tensor([run.study.classes.index(label) for label in labels], dtype=torch.int64)


def run_baseline(run: Run, images: torch.Tensor, name: str | None = None) -> torch.Tensor:
    """Return the run's baseline, or the one of that name, for some images."""
    records, store = load_seen(run.study, run.model.region)
    train = records[records.split == "train"]
    mean = store[train.row[:TRAINING_IMAGES].to_numpy()].mean(axis=0) / 255
    healthy = train.row[train.label == run.study.healthy][:HEALTHY].to_numpy()
    return baseline(name or run.explanation.baseline, images, mean, to_input(store[healthy]))
