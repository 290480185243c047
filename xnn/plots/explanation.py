"""Figures of explanations."""

import numpy as np
from matplotlib.patches import Patch

from . import look

RAISES, LOWERS = (0, 200, 60), (235, 30, 30)  # RGB of attributions above and below zero


def overlay(image, attribution) -> np.ndarray:
    """An attribution over its radiograph: green raises the class's score, red lowers it.

    Parameters
    ----------
    image : (H, W) grey, black 0, white 255.
    attribution : (H, W) signed. The 99th percentile of its magnitude is opaque, zero is clear.

    Returns
    -------
    (H, W, 3) uint8.
    """
    image, attribution = np.asarray(image, float), np.asarray(attribution, float)
    size = np.abs(attribution)
    scale = np.percentile(size, 99) or size.max() or 1.0  # a sparse map may have a percentile of 0
    opacity = np.clip(size / scale, 0, 1)[..., None]
    colour = np.where(attribution[..., None] > 0, RAISES, LOWERS)
    dimmed = 0.8 * image[..., None]  # so that colours stand out on white bone
    return np.clip((1 - opacity) * dimmed + opacity * colour, 0, 255).astype(np.uint8)


@look.styled
def overlays(images, attributions, titles, columns: int = 3):
    """Pairs of a radiograph and its attribution; images and attributions (N, H, W), N titles.

    Of no pair at all, a figure that says so.
    """
    if not len(images):
        return look.nothing()
    figure, axes = look.sheet(2 * len(images), 2 * columns, 1.3)
    pairs = zip(images, attributions, titles, strict=True)
    for (left, right), (image, attribution, title) in zip(axes.reshape(-1, 2), pairs, strict=False):
        look.show(left, image, title)
        look.show(right, overlay(image, attribution))
    keys = {"raises the class's score": RAISES, "lowers it": LOWERS}
    patches = [Patch(color=np.divide(rgb, 255), label=text) for text, rgb in keys.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=2, frameon=False)
    return figure
