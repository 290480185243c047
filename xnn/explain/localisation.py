"""Where an attribution lies: against a mask that is known, in the frame of the image, beside another map.

Every measure is one number an image. Ties count as their expectation, so a blank map scores as chance
does and never as its first pixel.
"""

import numpy as np
from scipy import ndimage
from scipy.stats import rankdata

TOLERANCE = 0.03  # of the image's side: how far beside the mask the pointing game still counts as a hit
FRAME = 0.1  # of the image's side: the width of the outer frame
TOP = 0.05  # share of the pixels that an overlap is counted among


def pointing_game(maps, masks, tolerance: float = TOLERANCE) -> np.ndarray:
    """Whether the pixel with the highest attribution lies in the mask (Zhang et al. 2018).

    Parameters
    ----------
    maps : (N, H, W) signed.
    masks : (N, H, W), true where the lesion is.
    tolerance : as a share of the image's side; the mask is widened by as much.

    Returns
    -------
    (N,) 0 or 1, between them where several pixels share the maximum; NaN where the mask is empty.

    Raises
    ------
    ValueError : as every measure here, where the shapes of maps and masks differ.
    """
    maps, masks = _checked(maps, masks)
    reach = round(tolerance * maps.shape[-1])
    near = np.stack([ndimage.binary_dilation(mask, _disc(reach)) for mask in masks])
    best = maps == maps.max(axis=(1, 2), keepdims=True)
    return _where_known(masks, _ratio((best & near).sum(axis=(1, 2)), best.sum(axis=(1, 2))))


def relevance_mass(maps, masks) -> np.ndarray:
    """Share of the positive attribution within the mask (Arras et al. 2022, "relevance mass accuracy").

    Parameters as in ``pointing_game``. A map without positive attribution counts as an even one.

    Returns
    -------
    (N,) from 0 to 1; NaN where the mask is empty.
    """
    maps, masks = _checked(maps, masks)
    return _where_known(masks, _share(np.clip(maps, 0, None), masks))


def relevance_rank(maps, masks) -> np.ndarray:
    """Share of the K highest pixels that lie in the mask of K pixels (Arras et al. 2022).

    Parameters as in ``pointing_game``.

    Returns
    -------
    (N,) from 0 to 1; NaN where the mask is empty.
    """
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
    """Share of the absolute attribution within a region of each image, as on a marker.

    Parameters
    ----------
    maps : (N, H, W) signed; a blank map counts as an even one.
    regions : (N, H, W) or one (H, W) for all, true inside.

    Returns
    -------
    (N,) from 0 to 1; NaN where a region is empty. The share of the area is what an even map has.
    """
    maps, regions = _checked(maps, np.broadcast_to(regions, np.shape(maps)))
    return _where_known(regions, _share(np.abs(maps), regions))


def frame(size: int, width: float = FRAME) -> np.ndarray:
    """(size, size) bool: the outer frame, ``width`` of the side wide, where markers and text stand."""
    inner = slice(round(width * size), size - round(width * size))
    region = np.ones((size, size), bool)
    region[inner, inner] = False
    return region


def corners(size: int, width: float = 2 * FRAME) -> np.ndarray:
    """(size, size) bool: the four corners, squares of ``width`` of the side."""
    edge = np.zeros(size, bool)
    edge[: round(width * size)] = edge[size - round(width * size) :] = True
    return edge[:, None] & edge[None, :]


def spearman(one, two) -> np.ndarray:
    """Rank correlation of two maps of each image; (N, H, W) each, (N,) from -1 to 1, 0 of a blank map."""
    one, two = np.asarray(one), np.asarray(two)
    if one.shape != two.shape:
        raise ValueError(f"maps are {one.shape} and {two.shape}")
    return np.array([_spearman(a.ravel(), b.ravel()) for a, b in zip(one, two, strict=True)])


def _spearman(a, b):
    ranks = np.stack([rankdata(a), rankdata(b)])
    return np.corrcoef(ranks)[0, 1] if (ranks.std(axis=1) > 0).all() else 0.0


def top_overlap(one, two, share: float = TOP) -> np.ndarray:
    """Share of the highest pixels of one map that are among the highest of the other, (N,).

    Two unrelated maps have ``share`` in common. Ties are settled by place, alike in both.
    """
    one, two = np.asarray(one), np.asarray(two)
    if one.shape != two.shape:
        raise ValueError(f"maps are {one.shape} and {two.shape}")
    count = max(1, round(share * one[0].size))
    chosen = [np.argsort(-maps.reshape(len(maps), -1), kind="stable")[:, :count] for maps in (one, two)]
    return np.array([len(np.intersect1d(*rows)) / count for rows in zip(*chosen, strict=True)])


def _share(sizes, masks):
    area = masks.mean(axis=(1, 2))
    total = sizes.sum(axis=(1, 2), dtype=float)
    inside = (sizes * masks).sum(axis=(1, 2), dtype=float)
    return np.where(total > 0, _ratio(inside, total), area)


def _where_known(masks, values):
    return np.where(masks.any(axis=(1, 2)), values, np.nan)


def _ratio(above, below):
    return np.divide(above, below, out=np.zeros(len(above)), where=below > 0)


def _disc(radius):
    across = np.arange(-radius, radius + 1)
    return across[:, None] ** 2 + across**2 <= radius**2


def _checked(maps, masks):
    maps, masks = np.asarray(maps), np.asarray(masks).astype(bool)
    if maps.ndim != 3 or maps.shape != masks.shape:
        raise ValueError(f"maps are {maps.shape} and masks {masks.shape}; both must be (N, H, W)")
    return maps, masks
