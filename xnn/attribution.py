"""Integrated Gradients with a completeness target: where in a radiograph a logit comes from."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from captum.attr import IntegratedGradients
from torch import nn
from torchvision.transforms.v2 import functional
from tqdm import tqdm

FIRST_STEPS = 20  # gradients an image of the first try; doubled until the attributions are complete
BATCH = 16  # images in one pass of the network
FLOOR = 0.1  # logits: below it a relative gap would divide by almost nothing


class Attribution(NamedTuple):
    """Attributions of N images and the evidence that they are complete."""

    maps: np.ndarray  # (N, H, W) float32, in logits a pixel, summed over channels; signed
    gap: np.ndarray  # (N,) relative completeness gap
    difference: np.ndarray  # (N,) F(x) - F(baseline), logits
    steps: np.ndarray  # (N,) gradients spent for the map that was kept
    passed: np.ndarray  # (N,) bool, gap within the tolerance


def integrated_gradients(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    baselines: torch.Tensor,
    tolerance: float = 0.05,
    max_steps: int = 320,
) -> Attribution:
    """Integrated Gradients (Sundararajan et al. 2017, eq. 1) of the target's logit, by Captum.

    The number of Gauss-Legendre steps is doubled for the images whose attributions do not sum to
    F(x) - F(baseline) within the tolerance; the map with the smallest gap is kept. More steps do
    not always mean a smaller gap, so the gap is measured, never assumed.

    Parameters
    ----------
    model : images to logits; in evaluation mode.
    images, baselines : (N, 3, H, W) float; baselines may be (1, 3, H, W).
    targets : (N,) int, the logit explained.
    tolerance : of the relative gap |sum(map) - (F(x) - F(baseline))| / max(|F(x) - F(baseline)|, 0.1).
    max_steps : gradients an image at most in one try.
    """
    if len(images) == 0:
        raise ValueError("no image to explain")
    explainer = IntegratedGradients(model)
    baselines = baselines.expand_as(images)
    with torch.inference_mode():
        difference = _logit(model, images, targets) - _logit(model, baselines, targets)
    maps = torch.zeros(len(images), *images.shape[-2:])
    gap = torch.full((len(images),), torch.inf)
    used = torch.zeros(len(images), dtype=torch.int64)
    steps, pending = FIRST_STEPS, torch.arange(len(images))
    while len(pending) and (steps <= max_steps or not used.all()):
        for one in tqdm(pending.tolist(), desc=f"{steps} steps", unit="image", leave=False):
            tried = explainer.attribute(
                images[one : one + 1],
                baselines[one : one + 1],
                target=int(targets[one]),
                n_steps=min(steps, max_steps),
                internal_batch_size=BATCH,
            )
            found = tried.sum(1)[0].float()
            missing = (found.double().sum() - difference[one]).abs()
            relative = missing / difference[one].abs().clamp(min=FLOOR)
            if relative < gap[one]:
                maps[one], gap[one], used[one] = found, relative, min(steps, max_steps)
        pending = pending[gap[pending] > tolerance]
        steps *= 2
    return Attribution(
        maps.numpy(), gap.numpy(), difference.numpy(), used.numpy(), (gap <= tolerance).numpy()
    )


def baseline(name: str, images: torch.Tensor, training_mean: np.ndarray | None = None) -> torch.Tensor:
    """The image that stands for "nothing seen": black, mean (of the training images) or blur.

    Returns (1 or N, 3, H, W), in the scale of the images.
    """
    if name == "black":
        return torch.zeros_like(images[:1])
    if name == "mean":
        grey = torch.as_tensor(training_mean, dtype=images.dtype)
        return grey.expand(1, 3, *grey.shape)
    if name == "blur":
        sigma = images.shape[-1] / 16  # wide enough to leave no rib
        side = 2 * round(2 * sigma) + 1
        return functional.gaussian_blur(images.contiguous(), [side, side], [sigma, sigma])
    raise ValueError(f"baseline {name!r}: choose black, mean or blur")


def cases(predictions: pd.DataFrame, classes: list[str], count: int, seed: int) -> pd.DataFrame:
    """Draw `count` images a class that are named rightly and as many that are not, where there are.

    Returns the drawn rows with predicted, probability (of the predicted class) and right.
    """
    probabilities = predictions[classes].to_numpy()
    table = predictions[["path", "label", "patient"]].assign(
        predicted=np.array(classes)[probabilities.argmax(axis=1)], probability=probabilities.max(axis=1)
    )
    table["right"] = table.predicted == table.label
    shuffled = table.sort_values("path").sample(frac=1, random_state=seed)
    drawn = shuffled.groupby(["label", "right"]).head(count)
    return drawn.sort_values(["label", "right", "path"]).reset_index(drop=True)


def summary(attribution: Attribution) -> dict[str, float]:
    """The completeness figures of explanations.json, over the images explained."""
    return {
        "images": len(attribution.gap),
        "relative_completeness_p95": float(np.percentile(attribution.gap, 95)),
        "completeness_passed": float(attribution.passed.mean()),
        "steps_median": float(np.median(attribution.steps)),
    }


def _logit(model: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(N,) float64: the target's logit, in small batches."""
    outputs = torch.cat([model(batch) for batch in images.split(BATCH)])
    return outputs.gather(1, targets.view(-1, 1)).squeeze(1).double()
