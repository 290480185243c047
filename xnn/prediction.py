"""What a trained model says of a split's images: asked once, kept under the key of what decides it."""

import hashlib
import json

import pandas as pd

from . import provenance
from .data import load_images, load_records, write_csv
from .evaluation import predictions_table
from .params import Run


def predictions(run: Run) -> pd.DataFrame:
    """The run's predictions of the test split: path, label, patient and one probability column a class.

    Kept as ``predictions.csv`` in the run's reports and asked of the model again only where what
    decides them has changed; so a page that reads kept ones loads no network.
    """
    file, kept = run.reports / "predictions.csv", run.reports / "predictions.json"
    wanted = key(run)
    if kept.exists() and file.exists():
        found = json.loads(kept.read_text())
        if found == {"key": wanted, "sha256": provenance.file_sha256(file)}:
            print(f"{run.name}: predictions of this very model are kept")
            text = dict.fromkeys(("path", "label", "patient"), str)
            return pd.read_csv(file, dtype=text, keep_default_na=False)
    table = _ask(run)
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
        provenance.code_sha256("images", "models", "inference"),
        str(run.evaluation.flip),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _ask(run: Run) -> pd.DataFrame:
    from .inference import logits, probabilities  # takes seconds to import
    from .models import load_model

    records = load_records(run.study)
    records = records[records.split == "test"].sort_values("path").reset_index(drop=True)
    images = load_images(run.study)[records.row.to_numpy()]
    found = probabilities(logits(load_model(run), images, run.evaluation.flip))
    return predictions_table(records, found, run.study.classes)
