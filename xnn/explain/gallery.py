"""Pictures of explanations for ``gallery.html``, which a browser shows without a server.

A run's pictures are sheets, its cases side by side: one sheet of radiographs and one per method, orange where
a pixel raises the evidence, purple where it lowers it, transparent elsewhere. ``data.js`` says what is on
them: a script, since a page that is opened as a file may read no other kind of file.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from .. import plots
from ..config.schema import Run

SIDE = 192  # pixels of a radiograph on its sheet
COARSE = 64  # pixels of an attribution, the mean of finer ones: smoothed maps have no finer detail
QUALITY, ALPHA = 50, 70  # of WebP; a lossless opacity takes ten seconds per sheet


def write(run: Run, cases: pd.DataFrame, images, maps: Mapping[str, np.ndarray]) -> Path:
    """Write the pictures of a run's cases to its report, and return their folder; old pictures are removed.

    Parameters
    ----------
    cases : N rows with path, label, predicted, probability, right, difference and gap.
    images : (N, H, W) grey, 0 to 255.
    maps : method to (N, H, W) signed, smoothed: noise from pixel to pixel is not legible.
    """
    if any(len(each) != len(cases) for each in (images, *maps.values())):
        raise ValueError(f"{len(cases)} cases, but other numbers of images or maps")
    folder = run.reports / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    sheets = {"radiographs": [_radiograph(image) for image in images]}
    sheets |= {name: [_picture(one) for one in each] for name, each in maps.items()}
    for name, pictures in sheets.items():
        sheet = Image.fromarray(np.concatenate(pictures, axis=1))
        sheet.save(folder / f"{name}.webp", quality=QUALITY, alpha_quality=ALPHA)
    if "integrated_gradients" in maps:
        _save_maps(cases, maps["integrated_gradients"], folder / "maps.npz")
    columns = ["label", "predicted", "probability", "right", "difference", "gap"]
    data = {
        "study": run.study.name,
        "run": run.name,
        "synthetic": run.study.synthetic,
        "attribution": run.study.archive.attribution,
        "classes": run.study.classes,
        "methods": list(maps),
        "cases": json.loads(cases[columns].round(4).to_json(orient="records")),
    }
    (folder / "data.js").write_text(f"show({json.dumps(data)});\n")
    return folder


def _picture(attribution):
    """Return (COARSE, COARSE, 4) uint8: the colour of the sign, with the opacity of every figure."""
    coarse = _coarse(attribution)
    colour = np.where(coarse[..., None] > 0, plots.RAISES, plots.LOWERS)
    return np.dstack([colour, 255 * plots.opacity(coarse)]).astype(np.uint8)


def _coarse(attribution):
    grey = Image.fromarray(np.asarray(attribution, np.float32))
    return np.asarray(grey.resize((COARSE, COARSE), Image.Resampling.BOX))  # the mean, with its sign


def _save_maps(cases, attributions, file):
    """Save the opacities of maps with their signs, in units of ``scale``, for FiftyOne."""
    signed = [np.sign(each) * plots.opacity(each) for each in map(_coarse, attributions)]
    maps = np.round(127 * np.reshape(signed, (-1, COARSE, COARSE))).astype(np.int8)
    paths, predicted = (cases[column].to_numpy(str) for column in ("path", "predicted"))
    np.savez_compressed(file, path=paths, predicted=predicted, maps=maps, scale=127)


def _radiograph(image):
    return np.asarray(Image.fromarray(np.asarray(image, np.uint8)).resize((SIDE, SIDE)))
