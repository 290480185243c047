"""How far an image is from the training images of a network."""

from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from ..config.schema import Study
from ..data.records import load_images, load_records
from .classifier import Classifier, channels_last, to_input

DEPTH = 0.75  # of the backbone: later blocks separate the classes and keep little else of the image
SIDE = 112  # pixels: finer detail differs between a full-size original and a small copy of it
QUANTILE = 0.99  # share of the validation images below the threshold
DIRECTIONS = 64  # principal directions that are told apart
BATCH = 32


class Distance(NamedTuple):
    """Mahalanobis distance of C features from the training images, by probabilistic PCA.

    That is a Gaussian of K principal directions and an isotropic rest (Tipping and Bishop 1999).
    """

    mean: np.ndarray  # (C,)
    directions: np.ndarray  # (K, C), orthonormal
    variances: np.ndarray  # (K,) along the directions
    rest: np.ndarray  # (1,) mean variance in all other directions
    threshold: np.ndarray  # (1,)

    def of(self, features: np.ndarray) -> np.ndarray:
        """Return the distances (N,) of features (N, C); a training image has about the square root of C."""
        centred = np.asarray(features, float) - self.mean
        along = centred @ self.directions.T
        beside = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        return np.sqrt((along**2 / self.variances).sum(axis=1) + beside / self.rest)


def fit_distance(training: np.ndarray, validation: np.ndarray, directions: int = DIRECTIONS) -> Distance:
    """Return the distance from features (N, C) of training images; validation images set its threshold."""
    training = np.asarray(training, float)
    if len(training) < 3:
        raise ValueError(f"{len(training)} training images are too few for a distance")
    mean = training.mean(axis=0)
    _, sizes, found = np.linalg.svd(training - mean, full_matrices=False)
    variances = sizes**2 / (len(training) - 1)
    count = min(directions, len(training) // 3, training.shape[1] - 1)
    rest = variances[count:].sum(keepdims=True) / (training.shape[1] - count)
    distance = Distance(mean, found[:count], variances[:count], rest, np.empty(1))
    return distance._replace(threshold=np.quantile(distance.of(validation), [QUANTILE]))


def distance_of_study(study: Study, network: Classifier, degrees: float) -> tuple[Distance, float]:
    """Return the distance from the training images, and the share of test images beyond its threshold.

    As in training, images turned by up to so many degrees are among them.
    """
    records, store = load_records(study), load_images(study)
    train, val, test = (
        store[records.row[records.split == split].to_numpy()] for split in ("train", "val", "test")
    )
    seen = np.concatenate([features(network, each) for each in (train, turned(train, degrees))])
    distance = fit_distance(seen, features(network, val))
    return distance, float((distance.of(features(network, test)) > distance.threshold).mean())


def turned(images: np.ndarray, degrees: float) -> np.ndarray:
    """Return images (N, H, W), each turned by a random angle of at most so many degrees."""
    angles = np.random.default_rng(0).uniform(-degrees, degrees, len(images))
    return np.stack(
        [ndimage.rotate(*each, reshape=False, order=1) for each in zip(images, angles, strict=True)]
    )


@torch.inference_mode()
def features(network: Classifier, images: np.ndarray) -> np.ndarray:
    """Return features (N, C) of grey images (N, H, W) uint8: mean and deviation of each channel at DEPTH."""
    last, found = 1 + round(DEPTH * len(network.backbone)), []
    network.eval()
    for start in range(0, len(images), BATCH):
        seen = to_input(np.asarray(images[start : start + BATCH])).to(network.prepare.mean.device)
        seen = nn.functional.interpolate(seen, (SIDE, SIDE), mode="bilinear", antialias=True)
        seen = (seen - network.prepare.mean) / network.prepare.std  # layer 0 would resize it again
        maps = network.forward_range(channels_last(seen), 1, last)
        found.append(torch.cat([maps.mean((2, 3)), maps.std((2, 3))], 1).cpu())
    return torch.cat(found).numpy()
