"""Attributions at the scale of an organ: smoothed, by superpixel, by lung zone; all keep their sum.

Maps are (N, H, W) signed. At the scale of pixels a map is exact and cannot be read; summing it over regions
keeps completeness: the regions' contributions add up to the same change of the evidence.
"""

import numpy as np
from scipy import ndimage
from skimage.segmentation import slic

SIGMA = 8 / 224  # of the smoothing, in sides of the image
SEGMENTS = 60  # superpixels of an image, about
SEVERAL = (15, 30, 60, 120)  # superpixels of an image at the scales of `xrai`
GREY = 0.1  # of `slic`: weight of distance against that of grey
# of the lung on each side: names as a reader of radiographs has them, the patient's right on the left
ZONES = (
    "outside the lungs",
    "mediastinum",
    *(f"{side} {part} zone" for side in ("right", "left") for part in ("upper", "middle", "lower")),
)


def smoothed(maps: np.ndarray) -> np.ndarray:
    """Return maps smoothed by a Gaussian of 8 pixels in 224.

    Mirrored at its borders the filter takes as much from each pixel as it gives: the sum stays.
    """
    sigma = SIGMA * maps.shape[-1]
    return ndimage.gaussian_filter(np.asarray(maps, np.float64), (0, sigma, sigma), mode="reflect")


def superpixels(images: np.ndarray, count: int = SEGMENTS) -> np.ndarray:
    """Return the superpixel (N, H, W) int, from 0, of each pixel of images (N, H, W) in [0, 1].

    There are about ``count`` of them in an image.
    """
    options = {"n_segments": count, "compactness": GREY, "channel_axis": None, "start_label": 0}
    return np.stack([slic(image.astype(float), **options) for image in np.asarray(images)])


def zones(lungs: np.ndarray) -> np.ndarray:
    """Return the number in ZONES of each pixel, (N, H, W) int, given lung masks (N, H, W) bool.

    Each lung is divided into thirds of its height, the mediastinum is what lies between them in a row.
    """
    return np.stack([_zones(mask) for mask in np.asarray(lungs, bool)])


def _zones(mask):
    found = np.zeros(mask.shape, int)
    if not mask.any():
        return found
    middle = np.average(np.arange(mask.shape[1]), weights=mask.sum(0))
    left_of_middle = np.arange(mask.shape[1]) < middle
    both = (mask & left_of_middle, mask & ~left_of_middle)
    for side, lung in enumerate(both):
        rows = np.flatnonzero(lung.any(1))
        if len(rows):
            thirds = (np.arange(len(mask)) - rows[0]) * 3 // (rows[-1] - rows[0] + 1)
            found[lung] = 2 + 3 * side + np.broadcast_to(thirds[:, None], mask.shape)[lung]
    first = np.maximum.accumulate(both[0], 1)  # from the first lung rightwards
    last = np.maximum.accumulate(both[1][:, ::-1], 1)[:, ::-1]
    found[first & last & ~mask] = 1
    return found


def sums(maps: np.ndarray, regions: np.ndarray, count: int | None = None) -> np.ndarray:
    """Return the sum of each map within each region (N, R); regions are (N, H, W) int from 0."""
    count = count or int(regions.max()) + 1
    pairs = zip(np.asarray(maps, float), regions, strict=True)
    return np.stack([np.bincount(area.ravel(), one.ravel(), count) for one, area in pairs])


def pooled(maps: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Return maps (N, H, W) with the mean of its region at each pixel: they keep their sum."""
    within = sums(maps, regions) / np.maximum(sums(np.ones(np.shape(maps)), regions), 1)
    return np.take_along_axis(within, regions.reshape(len(regions), -1), 1).reshape(regions.shape)


def xrai(maps: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return maps by regions of several sizes, after XRAI (Kapishnikov et al. 2019); they keep their sum.

    Of all superpixels of images (N, H, W) in [0, 1] at the scales SEVERAL, the one with the highest mean
    attribution is taken, then the one whose rest is highest, until the image is covered; each pixel gets the
    mean of what was taken with it. XRAI's own segments are others (Felzenszwalb's), and widened.
    """
    segments = np.stack([superpixels(images, count) for count in SEVERAL], 1)
    return np.stack([best_first(*pair) for pair in zip(np.asarray(maps, float), segments, strict=True)])


def best_first(one: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Return a map (H, W) by regions of partitions (S, H, W) int from 0, highest mean first; see `xrai`."""
    segments = segments + np.cumsum([0, *segments.max((1, 2))[:-1] + 1])[:, None, None]
    numbers = segments.reshape(len(segments), -1)
    values, found, left = one.ravel(), np.empty(one.size), np.ones(one.size, bool)
    totals, sizes = _gathered(numbers, values, numbers.max() + 1)
    while left.any():
        means = np.divide(totals, sizes, out=np.full(len(sizes), -np.inf), where=sizes > 0)
        best = means.argmax()
        taken = left & (numbers == best).any(0)
        found[taken], left = means[best], left & ~taken
        totals, sizes = (
            before - gone
            for before, gone in zip(
                (totals, sizes), _gathered(numbers[:, taken], values[taken], len(sizes)), strict=True
            )
        )
    return found.reshape(one.shape)


def _gathered(numbers, values, count):
    """Return the sum of values (P,) and the number of pixels in each region, of numbers (S, P)."""
    weights = np.broadcast_to(values, numbers.shape).ravel()
    return np.bincount(numbers.ravel(), weights, count), np.bincount(numbers.ravel(), minlength=count)


def at(scale: str, maps: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return maps of images (N, H, W) uint8 at a scale: smoothed, regions, or pixels, as they are."""
    if scale == "smoothed":
        return smoothed(maps)
    return pooled(maps, superpixels(images / 255)) if scale == "regions" else maps
