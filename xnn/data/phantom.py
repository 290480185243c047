"""Phantoms: synthetic frontal chest radiographs of children with a known lesion mask.

Anatomy is a set of soft-edged functions of chest coordinates: x and y run from -1 to 1 over the unshifted
image, x to the image's right (the patient's left) and y downwards; all lengths are in these units. A film
adds up attenuation, so dense is bright, as on a radiograph.
"""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

CLASSES = ("bacteria", "normal", "virus")
CLASS_MIX = (0.47, 0.27, 0.26)  # close to the public archive of paediatric radiographs
MAX_IMAGES, NEW_IMAGE = 12, 0.5  # images per patient: geometric, mean about 2, heavy tail

# separate random streams: a lesion never changes the chest around it
ANATOMY_STREAM, VESSEL_STREAM, VIEW_STREAM, LESION_STREAM, COHORT_STREAM = range(5)

# Ranges of uniform draws, one value per patient.
ANATOMY = {
    "cage": (0.58, 0.70),  # half width of the thorax
    "apex": (-0.72, -0.60),  # y of the lung tops
    "wall": (0.07, 0.15),  # soft tissue outside the ribs
    "dome": (0.46, 0.58),  # y of the right diaphragm
    "dome_tilt": (0.02, 0.08),  # how much lower the left one is
    "heart_x": (0.07, 0.13),
    "heart_width": (0.29, 0.37),  # cardiothoracic ratio near a half, as in small children
    "heart_height": (0.19, 0.24),
    "thymus": (0.10, 0.16),  # half width of the upper mediastinum
    "rib_spacing": (0.125, 0.150),
    "rib_slope": (0.02, 0.16),
    "rib_phase": (0.0, 1.0),
    "rib_density": (0.07, 0.12),
    "clavicle": (-0.66, -0.56),  # y of its inner end
    "clavicle_rise": (-0.02, 0.12),
    "arm": (0.05, 0.30),  # distance of the elbows
    "stomach": (-0.15, 0.16),  # its air bubble; none below zero
}

# The same, one value per image: position, exposure and confounders, none of which depends on the label.
VIEW = {
    "angle": (-0.07, 0.07),  # radians
    "dx": (-0.06, 0.06),
    "dy": (-0.06, 0.06),
    "zoom": (0.94, 1.14),
    "inspiration": (-0.05, 0.06),  # shift of the diaphragm
    "gamma": (0.80, 1.30),
    "contrast": (0.85, 1.15),
    "brightness": (-0.07, 0.07),
    "noise": (0.008, 0.040),
    "blur": (0.003, 0.008),
    "vessels": (0.05, 0.20),
    "haze": (0.0, 0.05),  # cloudy, unrelated to disease
    "grain": (0.0, 0.06),  # streaky, unrelated to disease
}

# Attenuation added where a lesion is densest, from barely to clearly visible; AIR would fill a lung.
STRENGTH = {"bacteria": (0.22, 0.5), "virus": (0.2, 0.45)}
SECOND_FOCUS = 0.2  # probability that a consolidation has a second focus
# Upper, middle and lower focus, in the outer half of a lobe, as fractions of (cage, lung height).
LOBES = ((0.50, 0.25), (0.58, 0.55), (0.50, 0.82))
MASK_LEVEL = 0.35  # of the lesion's maximum; fainter parts would not be outlined

AIR, TISSUE, BONE = 0.45, 0.62, 0.13  # attenuation
EDGE = 0.016  # softness of outlines
MARKER_CHANCE = 0.6
LETTERS = {
    "R": ("####.", "#...#", "#...#", "####.", "#.#..", "#..#.", "#...#"),
    "L": ("#....", "#....", "#....", "#....", "#....", "#....", "#####"),
}
# The marker as a planted shortcut: whether there is one, and whether it is low, also in a mirror image.
SHORTCUT = {"bacteria": (True, False), "normal": (False, False), "virus": (True, True)}


class Phantom(NamedTuple):
    """A synthetic radiograph; all parts are (size, size)."""

    image: np.ndarray  # uint8, 0 black
    mask: np.ndarray  # bool, where the lesion adds noticeable attenuation
    marker: np.ndarray  # bool, the rectangle of the letter
    lungs: np.ndarray  # bool, with the parts behind the heart


class Grid(NamedTuple):
    """Chest coordinates of each pixel, the affine map back to the image, and the side of a pixel."""

    x: np.ndarray
    y: np.ndarray
    matrix: np.ndarray
    offset: np.ndarray
    pixel: float


def cohort(patients: int, seed: int) -> pd.DataFrame:
    """Return patient, label and image (number within the patient) of radiographs to be drawn with `draw`.

    A patient has one label and 1 to 12 images, about 2 on average.
    """
    rng = _rng(seed, 0, 0, COHORT_STREAM)
    labels = rng.choice(CLASSES, size=patients, p=CLASS_MIX)
    counts = np.minimum(rng.geometric(NEW_IMAGE, size=patients), MAX_IMAGES)
    patient = np.repeat(np.arange(patients), counts)
    table = pd.DataFrame({"patient": patient, "label": labels[patient]})
    return table.assign(image=table.groupby("patient").cumcount())


def draw(label: str, patient: int, image: int, size: int, seed: int, marker: str = "random") -> Phantom:
    """Return a synthetic chest radiograph of (size, size) pixels.

    The anatomy depends on seed and patient; position, exposure, noise and marker depend on the image as well.
    The label decides the lesion alone: bacteria (focal consolidation), normal, or virus (diffuse interstitial
    pattern). With the marker "class" it also decides the marker, as a planted shortcut: high for bacteria,
    low for virus, none for normal.
    """
    body = _sample(ANATOMY, _rng(seed, patient, 0, ANATOMY_STREAM))
    rng = _rng(seed, patient, image, VIEW_STREAM)
    view = _sample(VIEW, rng)
    body.dome += view.inspiration
    grid = _grid(view, size)
    air = _air(grid, body)
    film = _chest(grid, body, air)
    clutter = view.haze * _clouds(grid, 0.22, rng) + view.grain * _reticulum(grid, rng)
    film += air * (view.vessels * _trees(grid, body, _rng(seed, patient, 0, VESSEL_STREAM)) + clutter)
    lesion, mask = _lesion(label, grid, body, air, _rng(seed, patient, image, LESION_STREAM))
    letter, place = _marker(size, rng, SHORTCUT[label] if marker == "class" else None)
    image = _expose(np.maximum(film + lesion, letter), grid, view, rng)
    return Phantom(image, mask, place, _lungs(grid, body) > 0.5)


def _rng(*key):
    return np.random.default_rng(key)  # keys of one length: NumPy seeds [1, 2] and [1, 2, 0] alike


def _sample(ranges, rng):
    return SimpleNamespace(**{name: rng.uniform(*bounds) for name, bounds in ranges.items()})


def _grid(view, size):
    pixel = 2 / size
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    cos, sin = np.cos(view.angle) * view.zoom, np.sin(view.angle) * view.zoom
    matrix = np.array([[cos, -sin], [sin, cos]])  # chest to image, both -1..1
    offset = np.array([view.dx, view.dy])
    flat = np.stack([columns.ravel(), rows.ravel()]) * pixel + (pixel / 2 - 1) - offset[:, None]
    x, y = np.linalg.solve(matrix, flat).astype(np.float32).reshape(2, size, size)
    return Grid(x, y, matrix, offset, pixel)


def _soft(distance, edge=EDGE):
    """Return a soft step from 0 outside (negative distance) to 1 inside."""
    t = np.clip(0.5 + distance / (3 * edge), 0, 1)
    return t * t * (3 - 2 * t)


def _ellipse(grid, cx, cy, rx, ry, edge=EDGE, turn=0.0):
    x, y = grid.x - cx, grid.y - cy
    u = (x * np.cos(turn) + y * np.sin(turn)) / rx
    v = (y * np.cos(turn) - x * np.sin(turn)) / ry
    return _soft((1 - np.sqrt(u * u + v * v)) * min(rx, ry), edge)


def _cage(grid, body):
    """Return the distance to the rib cage on each side of the spine, positive inside."""
    widest, centre = 0.35, 0.22
    across = np.abs(grid.x) - centre
    across = np.abs(across) / np.where(across > 0, body.cage - centre, 0.26)
    down = grid.y - widest
    down = np.abs(down) / np.where(down < 0, widest - body.apex, 2.2)
    return (1 - (across**2.4 + down**2.4) ** (1 / 2.4)) * 0.4


def _diaphragm(grid, body):
    """Return the y of the diaphragm at each pixel: two domes, the image's left one higher."""
    from_top = (np.abs(grid.x) - 0.45 * body.cage) / body.cage
    dome = body.dome + body.dome_tilt * _soft(grid.x, 0.05)
    return dome + np.where(from_top > 0, 0.75, 0.35) * from_top**2


def _heart(grid, body):
    """Return heart, great vessels and thymus, which hide the middle of the lungs, 0 to 1."""
    width, height = body.heart_width, body.heart_height
    y = body.dome - 0.75 * height
    parts = (
        _ellipse(grid, body.heart_x, y, width, height, 0.03, turn=0.55),
        _ellipse(grid, body.heart_x - 0.11, y + 0.02, 0.16, 1.15 * height, 0.03),  # right atrium
        _ellipse(grid, 0.08, y - height, 0.13, 0.24, 0.04, turn=-0.25),  # pulmonary trunk
        _ellipse(grid, 0.07, body.apex + 0.40, 0.11, 0.10, 0.03),  # aortic arch
        _soft(body.thymus * (1 + 0.25 * grid.y) - np.abs(grid.x - 0.01), 0.025),
    )
    return 1 - np.prod([1 - part for part in parts], axis=0)


def _lungs(grid, body):
    """Return how much of each pixel is lung, 0 to 1, above the diaphragm and also behind the heart."""
    inside = np.minimum(_cage(grid, body), np.abs(grid.x) - 0.06)
    return _soft(np.minimum(inside, _diaphragm(grid, body) - grid.y))


def _air(grid, body):
    """Return how much of each pixel is lung, 0 to 1, without heart and diaphragm."""
    return _lungs(grid, body) * (1 - 0.93 * _heart(grid, body))


def _chest(grid, body, air):
    """Return the attenuation of everything but the texture of the lungs and the lesion."""
    film = _outline(grid, body) * TISSUE
    belly = _soft(grid.y - _diaphragm(grid, body), 0.03)
    film += 0.10 * belly * film
    film += 0.05 * _heart(grid, body) * film
    film -= AIR * air
    film += _spine(grid, body) + _ribs(grid, body) * (0.4 + 0.6 * air) + _shoulders(grid, body)
    film -= 0.13 * _trachea(grid, body)
    if body.stomach > 0.05:
        bubble = _ellipse(grid, 0.33, body.dome + 0.25, body.stomach, 0.07, 0.02)
        film -= 0.2 * bubble * belly
    return film


def _outline(grid, body):
    """Return neck, shoulders, trunk and arms, from thin skin to full thickness."""
    side = np.abs(grid.x)
    trunk = body.cage + body.wall
    ys = [-1.3, -0.92, -0.80, -0.68, -0.50, -0.2, 0.4, 1.3]
    widths = [0.20, 0.22, 0.42, 0.66, trunk + 0.02, trunk, trunk + 0.01, trunk + 0.03]
    half = PchipInterpolator(ys, widths)(grid.y).astype(np.float32)
    inside = np.maximum(half - side, _arm(grid, body))
    return _soft(inside, 0.02) * (0.72 + 0.28 * np.clip(inside / 0.16, 0, 1))


def _arm(grid, body):
    """Return the distance inside the upper arms: capsules from the shoulders outwards and down."""
    trunk = body.cage + body.wall
    start, end = np.array([trunk - 0.02, -0.58]), np.array([trunk + 0.10 + body.arm, 0.9])
    along = end - start
    x, y = np.abs(grid.x) - start[0], grid.y - start[1]
    t = np.clip((x * along[0] + y * along[1]) / (along @ along), 0, 1)
    return 0.15 - np.hypot(x - t * along[0], y - t * along[1])


def _spine(grid, body):
    """Return vertebrae, one per rib, with discs between them and processes in the middle."""
    x, phase = grid.x, np.cos(2 * np.pi * grid.y / body.rib_spacing)
    column = _soft(0.075 + 0.008 * phase - np.abs(x), 0.012)
    process = np.exp(-((x / 0.02) ** 2)) * (phase > 0)
    return BONE * column * (0.55 + 0.25 * _soft(phase + 0.5, 0.3) + 0.2 * process)


def _ribs(grid, body):
    """Return the ribs: posterior arcs from the spine outwards, steeper anterior arcs back inwards."""
    u = np.abs(grid.x) / body.cage
    inside = _soft(_cage(grid, body) + 0.045, 0.012) * _soft(0.80 - grid.y, 0.08)
    phase = body.rib_phase
    sag = -0.05 * np.sin(np.pi * np.clip(u, 0, 1)) + body.rib_slope * u**2 + 0.10 * u**6
    back = _bars((grid.y - sag) / body.rib_spacing + phase, 0.26) * _soft(u - 0.10, 0.03)
    fall = body.rib_slope + 0.10 + (0.25 + body.rib_slope) * np.clip(1 - u, 0, 1) ** 1.2
    front = _bars((grid.y - fall) / body.rib_spacing + phase, 0.30) * _soft(u - 0.42, 0.06)
    return body.rib_density * inside * (back + 0.5 * front)


def _bars(phase, half):
    """Return bars around the integers, brighter at their margins like cortical bone."""
    away = np.abs(phase - np.round(phase)) / half
    return _soft(1 - away, 0.2) * (0.65 + 0.35 * np.clip(away, 0, 1) ** 2)


def _shoulders(grid, body):
    """Return clavicles, shoulder blades, and heads and shafts of the upper arms."""
    side, trunk = np.abs(grid.x), body.cage + body.wall
    u = np.clip((side - 0.07) / (trunk - 0.1), 0, 1)
    middle = body.clavicle - body.clavicle_rise * u - 0.05 * np.sin(2 * np.pi * u)
    ends = _soft(side - 0.07, 0.01) * _soft(trunk - 0.04 - side, 0.01)
    away = np.abs(grid.y - middle) / (0.026 + 0.01 * (2 * u - 1) ** 2)
    film = 0.9 * _soft(1 - away, 0.3) * (0.7 + 0.3 * np.clip(away, 0, 1) ** 2) * ends
    mirrored = grid._replace(x=side)
    film += 0.6 * _ellipse(mirrored, trunk + 0.01, -0.56, 0.085, 0.085)
    film += 0.35 * _ellipse(mirrored, trunk - 0.07, -0.36, 0.06, 0.24, 0.012, turn=0.15)
    return BONE * (film + 0.9 * _soft(_arm(grid, body) - 0.095, 0.015))


def _trachea(grid, body):
    """Return the windpipe and, fainter, the two main bronchi."""
    fork = body.apex + 0.42
    pipe = _soft(0.036 - np.abs(grid.x + 0.01), 0.012) * _soft(fork - grid.y, 0.02)
    below = np.clip(grid.y - fork, 0, None)
    off = np.abs(np.abs(grid.x + 0.01) - 0.9 * below)
    bronchi = _soft(0.024 - off, 0.012) * _soft(grid.y - fork, 0.01) * _soft(0.14 - below, 0.03)
    return pipe + 0.7 * bronchi


def _trees(grid, body, rng, stems=6, generations=4, steps=24):
    """Return curved branches from both hila, 0 to 1, thinner and fainter outwards.

    Angle 0 is towards the side, positive is down.
    """
    side = np.repeat([-1, 1], stems)
    spread = np.tile(np.linspace(-1, 1, stems), 2)
    start = np.stack([0.17 * side, body.apex + 0.55 + 0.08 * spread], axis=-1)
    angle = 0.1 + 1.3 * spread + rng.normal(0, 0.15, len(side))
    length, film, t = 0.20, 0.0, (np.arange(steps) + 1) / steps
    for generation in range(generations):
        bend = rng.normal(0, 0.35, len(angle))
        size = length * rng.uniform(0.7, 1.2, len(angle))
        heading = angle[:, None] + bend[:, None] * t
        stride = np.stack([side[:, None] * np.cos(heading), np.sin(heading)], axis=-1)
        points = start[:, None] + np.cumsum(stride * size[:, None, None] / steps, axis=1)
        film = film + 0.75**generation * _lines(grid, points, 0.017 * 0.70**generation)
        start, side = np.repeat(points[:, -1], 2, axis=0), np.repeat(side, 2)
        fork = np.tile([-0.38, 0.38], len(angle)) + rng.normal(0, 0.12, 2 * len(angle))
        angle, length = np.repeat(angle + bend, 2) + fork, length * 0.78
    return np.clip(film, 0, 1)


def _lines(grid, points, width):
    """Return soft lines through points (branch, step, xy), about 1 where a line is alone."""
    n, sigma = len(grid.x), width / grid.pixel
    stride = np.linalg.norm(points[:, 1] - points[:, 0], axis=-1) / grid.pixel
    weight = np.repeat(stride * np.sqrt(2 * np.pi) * sigma, points.shape[1])
    at = points.reshape(-1, 2) @ grid.matrix.T + grid.offset
    column, row = np.floor((at.T + 1) / grid.pixel).astype(int)
    seen = (column >= 0) & (column < n) & (row >= 0) & (row < n)
    canvas = np.bincount((row * n + column)[seen], weight[seen], minlength=n * n)
    return ndimage.gaussian_filter(canvas.reshape(n, n).astype(np.float32), sigma)


def _clouds(grid, scale, rng, cells=96):
    """Return smooth noise with mean 0, deviation 1 and features of `scale`, fixed to the chest."""
    noise = rng.standard_normal((cells, cells), dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, scale * cells / 5, mode="wrap")
    noise = (noise - noise.mean()) / noise.std()
    where = np.stack([grid.y, grid.x]) * (cells / 2.6) + cells / 2
    return ndimage.map_coordinates(noise, where, order=1, mode="wrap")


def _reticulum(grid, rng):
    """Return a net of thin bright ridges, 0 to 1: the zero crossings of smooth noise."""
    return np.exp(-((_clouds(grid, 0.065, rng) / 0.4) ** 2))


def _lesion(label, grid, body, air, rng):
    """Return the attenuation and the mask of the label's lesion."""
    if label == "normal":
        return np.zeros_like(air), np.zeros(air.shape, bool)
    strength = rng.uniform(*STRENGTH[label])
    shape = air * {"bacteria": _consolidation, "virus": _interstitial}[label](grid, body, rng)
    laid = ndimage.gaussian_filter(shape, 0.04 / grid.pixel) if label == "virus" else shape  # no net of holes
    return strength * shape, (laid > MASK_LEVEL * laid.max()) & (air > 0.5)


def _consolidation(grid, body, rng):
    """Return one lobar opacity, sometimes two, of patchy density and with dark bronchi."""
    side, lobe = rng.choice([-1, 1]), rng.integers(len(LOBES))
    field = _focus(grid, body, side, LOBES[lobe], rng)
    if rng.random() < SECOND_FOCUS:
        field = np.maximum(field, 0.8 * _focus(grid, body, side, LOBES[lobe - 1], rng))
    bronchi = _trees(grid, body, rng, generations=3)
    patchy = 0.85 + 0.10 * _clouds(grid, 0.12, rng)
    return field * np.clip(patchy - 0.35 * bronchi, 0.2, 1)


def _focus(grid, body, side, lobe, rng):
    """Return a blurred ellipse with an irregular margin, 0 to 1."""
    height = body.dome - body.apex
    cx = side * body.cage * (lobe[0] + rng.uniform(-0.08, 0.12))
    cy = body.apex + height * (lobe[1] + rng.uniform(-0.06, 0.06))
    rx, ry = body.cage * rng.uniform(0.22, 0.42), height * rng.uniform(0.13, 0.24)
    radius = np.hypot((grid.x - cx) / rx, (grid.y - cy) / ry)
    return _soft(1 - radius + 0.13 * _clouds(grid, 0.15, rng), rng.uniform(0.20, 0.50))


def _interstitial(grid, body, rng):
    """Return streaks along the bronchi, a net and a faint veil, denser near the hila."""
    streaks = _trees(grid, body, rng, stems=8)
    from_hilum = np.hypot(np.abs(grid.x) - 0.2, 0.8 * (grid.y - body.apex - 0.55))
    spread = np.exp(-((from_hilum / rng.uniform(0.45, 0.80)) ** 2))
    patchy = np.clip(0.9 + 0.22 * _clouds(grid, 0.3, rng), 0.3, 1.3)
    return spread * patchy * (0.15 + 0.40 * streaks + 0.45 * _reticulum(grid, rng))


def _expose(film, grid, view, rng):
    """Return the grey levels of an attenuation: blur, tone curve, noise."""
    film = ndimage.gaussian_filter(film, view.blur / grid.pixel)
    film = np.clip(film * 1.12 + 0.03, 0, None) ** view.gamma
    film = 0.45 + view.contrast * (film - 0.45) + view.brightness
    noise = rng.standard_normal(film.shape, dtype=np.float32)
    film += view.noise * (0.5 + np.clip(film, 0, 1)) * noise
    return (np.clip(film, 0, 1) * 255).round().astype(np.uint8)


def _marker(size, rng, planted=None):
    """Return a bright R at the image's left or L at its right, and its rectangle.

    `planted` says whether there is a marker and whether it is low; by default that is random.
    """
    film, place = np.zeros((size, size), np.float32), np.zeros((size, size), bool)
    shown, right, low = rng.random(3) < (MARKER_CHANCE, 0.5, 0.35)
    across, down, tall = rng.uniform((0.03, 0.04, 0.07), (0.10, 0.14, 0.10))
    if planted:
        shown, low = planted
    if shown:
        letter = np.array([list(row) for row in LETTERS["L" if right else "R"]]) == "#"
        height, width = max(7, round(tall * size)), max(5, round(0.7 * tall * size))
        left, top = round(across * size), round(down * size)
        left, top = size - left - width if right else left, size - top - height if low else top
        window = np.s_[top : top + height, left : left + width]
        film[window] = 0.95 * letter[np.ix_(np.arange(height) * 7 // height, np.arange(width) * 5 // width)]
        place[window] = True
    return film, place
