"""Radiographs with a part removed: what a network still knows without the lungs, or with nothing else.

A removed part is filled in one of two ways, so that a result can be told from an effect of the fill:
``mean``, the mean grey of the pixels that are kept, and ``inpainted``, continued from them. Neither depends
on the removed pixels: the mean of the whole image would tell how bright they were.
"""

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from tqdm.auto import tqdm

from ..config.provenance import file_sha256
from ..config.schema import Study
from .archive import DataError
from .images import write_images
from .lungs import Lungs, load_lungs
from .records import load_images, load_records

INPUTS = (
    "whole",
    "lungs_removed",
    "lungs_removed_wide",
    "box_removed",
    "lungs_only",
    "lungs_only_wide",
    "outline_only",
)
UNFILLED = ("whole", "outline_only")  # the same whatever the fill
FILLS = ("mean", "inpainted")
MARGIN = 8 / 224  # how much wider, in sides of the image
SMOOTH = 6 / 224  # of what is painted in, in sides of the image
BOX_MARGIN = 0.1  # around the lungs, in sides of their box
OUTLINE = (64, 160)  # grey levels inside and outside the outline


def part(image: np.ndarray, lungs: np.ndarray, name: str, fill: str = "mean") -> np.ndarray:
    """Return one of INPUTS of a radiograph (H, W) uint8, given its lung mask (H, W) bool.

    Raises ValueError for an unknown name or fill.
    """
    if name == "whole":
        return image
    if name == "outline_only":
        return np.where(lungs, *OUTLINE).astype(np.uint8)
    removed = _removed(lungs, name)
    if fill == "mean":
        return np.where(removed, _mean(image[~removed]), image)
    if fill == "inpainted":
        return inpaint(image, removed)
    raise ValueError(f"unknown fill {fill!r}; choose from {', '.join(FILLS)}")


def _removed(lungs: np.ndarray, name: str) -> np.ndarray:
    if name == "box_removed":
        return box(lungs)
    wide = wider(lungs) if name.endswith("_wide") else lungs
    match name.removesuffix("_wide"):
        case "lungs_removed":
            return wide
        case "lungs_only":
            return ~wide
    raise ValueError(f"unknown input {name!r}; choose from {', '.join(INPUTS)}")


def wider(mask: np.ndarray, margin: float = MARGIN) -> np.ndarray:
    """Return a mask grown by a margin, in sides of the image."""
    return ndimage.distance_transform_edt(~mask) <= margin * mask.shape[1] if mask.any() else mask


def box(mask: np.ndarray) -> np.ndarray:
    """Return the smallest upright rectangle around a mask, as a mask."""
    result = np.zeros_like(mask)
    for found in ndimage.find_objects(mask.astype(np.uint8)):
        result[found] = True
    return result


def lungs_box(image: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Return the box around the lungs and a tenth of its sides more, enlarged to the size of the image."""
    (rows, columns), (height, width) = ndimage.find_objects(lungs.astype(np.uint8))[0], image.shape
    (top, bottom), (left, right) = _with_margin(rows, height), _with_margin(columns, width)
    pixels = Image.fromarray(image)
    return np.array(pixels.resize((width, height), Image.Resampling.BILINEAR, (left, top, right, bottom)))


def _with_margin(side: slice, limit: int) -> tuple[float, float]:
    margin = BOX_MARGIN * (side.stop - side.start)
    return max(0, side.start - margin), min(limit, side.stop + margin)


def letterbox(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return a squashed image (S, S) in the aspect ratio of its original, between two black bars."""
    side = len(image)
    inner = [max(1, round(side * each / max(width, height))) for each in (width, height)]
    result = Image.new("L", (side, side))
    place = tuple((side - each) // 2 for each in inner)
    result.paste(Image.fromarray(image).resize(inner, Image.Resampling.BILINEAR), place)
    return np.array(result)


def inpaint(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Return an image (H, W) uint8 whose removed part continues the rest.

    Each removed pixel takes the value of the nearest kept one, then the part is smoothed. Nothing of the
    removed pixels remains.
    """
    if not removed.any() or removed.all():
        return np.where(removed, _mean(image[~removed]), image)
    nearest = ndimage.distance_transform_edt(removed, return_distances=False, return_indices=True)
    filled = image[tuple(nearest)].astype(np.float32)
    smooth = ndimage.gaussian_filter(filled, SMOOTH * image.shape[1], truncate=3)
    return np.where(removed, smooth.round().astype(np.uint8), image)


def _mean(kept: np.ndarray) -> np.uint8:
    return np.uint8(round(kept.mean())) if len(kept) else np.uint8(128)


def parts(images: np.ndarray, lungs: np.ndarray, name: str, fill: str = "mean") -> np.ndarray:
    """Return one of INPUTS of many radiographs (N, H, W) uint8."""
    pairs = zip(images, lungs, strict=True)
    return np.stack([part(image, mask, name, fill) for image, mask in pairs])


def load_seen(study: Study, region: str = "whole") -> tuple[pd.DataFrame, np.ndarray]:
    """Return the records and images (by `row`) that a network sees, given this region of each radiograph.

    Other regions than the whole leave out records without a lung mask. Raises DataError if none has one, or,
    for the letterbox, if all radiographs are square: copies that have lost their size.
    """
    records, images = load_records(study), load_images(study)
    if region == "whole":
        return records, images
    lungs = load_lungs(study, records)
    if lungs is None:
        raise DataError(f"model.region: {region} needs lung masks, study {study.name} has none: set MASKS")
    sizes = lungs.table[lungs.known]
    if region == "letterbox" and (sizes.width == sizes.height).all():
        raise DataError(
            f"model.region: letterbox needs the true sizes of originals, and all of study {study.name} are "
            "square: put a CSV file with the columns file, width and height beside the lung masks of MASKS"
        )
    records = records[lungs.known].reset_index(drop=True)
    return records, _seen(study, region, records, lungs)


def _seen(study: Study, region: str, records: pd.DataFrame, lungs: Lungs) -> np.ndarray:
    """Return a region of all radiographs, which are made once and kept."""
    table, images = study.artifacts / "lungs.csv", load_images(study)
    file = study.artifacts / f"images-{region}-{file_sha256(table)[:12]}.npy"
    if not file.exists():
        sizes = lungs.table.loc[lungs.known, ["width", "height"]].to_numpy(int)
        known = dict(zip(records.row, zip(lungs.masks[lungs.known], sizes, strict=True), strict=True))
        rows = tqdm(range(len(images)), region, leave=False)
        made = (
            region_of(images[row], region, *known[row]) if row in known else 0 * images[row] for row in rows
        )
        write_images(file, len(images), study.image_size, made)
    return np.load(file, mmap_mode="r")


def region_of(image: np.ndarray, region: str, lungs: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return what a network is given, by ``model.region``; `size` is the original's width and height."""
    if region == "lungs_box":
        return lungs_box(image, lungs)
    return letterbox(image, *size) if region == "letterbox" else part(image, lungs, region)
