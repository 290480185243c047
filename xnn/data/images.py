"""Radiographs: safe decoding of files to grey arrays, and the memory-mapped file that keeps them."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageOps

from ..config.provenance import whole

MAX_BYTES = 64 * 2**20  # per file; the largest radiograph of the public archive has 2 MB
MAX_PIXELS = 50_000_000  # a full-field radiograph has about 10 million
MIN_SIDE = 32  # pixels
FORMATS = ("JPEG", "PNG")
EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
OTHERS = {  # what else people have under such names, by the mark at its place in the file
    (0, b"version https://git-lfs"): "a pointer of Git LFS: run `git lfs pull`",
    (8, b"WEBP"): "WebP: convert it to PNG",
    (4, b"ftyp"): "HEIC or AVIF: convert it to PNG",
    (0, (b"II*\0", b"MM\0*")): "TIFF: convert it to PNG",
    (128, b"DICM"): "DICOM: convert it to PNG (only the app reads it)",
}


class ImageError(ValueError):
    """A file that cannot be used as a radiograph; the message says why, in one line."""


def decode(data: bytes, size: int | None = None) -> np.ndarray:
    """Return the grey image in a JPEG or PNG file: (H, W) uint8, 0 black; what is transparent is black.

    With a `size` the image is resized to (size, size), whatever its aspect ratio. Raises ImageError unless
    the file is a complete 8-bit image of a plausible size.
    """
    if not data:
        raise ImageError("the file is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"too large for one radiograph: {len(data) / 2**20:.0f} MB")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_header(image)
            if size is not None:
                image.draft("L", (2 * size, 2 * size))  # decode a large JPEG at a fraction of its size
            image = ImageOps.exif_transpose(image)
            grey = image.convert("L")
            if image.has_transparency_data:
                grey = ImageChops.multiply(grey, image.convert("RGBA").getchannel("A"))
            if size is not None and grey.size != (size, size):
                grey = grey.resize((size, size), Image.Resampling.BILINEAR)
            return np.array(grey)
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        kinds = (kind for (start, mark), kind in OTHERS.items() if data[start:].startswith(mark))
        raise ImageError(f"not a JPEG or PNG image{next((f', but {kind}' for kind in kinds), '')}") from None
    except Image.DecompressionBombError:
        raise ImageError("decompression bomb: far more pixels than a radiograph has") from None
    except Exception as error:  # Pillow's decoders raise a wide range of errors for damaged files
        raise ImageError(f"corrupt or truncated image: {str(error)[:100]}") from None


def _check_header(image: Image.Image) -> None:
    """Raise ImageError for an image that cannot be a radiograph, before a pixel is decoded."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"decompression bomb: {width} x {height} pixels is more than a radiograph has")
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"too small: {width} x {height} pixels, at least {MIN_SIDE} per side are needed")
    if image.format == "PNG" and getattr(image, "n_frames", 1) != 1:  # the JPEG of a phone may hold two
        raise ImageError("an animation, not a single image")
    if image.mode not in EIGHT_BIT:
        raise ImageError(f"{image.mode} pixels (16 bits or more): export it with 8 bits per channel")


def write_images(path: Path, count: int, size: int, images: Iterable[np.ndarray]) -> None:
    """Write `count` grey images of (size, size) to an .npy file, one after the other.

    Plain writes: on a full disk they raise OSError, where a memory map would crash. Raises ValueError if the
    images are of another number or size.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size)}
    written = 0
    with whole(path) as partial, partial.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for image in images:
            if image.shape != (size, size):
                raise ValueError(f"expected images of {(size, size)}, got one of {image.shape}")
            written += file.write(np.ascontiguousarray(image, np.uint8).tobytes()) // size**2
        if written != count:
            raise ValueError(f"expected {count} images, got {written}")


def png(pixels: np.ndarray) -> bytes:
    """Return 8-bit pixels as a PNG file, which contains nothing else."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
