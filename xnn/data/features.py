"""Features of a radiograph that are not the disease: its size, its sharpness, the bytes of its file."""

import numpy as np
import pandas as pd
from scipy import ndimage

from ..config.schema import Study
from .lungs import load_table
from .records import load_images, load_records


def shortcut_features(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """Return width, height, aspect, sharpness and file_bytes of each record, in their order.

    Sizes are those of the original: of the lung masks' table if there is one, else of the file. Sharpness is
    the standard deviation of fine detail in the central half of the image, in grey levels.
    """
    images, table = load_images(study), _sides(study, records)
    table[table.isna().any(axis=1)] = table.median().to_numpy()  # the few without a mask
    table["aspect"] = table.width / table.height
    table["sharpness"] = [sharpness(images[row]) for row in records.row]
    return table.assign(file_bytes=records.bytes.to_numpy(float))


def original_sizes(study: Study) -> pd.Series | None:
    """Return the size of each original by path, the root of width times height in pixels, NaN where unknown.

    None if all originals are of one size, or are recorded as copies of one size.
    """
    records = load_records(study)
    sizes = np.sqrt(_sides(study, records).prod(axis=1, skipna=False)).set_axis(records.path)
    return sizes if sizes.nunique() > 1 else None


def _sides(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """Width and height of the originals: of the lung masks' table if there is one, else of the files."""
    lungs = load_table(study, records)
    table = records if lungs is None else lungs
    return table[["width", "height"]].astype(float).reset_index(drop=True)


def sharpness(image: np.ndarray) -> float:
    """Return the standard deviation of an image (H, W) less its blur by one pixel, in its central half."""
    rows, columns = (slice(side // 4, side - side // 4) for side in image.shape)
    centre = image[rows, columns].astype(np.float32)
    return float((centre - ndimage.gaussian_filter(centre, 1)).std())
