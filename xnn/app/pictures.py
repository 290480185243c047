"""An overlay whose strength can be chosen, from the pictures of an answer."""

import base64
import io

import numpy as np
from PIL import Image

DIMMED = 0.2  # of the radiograph's brightness below colours at full strength, as in every figure


def blend(radiograph: str, attribution: str, strength: float) -> np.ndarray:
    """(H, W, 3) uint8 of pictures in base64; strength 0 is the radiograph, 1 the overlay of the notebooks."""
    grey = _pixels(radiograph)[..., None].astype(float)
    colour = _pixels(attribution).astype(float)
    cover = strength * colour[..., 3:] / 255
    under = (1 - DIMMED * strength) * grey
    return np.clip((1 - cover) * under + cover * colour[..., :3], 0, 255).astype(np.uint8)


def _pixels(encoded):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded)), formats=("PNG",)))
