"""Trained models, made small enough to ship, with everything that the app can use.

`xnn ship STUDY RUN` writes the weights, with matrices and convolutions as float16; the model card; the
report's metrics.json, with the temperature and conformal thresholds; statistics.safetensors, the distribution
of the training images and their mean; and shipped.json: how the notebooks use the model, the limits of flags,
and what rounding changed. `xnn ship-lungs STUDY` writes the study's lung segmenter.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

from ..config import provenance
from ..config.schema import Run, Study
from ..data.archive import DataError
from ..data.records import load_images, load_records
from ..explain import localisation
from ..explain.evidence import QUICK_GRADIENTS
from ..explain.integrated import integrated_gradients
from ..explain.sample import run_baseline
from ..explain.target import explained
from ..models import cards, kept, prediction
from ..models.classifier import Classifier, answers, load_model, logits, to_input
from ..models.distance import QUANTILE, distance_of_study
from ..models.kept import CARD, CONFIG, METRICS, SHIPPED, STATISTICS, WEIGHTS

ORIGIN = ("rounding", "training_key", "weights_sha256")  # of a shipped model, whatever its evaluation
EXPLAINED = 200  # validation images whose maps give the limit of the frame's flag


def ship(run: Run, folder: Path) -> Path:
    """Write the shipped form of a run's model and return its folder, which is replaced if it exists.

    Where the run's own model is not here, the shipped one gets the results of a new evaluation; what rounding
    its weights changed was measured when they were rounded. Raises DataError if the run has not been trained
    and evaluated.
    """
    trained, report = kept.folder(run), run.reports / METRICS
    if trained is None or not report.exists():
        lacking = METRICS if trained else WEIGHTS
        raise DataError(f"{run.study.name}/{run.name}: no {lacking}: make its report first")
    before = provenance.read_json(trained / SHIPPED)
    with _replaced(folder) as fresh:
        stamp = provenance.stamp(run)
        config = provenance.read_json(trained / CONFIG) | {"smooth": run.evaluation.smooth}
        provenance.write_json(config, fresh / CONFIG)
        shutil.copyfile(report, fresh / METRICS)
        state = load_file(trained / WEIGHTS)
        # vectors stay exact: among them are variances, some very small
        half = {k: v.half() if v.ndim > 1 and v.is_floating_point() else v for k, v in state.items()}
        save_file(half, fresh / WEIGHTS, metadata={"format": "pt"})
        origin = {name: before[name] for name in ORIGIN} if before else _origin(run, trained, fresh)
        limits = measure_limits(run, load_model(run), fresh / STATISTICS)
        values = served_as(run) | limits | origin
        provenance.write_json(values | {"provenance": provenance.timed(stamp)}, fresh / SHIPPED)
        text = ModelCard.load(trained / CARD).text
        for end in ("It is part of", "## Intended use"):  # the new card says it again
            text = text.partition(end)[0]
        cards.of_run(run, text, json.loads(report.read_text()), values).save(fresh / CARD)
    return folder


def ship_lungs(study: Study, folder: Path) -> Path:
    """Write a study's lung segmenter, its results and its card to a folder; DataError before its 3-lungs."""
    trained, report = study.artifacts / "lungs", study.reports / "lungs.json"
    if not (trained / WEIGHTS).exists() or not report.exists():
        raise DataError(f"{study.name}: no lung segmenter: execute its 3-lungs first")
    with _replaced(folder) as fresh:
        for name in (WEIGHTS, CONFIG):
            shutil.copyfile(trained / name, fresh / name)
        shutil.copyfile(report, fresh / METRICS)
        cards.of_lungs(study, json.loads(report.read_text())).save(fresh / CARD)
    return folder


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Yield a new folder that replaces another if the block succeeds."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".ship-") as temporary:
        fresh = Path(temporary) / "model"
        fresh.mkdir(mode=0o755)
        yield fresh
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)


def served_as(run: Run) -> dict:
    """Return how the notebooks use a run's model."""
    study = run.study
    names = {"id": f"{study.name}/{run.name}", "study": study.name, "run": run.name}
    decision = {"image_size": study.image_size, "flip": run.evaluation.flip}
    return names | decision | {"baseline": run.explanation.baseline, "tolerance": run.explanation.tolerance}


def _origin(run: Run, trained: Path, fresh: Path) -> dict:
    """Return which training the weights in `fresh` are from, and what rounding them changed."""
    return {
        "rounding": effect_of_rounding(run, Classifier.from_pretrained(fresh)),
        "training_key": (provenance.read_json(run.artifacts / "training.json") or {}).get("key"),
        "weights_sha256": provenance.file_sha256(trained / WEIGHTS),
    }


def effect_of_rounding(run: Run, rounded: Classifier) -> dict:
    """Return how far rounding changes the run's predictions of its test split."""
    before = prediction.read(run.reports / "predictions.csv")
    rows = load_records(run.study).set_index("path").row[before.path].to_numpy()
    after = answers(rounded, load_images(run.study)[rows], run.evaluation.flip)
    before = before[run.study.classes].to_numpy()
    change, changed = np.abs(after - before), after.argmax(axis=1) != before.argmax(axis=1)
    sizes = {"largest": float(change.max()), "mean": float(change.mean())}
    return {"images": len(before), **sizes, "changed": int(changed.sum())}


def measure_limits(run: Run, network: Classifier, file: Path) -> dict:
    """Write the training images' distribution and mean to a file, and return limits and shares of flags.

    Each limit is passed by 1 % of the validation images.
    """
    distance, far = distance_of_study(run.study, network, run.augmentation.degrees)
    mean = run_baseline(run, torch.empty(1), "mean")[0, 0]
    arrays = {**distance._asdict(), "training_mean": mean}
    save_file({name: torch.as_tensor(each).float().contiguous() for name, each in arrays.items()}, file)
    shares = frame_shares(run, network)
    frame = {"frame_limit": float(np.quantile(shares, QUANTILE)), "frame_images": len(shares)}
    return {"far_test_images": far} | frame


def frame_shares(run: Run, network: Classifier) -> np.ndarray:
    """Return the share of the map in the frame, of validation images drawn at random, from few gradients."""
    records, store = load_records(run.study), load_images(run.study)
    rows = records.row[records.split == "val"]
    grey = store[rows.sample(min(EXPLAINED, len(rows)), random_state=run.seed).to_numpy()]
    targets, images = torch.as_tensor(logits(network, grey, run.evaluation.flip)).argmax(1), to_input(grey)
    given = explained(run, network), images, targets, run_baseline(run, images)
    maps = integrated_gradients(*given, max_gradients=QUICK_GRADIENTS).maps
    return localisation.share_within(maps, localisation.frame(maps.shape[1]))
