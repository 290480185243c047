"""Asking a model: logits and probabilities of images, in batches whose size has no effect."""

import numpy as np
import torch
from tqdm import tqdm

from .classifier import Classifier, to_input

BATCH = 16  # small enough for a CPU's cache; no effect on the result beyond rounding


@torch.inference_mode()
def logits(model: Classifier, images: np.ndarray, flip: bool = False) -> np.ndarray:
    """Logits (N, C) of grey images (N, H, W) uint8; with `flip`, the mean with those of the mirror image."""
    model = model.eval().to(memory_format=torch.channels_last)
    results = []
    for start in tqdm(range(0, len(images), BATCH), desc="predicting", unit="batch", leave=False):
        batch = to_input(np.asarray(images[start : start + BATCH]))
        result = model(batch)
        results.append((result + model(batch.flip(-1))) / 2 if flip else result)
    return torch.cat(results).numpy()


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax in float64, so that rows sum to 1 in the file as well."""
    return torch.from_numpy(logits).double().softmax(1).numpy()
