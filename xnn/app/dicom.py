"""DICOM files, where pydicom is installed and they are asked for: one frame of uncompressed grey pixels."""

import importlib.util
import io

import numpy as np
from PIL import Image

from ..data.images import MAX_PIXELS, MIN_SIDE, ImageError

MAGIC = slice(128, 132)  # after a preamble of 128 bytes
DEFLATED = b"1.2.840.10008.1.2.1.99"  # the only syntax that pydicom unpacks without a bound
# a file may hold millions of elements: only these are kept
TAGS = [
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "PixelData",
]


def is_dicom(data: bytes) -> bool:
    return data[MAGIC] == b"DICM"


def available() -> bool:
    """Whether pydicom is installed."""
    return importlib.util.find_spec("pydicom") is not None


def decode(data: bytes, size: int) -> np.ndarray:
    """(size, size) uint8, 0 black, of a DICOM file as its window shows it; nothing else of it is read.

    Raises
    ------
    ImageError : not one frame of uncompressed grey pixels of a plausible size.
    """
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    if DEFLATED in data:
        raise ImageError("compressed DICOM pixels: export it uncompressed, or as PNG")
    try:
        header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=TAGS)
        _check(header)
        whole = pydicom.dcmread(io.BytesIO(data), specific_tags=TAGS)
        grey = apply_voi_lut(apply_modality_lut(whole.pixel_array, whole), whole).astype(np.float64)
    except ImageError:
        raise
    # pydicom raises a wide range of errors on damaged files
    except Exception as error:
        raise ImageError(f"damaged DICOM file: {str(error)[:100]}") from None
    low, high = grey.min(), grey.max()
    if not np.isfinite([low, high]).all():
        raise ImageError("damaged DICOM file: pixels that are no numbers")
    grey = np.round(255 * (grey - low) / ((high - low) or 1)).astype(np.uint8)
    if header.PhotometricInterpretation == "MONOCHROME1":  # 0 is white
        grey = 255 - grey
    return np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR)).copy()


def _check(header) -> None:
    """Refuse by the header, before a pixel is read."""
    rows, columns = int(header.Rows), int(header.Columns)
    if rows * columns > MAX_PIXELS:
        raise ImageError(f"{columns} x {rows} pixels is more than a radiograph has")
    if min(rows, columns) < MIN_SIDE:
        raise ImageError(f"{columns} x {rows} pixels: at least {MIN_SIDE} a side are needed")
    if int(header.get("NumberOfFrames") or 1) != 1:
        raise ImageError("several frames, not a single image")
    if header.SamplesPerPixel != 1 or header.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        raise ImageError("a DICOM file in colour: grey ones are taken only")
    if header.file_meta.TransferSyntaxUID.is_compressed:
        raise ImageError("compressed DICOM pixels: export it uncompressed, or as PNG")
