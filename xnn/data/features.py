"""Features of a radiograph that are not the disease: its size, its sharpness, the bytes of its file."""

import numpy as np
import pandas as pd
from scipy import ndimage

from ..config.schema import Study
from .lungs import load_lungs
from .records import load_images


def shortcut_features(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """Return width, height, aspect, sharpness and file_bytes of each record, in their order.

    Sizes are those of the original: of the lung masks' table if there is one, else of the file. Sharpness is
    the standard deviation of fine detail in the central half of the image, in grey levels.
    """
    lungs, images = load_lungs(study, records), load_images(study)
    table = records[["width", "height"]].astype(float).reset_index(drop=True)
    if lungs is not None:
        table = lungs.table[["width", "height"]].astype(float)
        table[table.isna().any(axis=1)] = table.median().to_numpy()  # the few without a mask
    table["aspect"] = table.width / table.height
    table["sharpness"] = [sharpness(images[row]) for row in records.row]
    return table.assign(file_bytes=records.bytes.to_numpy(float))


def sharpness(image: np.ndarray) -> float:
    """Return the standard deviation of an image (H, W) less its blur by one pixel, in its central half."""
    rows, columns = (slice(side // 4, side - side // 4) for side in image.shape)
    centre = image[rows, columns].astype(np.float32)
    return float((centre - ndimage.gaussian_filter(centre, 1)).std())
