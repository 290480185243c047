"""Changes of a radiograph that should not move an answer: noise, blur, compression, another size."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

NOISE = 3  # standard deviation, grey levels of 255: hardly visible
BLUR = 1  # sigma, pixels
QUALITY = 75  # of JPEG, Pillow's default
FACTOR = 4  # of enlargement


def noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the image (H, W) uint8 with Gaussian noise."""
    return (image + rng.normal(0, NOISE, image.shape)).round().clip(0, 255).astype(np.uint8)


def blur(image: np.ndarray, _) -> np.ndarray:
    """Return the image blurred."""
    return ndimage.gaussian_filter(image, BLUR)


def recompression(image: np.ndarray, _) -> np.ndarray:
    """Return the image written as JPEG and read again."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=QUALITY)
    return np.array(Image.open(file))


def resizing(image: np.ndarray, _) -> np.ndarray:
    """Return the image enlarged and reduced again."""
    height, width = image.shape
    large = Image.fromarray(image).resize((FACTOR * width, FACTOR * height), Image.Resampling.BICUBIC)
    return np.array(large.resize((width, height), Image.Resampling.BILINEAR))


CHANGES: dict[str, Callable] = {
    f"noise, sd {NOISE}": noise,
    f"blur, sigma {BLUR} px": blur,
    f"JPEG, quality {QUALITY}": recompression,
    f"enlarged {FACTOR} times and reduced": resizing,
}
