"""DICOM files, read with pydicom if XNN_DICOM=1: one frame of uncompressed grey pixels."""

import io

import numpy as np
from PIL import Image

from ..data.images import MAX_PIXELS, MIN_SIDE, ImageError

MAGIC = slice(128, 132)  # b"DICM"
DEFLATED = b"1.2.840.10008.1.2.1.99"  # the only transfer syntax that pydicom unpacks without a limit
CHECKED = ["Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"]
GREY = ("MONOCHROME1", "MONOCHROME2")  # 0 is white, 0 is black


def decode(data: bytes, size: int) -> np.ndarray:
    """Return (size, size) uint8, 0 black, of a DICOM file as its window shows it.

    Only the pixels and their description (group 0028) are read; raise ImageError if they cannot be used.
    """
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array

    file, dataset = io.BytesIO(data), pydicom.Dataset()
    try:
        if DEFLATED in data:
            raise ImageError("compressed DICOM pixels: export it uncompressed, or as PNG")
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=CHECKED)
        _check(header)
        raw = pixel_array(file, ds_out=dataset)
        grey = apply_voi_lut(apply_modality_lut(raw, dataset), dataset).astype(np.float64)
    except ImageError:
        raise
    except Exception as error:  # pydicom raises a wide range of errors on damaged files
        raise ImageError(f"damaged DICOM file: {str(error)[:100]}") from None
    low, high = grey.min(), grey.max()
    if not np.isfinite([low, high]).all():
        raise ImageError("damaged DICOM file: its pixels are not all numbers")
    grey = np.round(255 * (grey - low) / ((high - low) or 1)).astype(np.uint8)
    if header.PhotometricInterpretation == GREY[0]:
        grey = 255 - grey
    return np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR)).copy()


def _check(header) -> None:
    """Refuse by the header, before a pixel is read."""
    rows, columns = int(header.Rows), int(header.Columns)
    if rows * columns > MAX_PIXELS:
        raise ImageError(f"{columns} x {rows} pixels are more than a radiograph has")
    if min(rows, columns) < MIN_SIDE:
        raise ImageError(f"{columns} x {rows} pixels: each side needs at least {MIN_SIDE}")
    if int(header.get("NumberOfFrames") or 1) != 1:
        raise ImageError("several frames, not a single image")
    if header.SamplesPerPixel != 1 or header.PhotometricInterpretation not in GREY:
        raise ImageError("a DICOM file in colour: only grey ones are accepted")
    if header.file_meta.TransferSyntaxUID.is_compressed:
        raise ImageError("compressed DICOM pixels: export it uncompressed, or as PNG")
