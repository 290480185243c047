"""What is kept of a run's answers, and the keys of what decides them: predictions and the region test."""

import json

import pandas as pd

from ..config import freshness, provenance
from ..config.schema import Run
from ..data.records import load_records, write_csv
from ..data.regions import load_seen
from ..evaluation.predictions import files, read
from . import kept

REGIONS = "regions.json"
DIGITS = 6  # of a probability: a float32 has seven


def predictions(run: Run, split: str = "test") -> pd.DataFrame:
    """Return the run's predictions of a split: path, label, patient and one probability column per class.

    They are kept as ``predictions.csv`` (of val: ``validation.csv``) in the run's reports, and computed again
    only if what decides them has changed; a page that reads kept ones loads no network.
    """
    kept.check_recipe(run)
    file, voucher = files(run, split)
    if are_kept(run, split):
        return read(file)
    table = _predict(run, split)
    voucher.unlink(missing_ok=True)
    write_csv(table, file, float_format=f"%.{DIGITS}g")
    provenance.write_json({"key": key(run, split), "sha256": provenance.file_sha256(file)}, voucher)
    return read(file)


def are_kept(run: Run, split: str = "test") -> bool:
    """Return whether the predictions of a split are kept, from the run's model and these images."""
    file, voucher = files(run, split)
    if not (voucher.exists() and file.exists()):
        return False
    return json.loads(voucher.read_text()) == {"key": key(run, split), "sha256": provenance.file_sha256(file)}


def regions_are_kept(run: Run) -> bool:
    """Return whether the results of the region test are kept, from the run's model and these images."""
    found = provenance.read_json(run.reports / REGIONS)
    return found is not None and found.get("key") == regions_key(run)


def regions_key(run: Run) -> str:
    """Return the hash of all that decides the results of a run's region test."""
    further = provenance.lungs_sha256(run.study), run.evaluation.altered
    return key(run, "test", ("xnn.explain.removal", "measured"), *further)


def key(run: Run, split: str = "test", code=(__name__, "_predict"), *further) -> str:
    """Return the hash of all that decides a run's answers: trained model, images, code, and what is given."""
    records = load_records(run.study)
    parts = [
        json.loads((run.reports / "training.json").read_text())["key"],
        records.loc[records.split == split, ["path", "label", "patient", "sha256"]].to_csv(index=False),
        freshness.of_function(*code).sha256,
        run.evaluation.flip,
        run.evaluation.smooth,
        *further,
    ]
    return freshness.digest(parts)


def _predict(run: Run, split: str) -> pd.DataFrame:
    from ..evaluation.predictions import predictions_table
    from .classifier import answers, load_model  # takes seconds to import

    records, images = load_seen(run.study, run.model.region)
    records = records[records.split == split].sort_values("path").reset_index(drop=True)
    found = answers(load_model(run), images[records.row.to_numpy()], run.evaluation.flip)
    return predictions_table(records, found, run.study.classes)
