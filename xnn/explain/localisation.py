"""Where attributions lie: within a known mask, in the frame of the image, in the same place as another map.

Maps are (N, H, W) signed, masks (N, H, W), true inside; every measure is (N,), one number per image, NaN
where the mask is empty. Ties count as their expectation, so a blank map scores as chance does and never as
its first pixel. Shapes that differ raise ValueError.
"""

import numpy as np
from scipy import ndimage
from scipy.stats import rankdata
from skimage.morphology import disk

TOLERANCE = 0.03  # of the image's side: how far beside the mask the pointing game still counts as a hit
FRAME = 0.1  # of the image's side: the width of the outer frame
TOP = 0.05  # share of the pixels that an overlap is counted among


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


def corners(size: int, width: float = 2 * FRAME) -> np.ndarray:
    """Return (size, size) bool: the four corners, squares of ``width`` of the side."""
    edge = np.zeros(size, bool)
    edge[: round(width * size)] = edge[size - round(width * size) :] = True
    return edge[:, None] & edge[None, :]


def spearman(one, two) -> np.ndarray:
    """Return the rank correlation of two maps of each image, (N,) from -1 to 1; 0 for a blank map."""
    pairs = zip(*_same_shape(one, two), strict=True)
    return np.array([_spearman(a.ravel(), b.ravel()) for a, b in pairs])


def _spearman(a, b):
    ranks = np.stack([rankdata(a), rankdata(b)])
    return np.corrcoef(ranks)[0, 1] if (ranks.std(axis=1) > 0).all() else 0.0


def top_overlap(one, two, share: float = TOP) -> np.ndarray:
    """Return the share of the highest pixels of one map that are among the highest of the other, (N,).

    Two unrelated maps have ``share`` in common. Ties are settled by place, alike in both.
    """
    one, two = _same_shape(one, two)
    count = max(1, round(share * one[0].size))
    chosen = [np.argsort(-maps.reshape(len(maps), -1), kind="stable")[:, :count] for maps in (one, two)]
    return np.array([len(np.intersect1d(*rows)) / count for rows in zip(*chosen, strict=True)])


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
