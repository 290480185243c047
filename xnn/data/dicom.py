"""Image files: PNG and JPEG as the notebooks read them, and one frame of uncompressed grey DICOM pixels."""

import io

import numpy as np
from PIL import Image

from . import images
from .images import MAX_PIXELS, MIN_SIDE, ImageError

MAGIC = slice(128, 132)  # b"DICM"
DEFLATED = b"1.2.840.10008.1.2.1.99"  # the only transfer syntax that pydicom unpacks without a limit
CHECKED = ["Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"]
CHECKED += ["PhotometricInterpretation", "PresentationLUTShape"]
GREY = ("MONOCHROME1", "MONOCHROME2")  # 0 is white, 0 is black


def decode(data: bytes, size: int) -> np.ndarray:
    """Return the grey image (size, size) uint8, 0 black, in a file; raise ImageError if it cannot be used.

    DICOM files are shown with their window, or else with all their grey levels; padding is black. Only the
    pixels and their description are read.
    """
    if data[MAGIC] != b"DICM":
        return images.decode(data, size)
    try:
        import pydicom
        from pydicom.pixels import apply_modality_lut, pixel_array
    except ImportError:
        raise ImageError("a DICOM file: to read it, install xnn[dicom], which brings pydicom") from None
    file, dataset = io.BytesIO(data), pydicom.Dataset()
    try:
        if DEFLATED in data:
            raise ImageError("compressed DICOM pixels: export it uncompressed, or as PNG")
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=CHECKED)
        _check(header)
        raw = pixel_array(file, ds_out=dataset)
        padding = _padding(raw, dataset)
        grey, black, white = _windowed(apply_modality_lut(raw, dataset), dataset, ~padding)
    except ImageError:
        raise
    except Exception as error:  # pydicom raises a wide range of errors on damaged files
        raise ImageError(f"damaged DICOM file: {str(error)[:100]}") from None
    if not np.isfinite(grey).all():
        raise ImageError("damaged DICOM file: its pixels are not all numbers")
    grey = np.round(255 * ((grey - black) / ((white - black) or 1)).clip(0, 1)).astype(np.uint8)
    if header.PhotometricInterpretation == GREY[0] or header.get("PresentationLUTShape") == "INVERSE":
        grey = 255 - grey
    grey[padding] = 0
    return np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR)).copy()


def _padding(raw: np.ndarray, dataset) -> np.ndarray:
    """Return where pixels (H, W) are padding outside the radiograph."""
    if "PixelPaddingValue" not in dataset:
        return np.zeros(raw.shape, bool)
    ends = dataset.PixelPaddingValue, dataset.get("PixelPaddingRangeLimit", dataset.PixelPaddingValue)
    return (raw >= min(ends)) & (raw <= max(ends))


def _windowed(values: np.ndarray, dataset, inside: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return pixels (H, W) as the file's first window shows them, and which values are black and white.

    Without a window these are the lowest and the highest value inside the radiograph.
    """
    from pydicom.pixels import apply_voi_lut

    with np.errstate(over="ignore"):  # a sigmoid far outside its window
        shown = apply_voi_lut(values, dataset)
        if shown is values:
            ends = values[inside].min(), values[inside].max()
        elif dataset.get("VOILUTSequence"):
            ends = 0, 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
        else:
            ends = apply_voi_lut(np.array([-1e9, 1e9]), dataset)
    return shown.astype(np.float64), float(ends[0]), float(ends[1])


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
