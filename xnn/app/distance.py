"""How far an image lies from the training images, as the network sees them.

Features are the mean and the deviation of each channel three quarters of the way up the backbone: what
the last blocks make of an image says which class it is like, and little about what else it may be. Their
Mahalanobis distance is taken under a Gaussian with few principal directions and an even rest
(probabilistic principal components, Tipping and Bishop 1999): small enough to ship with a model.
"""

from typing import NamedTuple

import numpy as np
import torch

from ..explain.integrated import ready
from ..models.classifier import Classifier

DEPTH = 0.75  # of the backbone's blocks
DIRECTIONS = 64
LEVEL = 0.99  # share of validation images that lie nearer than the threshold


class Distance(NamedTuple):
    """The statistics of C features, and what counts as far."""

    mean: np.ndarray  # (C,)
    directions: np.ndarray  # (K, C), orthonormal
    variances: np.ndarray  # (K,) along them
    rest: np.ndarray  # () the mean variance in all other directions
    threshold: np.ndarray  # ()

    def of(self, features: np.ndarray) -> np.ndarray:
        """(N,) of features (N, C); a training image has about the square root of C."""
        centred = np.asarray(features, float) - self.mean
        along = centred @ self.directions.T
        beside = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        return np.sqrt((along**2 / self.variances).sum(axis=1) + beside / self.rest)


def fit(training: np.ndarray, validation: np.ndarray, directions: int = DIRECTIONS) -> Distance:
    """From features (N, C) of training images, the threshold from those of validation images.

    Raises
    ------
    ValueError : fewer than three training images.
    """
    training = np.asarray(training, float)
    if len(training) < 3:
        raise ValueError(f"{len(training)} training images: too few for a distance")
    mean = training.mean(axis=0)
    _, sizes, found = np.linalg.svd(training - mean, full_matrices=False)
    variances = sizes**2 / (len(training) - 1)
    count = min(directions, len(training) // 3, training.shape[1] - 1)
    rest = variances[count:].sum() / (training.shape[1] - count)
    unset = Distance(mean, found[:count], variances[:count], np.array(rest), np.array(np.nan))
    return unset._replace(threshold=np.quantile(unset.of(validation), LEVEL))


@torch.inference_mode()
def features(model: Classifier, images: torch.Tensor) -> np.ndarray:
    """(N, C) features of images (N, 3, H, W) in [0, 1]."""
    last = 1 + round(DEPTH * len(model.backbone))  # the layer before the backbone prepares the image
    maps = model.eval().forward_range(ready(model, images), 0, last)
    if maps.ndim != 4:
        raise ValueError("the backbone's blocks give no feature maps")
    return torch.cat([maps.mean((2, 3)), maps.std((2, 3))], 1).numpy()


def saved(distance: Distance) -> dict[str, np.ndarray]:
    """As it goes into a file: float32."""
    return {name: np.ascontiguousarray(value, np.float32) for name, value in distance._asdict().items()}


def load(values: dict[str, np.ndarray], width: int) -> Distance:
    """What ``saved`` gave, as it was read; raise ValueError where it is not of ``width`` features."""
    missing = set(Distance._fields) - set(values)
    if missing:
        raise ValueError(f"{', '.join(sorted(missing))} is missing")
    if values["mean"].shape != (width,) or values["directions"].shape[1:] != (width,):
        raise ValueError(f"statistics of {values['mean'].shape[0]} features, the model has {width}")
    found = Distance(**{name: values[name] for name in Distance._fields})
    return found._replace(rest=found.rest.reshape(()), threshold=found.threshold.reshape(()))
