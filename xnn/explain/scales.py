"""Attributions at the scale of an organ: smoothed, by superpixel, by lung zone; all keep their sum.

Maps are (N, H, W) signed. At the scale of pixels a map is exact and cannot be read; summing it over regions
keeps completeness: the regions' contributions add up to the same change of the evidence.
"""

import numpy as np
from scipy import ndimage
from skimage.segmentation import slic

SIGMA = 8 / 224  # of the smoothing, in sides of the image
SEGMENTS = 60  # superpixels of an image, about
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


def superpixels(images: np.ndarray) -> np.ndarray:
    """Return the superpixel (N, H, W) int, from 0, of each pixel of images (N, H, W) in [0, 1]."""
    options = {"n_segments": SEGMENTS, "compactness": GREY, "channel_axis": None, "start_label": 0}
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


def at(scale: str, maps: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return maps of images (N, H, W) uint8 at a scale: smoothed, regions, or pixels, as they are."""
    if scale == "smoothed":
        return smoothed(maps)
    return pooled(maps, superpixels(images / 255)) if scale == "regions" else maps
