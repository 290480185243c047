"""Side markers: the bright letters beside the chest, found, removed, moved and pasted."""

import numpy as np
from scipy import ndimage
from skimage.morphology import disk, white_tophat

from .regions import inpaint, wider

BRIGHT = 75  # grey levels above the surroundings
STROKE = 5 / 224  # half the width of the widest stroke, in sides of the image
AREA = (12 / 224**2, 700 / 224**2)  # of one letter or word, in shares of the image
SIDE = (4 / 224, 48 / 224)  # of its box, in sides of the image
GAP = 4 / 224  # between letters of one marker
MAX_SHARE = 0.03  # of the image; more than that are no letters


def find_marker(image: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Return where a radiograph (H, W) uint8 has markers: bright small strokes outside its lungs, as a mask.

    The mask is empty if nothing is found.
    """
    size = image.shape[1]
    strokes = white_tophat(image, disk(round(STROKE * size))) > BRIGHT
    strokes &= ~wider(lungs, 2 * GAP)
    joined, _ = ndimage.label(ndimage.binary_dilation(strokes, iterations=max(1, round(GAP * size / 2))))
    found = np.zeros_like(lungs)
    for number, place in enumerate(ndimage.find_objects(joined), 1):
        one = (joined[place] == number) & strokes[place]
        area, sides = one.sum() / image.size, np.array(one.shape) / size
        if AREA[0] <= area <= AREA[1] and (sides >= SIDE[0]).all() and (sides <= SIDE[1]).all():
            found[place] |= joined[place] == number
    return found if 0 < found.mean() <= MAX_SHARE else np.zeros_like(lungs)


def without(image: np.ndarray, marker: np.ndarray) -> np.ndarray:
    """Return the radiograph without its markers."""
    return inpaint(image, ndimage.binary_dilation(marker, iterations=2)) if marker.any() else image


def pasted(image: np.ndarray, other: np.ndarray, marker: np.ndarray) -> np.ndarray:
    """Return the radiograph with the markers of another one, at their place there."""
    return np.where(marker, np.maximum(image, other), image)


def moved(image: np.ndarray, marker: np.ndarray) -> np.ndarray:
    """Return the radiograph with its markers at the mirrored place, unmirrored themselves."""
    result = without(image, marker)
    for place in ndimage.find_objects(ndimage.label(marker)[0]):
        rows, columns = place
        there = slice(image.shape[1] - columns.stop, image.shape[1] - columns.start)
        letters = np.where(marker[place], image[place], 0)
        result[rows, there] = np.maximum(result[rows, there], letters)
    return result
