"""Where attributions lie: within a known mask, in the frame of the image, in the same place as another map.

Maps are (N, H, W) signed, masks (N, H, W), true inside; every measure is (N,), one number per image, NaN
where the mask is empty. Ties count as their expectation, so a blank map scores as chance does and never as
its first pixel. Shapes that differ raise ValueError.
"""

import numpy as np
from scipy import ndimage
from skimage.morphology import disk

TOLERANCE = 0.03  # of the image's side: how far beside the mask the pointing game still counts as a hit
FRAME = 0.1  # of the image's side: the width of the outer frame


def pointing_game(maps, masks, tolerance: float = TOLERANCE) -> np.ndarray:
    """Return 1 where the pixel with the highest attribution lies in the mask, else 0 (Zhang et al. 2018).

    The mask is widened by `tolerance`. Where several pixels share the maximum, the share of them inside.
    """
    maps, masks = _checked(maps, masks)
    reach = disk(round(tolerance * maps.shape[-1]))
    near = np.stack([ndimage.binary_dilation(mask, reach) for mask in masks])
    best = maps == maps.max(axis=(1, 2), keepdims=True)
    return _where_known(masks, (best & near).sum(axis=(1, 2)) / best.sum(axis=(1, 2)))


def relevance_mass(maps, masks) -> np.ndarray:
    """Return the share of the positive attribution within the mask (Arras et al. 2022).

    A map without positive attribution counts as an even one.
    """
    maps, masks = _checked(maps, masks)
    return _where_known(masks, _share(np.clip(maps, 0, None), masks))


def relevance_rank(maps, masks) -> np.ndarray:
    """Return the share of the K highest pixels that lie in the mask of K pixels (Arras et al. 2022)."""
    maps, masks = _checked(maps, masks)
    return _where_known(masks, np.array([_rank(*pair) for pair in zip(maps, masks, strict=True)]))


def _rank(one, mask):
    count = int(mask.sum())
    if not count:
        return np.nan
    threshold = np.partition(one.ravel(), -count)[-count]
    above, level = one > threshold, one == threshold
    return (mask[above].sum() + (count - above.sum()) * mask[level].mean()) / count


def share_within(maps, regions) -> np.ndarray:
    """Return the share of the absolute attribution within a region, (N, H, W) or one (H, W) for all images.

    A blank map counts as an even one, which has the share of the area.
    """
    maps, regions = _checked(maps, np.broadcast_to(regions, np.shape(maps)))
    return _where_known(regions, _share(np.abs(maps), regions))


def frame(size: int, width: float = FRAME) -> np.ndarray:
    """Return (size, size) bool: the outer frame, ``width`` of the side wide, where markers and text stand."""
    inner = slice(round(width * size), size - round(width * size))
    region = np.ones((size, size), bool)
    region[inner, inner] = False
    return region


def _share(sizes, masks):
    total = sizes.sum(axis=(1, 2), dtype=float)
    inside = (sizes * masks).sum(axis=(1, 2), dtype=float)
    return np.divide(inside, total, out=masks.mean(axis=(1, 2)), where=total > 0)


def _where_known(masks, values):
    return np.where(masks.any(axis=(1, 2)), values, np.nan)


def _same_shape(one, two):
    one, two = np.asarray(one), np.asarray(two)
    if one.ndim != 3 or one.shape != two.shape:
        raise ValueError(f"maps are {one.shape} and {two.shape}: both must be (N, H, W)")
    return one, two


def _checked(maps, masks):
    maps, masks = _same_shape(maps, masks)
    return maps, masks.astype(bool)
