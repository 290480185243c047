"""A trained run's model, made small enough to ship, with everything that the app can use.

`xnn ship STUDY RUN` writes the weights, with matrices and convolutions as float16; the model card; the
report's metrics.json, with the temperature; statistics.safetensors, the distribution of the training images
and their mean; and shipped.json: how the notebooks use the model, and what rounding changed.
"""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm.auto import tqdm

from ..config import provenance
from ..config.schema import Run
from ..data.archive import DataError
from ..data.records import load_images, load_records
from ..explain.sample import run_baseline
from ..models import prediction
from ..models.classifier import BATCH, Classifier, load_model, logits, probabilities, to_input
from .model import CARD, CONFIG, METRICS, SHIPPED, STATISTICS, WEIGHTS, Distance, features, fit_distance

SCORES = ("accuracy", "f1_macro", "auroc_pneumonia")
NOTE = """
## Shipped

The convolutions are rounded to float16 in the file; computation is in float32. Rounding changes the
predicted class of {changed} of {images} test images, and no probability by more than {largest:.4f}.
{far:.1%} of the test images are farther from the training images than 99 % of the validation images.

Test split ({images} images of {patients} patients): accuracy {accuracy}, macro F1 {f1_macro},
AUROC of pneumonia {auroc_pneumonia} (95 % intervals by bootstrap over patients). metrics.json has the other
scores and the temperature.

Trained on: {attribution}
"""


def ship(run: Run, folder: Path) -> Path:
    """Write the shipped form of a run's model and return its folder, which is replaced if it exists.

    Raises DataError if the run has not been trained and evaluated.
    """
    study, stamp = run.study, provenance.stamp(run)
    trained, report = run.artifacts / "model", run.reports / METRICS
    for needed in (trained / WEIGHTS, report):
        if not needed.exists():
            raise DataError(f"{study.name}/{run.name}: no {needed.name}: make its report first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".ship-") as temporary:
        fresh = Path(temporary) / "model"
        fresh.mkdir(mode=0o755)
        shutil.copyfile(trained / CONFIG, fresh / CONFIG)
        shutil.copyfile(report, fresh / METRICS)
        state = load_file(trained / WEIGHTS)
        # vectors stay exact: among them are variances, some very small
        half = {k: v.half() if v.ndim > 1 and v.is_floating_point() else v for k, v in state.items()}
        save_file(half, fresh / WEIGHTS, metadata={"format": "pt"})
        rounding = effect_of_rounding(run, Classifier.from_pretrained(fresh))
        distance, far = distance_from_training(run, load_model(run))
        mean = run_baseline(run, torch.empty(1), "mean")[0, 0]
        arrays = {**distance._asdict(), "training_mean": mean}
        arrays = {name: torch.as_tensor(value).float().contiguous() for name, value in arrays.items()}
        save_file(arrays, fresh / STATISTICS)
        names = {"id": f"{study.name}/{run.name}", "study": study.name, "run": run.name}
        decision = {"image_size": study.image_size, "flip": run.evaluation.flip}
        explanation = {"baseline": run.explanation.baseline, "tolerance": run.explanation.tolerance}
        effects = {"rounding": rounding, "far_test_images": far}
        sha256 = provenance.file_sha256(trained / WEIGHTS)
        key = (provenance.read_json(run.artifacts / "training.json") or {}).get(
            "key"
        )  # None: not by a report
        origin = {"training_key": key, "weights_sha256": sha256, "provenance": provenance.timed(stamp)}
        provenance.write_json({**names, **decision, **explanation, **effects, **origin}, fresh / SHIPPED)
        card = (trained / CARD).read_text().rstrip()
        (fresh / CARD).write_text(f"{card}\n{note(run, json.loads(report.read_text()), rounding, far)}")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    return folder


def effect_of_rounding(run: Run, rounded: Classifier) -> dict:
    """Return how far rounding changes the run's predictions of its test split."""
    before = prediction.read(run.reports / "predictions.csv")
    rows = load_records(run.study).set_index("path").row[before.path].to_numpy()
    after = probabilities(logits(rounded, load_images(run.study)[rows], run.evaluation.flip))
    before = before[run.study.classes].to_numpy()
    change, changed = np.abs(after - before), after.argmax(axis=1) != before.argmax(axis=1)
    sizes = {"largest": float(change.max()), "mean": float(change.mean())}
    return {"images": len(before), **sizes, "changed": int(changed.sum())}


def distance_from_training(run: Run, network: Classifier) -> tuple[Distance, float]:
    """Return the distance from the training images, and the share of test images beyond its threshold."""
    records, store, found = load_records(run.study), load_images(run.study), {}
    for split in ("train", "val", "test"):
        rows = records.row[records.split == split].to_numpy()
        batches = tqdm(np.array_split(rows, -(-len(rows) // BATCH)), desc="features", leave=False)
        found[split] = np.concatenate([features(network, to_input(store[batch])) for batch in batches])
    distance = fit_distance(found["train"], found["val"])
    return distance, float((distance.of(found["test"]) > distance.threshold).mean())


def note(run: Run, metrics: dict, rounding: dict, far: float) -> str:
    """Return what the shipped card says beyond that of the trained model."""
    words = "{value:.3f} ({low:.3f} to {high:.3f})"
    scores = {name: words.format(**metrics["scores"][name]) for name in SCORES}
    attribution = run.study.archive.attribution or "synthetic phantoms"
    return NOTE.format(**scores, **rounding, far=far, patients=metrics["patients"], attribution=attribution)
