"""Radiograph files to grey arrays, safely, and the memory-mapped store they are decoded into once."""

import io
import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

MAX_BYTES = 64 * 2**20  # of one file; the largest radiograph of the public archive has 2 MB
MAX_PIXELS = 50_000_000  # a full-field radiograph has about 10 million
MIN_SIDE = 32  # pixels
FORMATS = ("JPEG", "PNG")
# Pillow warns of what has more than 89 million pixels; here it is refused.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


class ImageError(ValueError):
    """A file that cannot be used as a radiograph; the message says why in one line."""


def decode(data: bytes, size: int | None = None) -> np.ndarray:
    """Decode one JPEG or PNG file to grey.

    Parameters
    ----------
    data : the bytes of the file.
    size : side in pixels of the square result; the aspect ratio is not kept. None keeps the shape.

    Returns
    -------
    (H, W) uint8, 0 black.

    Raises
    ------
    ImageError : not a whole 8-bit JPEG or PNG of a plausible size.
    """
    if not data:
        raise ImageError("the file is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"{len(data) / 2**20:.0f} MB is too large for one radiograph")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check(image)
            if size is not None:
                image.draft("L", (2 * size, 2 * size))  # a large JPEG decodes at a fraction
            return _grey(image, size)
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError("not a JPEG or PNG image") from None
    except Image.DecompressionBombError:
        raise ImageError("decompression bomb: far more pixels than a radiograph has") from None
    # Pillow's decoders raise a wide range of errors on damaged files.
    except Exception as error:
        raise ImageError(f"corrupt or truncated image: {str(error)[:100]}") from None


def _check(image: Image.Image) -> None:
    """Refuse by the header, before a pixel is decoded."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"decompression bomb: {width} x {height} pixels is more than a radiograph has")
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{width} x {height} pixels: at least {MIN_SIDE} a side are needed")
    if getattr(image, "n_frames", 1) != 1:
        raise ImageError("an animation, not a single image")
    if image.mode not in EIGHT_BIT:
        raise ImageError(f"{image.mode} pixels (16 bits or more): export it with 8 bits a channel")


def _grey(image: Image.Image, size: int | None) -> np.ndarray:
    image = ImageOps.exif_transpose(image).convert("L")
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).copy()


def png(pixels: np.ndarray) -> bytes:
    """Return 8-bit pixels as a PNG file, which contains nothing else."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class ImageStore:
    """Square grey images in one memory-mapped file: row i belongs to row i of records.csv.

    Written through a temporary file, so a file that exists is whole.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.array = np.load(self.path, mmap_mode="r")  # (N, size, size) uint8

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index) -> np.ndarray:
        return self.array[index]

    @classmethod
    def write(cls, path: Path, count: int, size: int, images) -> "ImageStore":
        """Write `count` images from an iterator as they come; return the opened store.

        Plain sequential writes: a full disk is an OSError here, where a memory map would crash. Raises
        ValueError where the images are not as many, or not of the size, that was said.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{os.getpid()}-{path.name}")
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size)}
        try:
            with partial.open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                for image in images:
                    if image.shape != (size, size):
                        raise ValueError(f"an image of {image.shape} among images of {(size, size)}")
                    file.write(np.ascontiguousarray(image, np.uint8).tobytes())
                    count -= 1
            if count:
                raise ValueError(f"the number of images differs from what was said by {-count}")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return cls(path)
