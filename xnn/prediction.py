"""What a trained model says of the test images, computed once and kept under the key of what decides it."""

import hashlib
import json

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from . import provenance
from .batches import to_input
from .data import load_images, load_records, write_csv
from .evaluation import predictions_table
from .models import Classifier
from .params import Run
from .training import load_model

BATCH = 16  # small enough for a CPU's cache; no effect on the result beyond rounding


@torch.inference_mode()
def logits(model: Classifier, images: np.ndarray, flip: bool = False) -> np.ndarray:
    """Logits (N, C) of grey images (N, H, W) uint8; with `flip`, the mean with those of the mirror image."""
    model = model.eval().to(memory_format=torch.channels_last)
    results = []
    for start in tqdm(range(0, len(images), BATCH), desc="predicting", unit="batch", leave=False):
        batch = to_input(np.asarray(images[start : start + BATCH]))
        result = model(batch)
        results.append((result + model(batch.flip(-1))) / 2 if flip else result)
    return torch.cat(results).numpy()


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax in float64, so that rows sum to 1 in the file as well."""
    return torch.from_numpy(logits).double().softmax(1).numpy()


def predictions(run: Run, split: str = "test") -> pd.DataFrame:
    """The run's predictions: path, label, patient and one probability column a class.

    Kept as ``predictions.csv`` in the run's reports and asked of the model again only where what
    decides them has changed.
    """
    file, kept = run.reports / "predictions.csv", run.reports / "predictions.json"
    wanted = key(run)
    if kept.exists() and file.exists():
        found = json.loads(kept.read_text())
        if found == {"key": wanted, "sha256": provenance.file_sha256(file)}:
            print(f"{run.name}: predictions of this very model are kept")
            text = dict.fromkeys(("path", "label", "patient"), str)
            return pd.read_csv(file, dtype=text, keep_default_na=False)
    records = load_records(run.study)
    records = records[records.split == split].sort_values("path").reset_index(drop=True)
    images = load_images(run.study)[records.row.to_numpy()]
    found = probabilities(logits(load_model(run), images, run.evaluation.flip))
    table = predictions_table(records, found, run.study.classes)
    kept.unlink(missing_ok=True)
    write_csv(table, file)
    provenance.write_json({"key": wanted, "sha256": provenance.file_sha256(file)}, kept)
    return table


def key(run: Run) -> str:
    """Hash of all that decides a run's predictions: the trained model, the images asked about, the way."""
    records = load_records(run.study)
    parts = (
        json.loads((run.reports / "training.json").read_text())["key"],
        records.loc[records.split == "test", ["path", "label", "patient", "sha256"]].to_csv(index=False),
        provenance.code_sha256("images", "batches", "models", "prediction"),
        str(run.evaluation.flip),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
