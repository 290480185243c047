"""What Integrated Gradients are asked for a run: baselines, cases, and the figures of the result."""

import numpy as np
import pandas as pd
import torch
from torchvision.transforms.v2 import functional

from .integrated import Attribution

BASELINES = ("black", "mean", "blur", "expected")


def baseline(
    name: str,
    images: torch.Tensor,
    training_mean: np.ndarray | None = None,
    healthy: torch.Tensor | None = None,
) -> torch.Tensor:
    """The image that stands for "nothing seen", in the scale of the images.

    Parameters
    ----------
    name : black; mean, of the training images; blur, the image without its details; expected, several
        healthy training images (expected gradients, Erion et al. 2021).
    images : (N, 3, H, W) float in [0, 1].
    training_mean : (H, W) in [0, 1], for mean.
    healthy : (K, 3, H, W), for expected.

    Returns
    -------
    (1 or N, 3, H, W); expected: (1, K, 3, H, W), over which ``integrated_gradients`` averages.

    Raises
    ------
    ValueError : an unknown name, or what it needs is not given.
    """
    if name == "black":
        return torch.zeros_like(images[:1])
    if name == "mean" and training_mean is not None:
        grey = torch.as_tensor(training_mean, dtype=images.dtype)
        return grey.expand(1, 3, *grey.shape)
    if name == "blur":
        sigma = images.shape[-1] / 16  # wide enough to leave no rib
        side = 2 * round(2 * sigma) + 1
        return functional.gaussian_blur(images.contiguous(), [side, side], [sigma, sigma])
    if name == "expected" and healthy is not None:
        return healthy.unsqueeze(0)
    if name in BASELINES:
        raise ValueError(f"baseline {name!r}: the training images that it is made of are not given")
    raise ValueError(f"baseline {name!r}: choose {', '.join(BASELINES)}")


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
        "steps_median": float(np.median(attribution.gradients)),
    }
