"""Trained models, made small enough to ship, with everything that the app can use.

`xnn ship STUDY RUN` writes the weights, with matrices and convolutions as float16; the model card; the
report's metrics.json, with the temperature and conformal thresholds; statistics.safetensors, the distribution
of the training images and their mean; and shipped.json: how the notebooks use the model, the limits of flags,
and what rounding changed. `xnn ship STUDY` writes the study's lung segmenter.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from ..config import provenance
from ..config.schema import Run, Study
from ..data.archive import DataError
from ..data.records import load_images, load_records
from ..explain.integrated import integrated_gradients
from ..explain.sample import run_baseline
from ..explain.target import explained
from ..models import prediction
from ..models.classifier import Classifier, load_model, logits, probabilities, to_input
from ..models.distance import QUANTILE, Distance, features, fit_distance
from .answers import in_the_frame
from .model import CARD, CONFIG, METRICS, SHIPPED, STATISTICS, WEIGHTS

EXPLAINED = 200  # validation images whose maps give the limit of the frame's flag
USE = """
## Intended use

To repeat and question the results of a research report: {use}
It is no medical device and must not guide care.

## Limits

{limits}

## Results

{results}

{attribution}
"""
CLASSIFIER_LIMITS = """Fitted to {title}: {patients} patients of the training split, from one archive.
It names one of {classes} for any image, also for one of another age, view, disease or body part. It may read
borders, markers and exposure rather than the lungs. It cannot know the patient, earlier images or the
laboratory. The app raises flags with limits measured on the validation split; they miss many foreign images
(benchmarks/flags.md).

The convolutions are rounded to float16 in the file; computation is in float32. Rounding changes the
predicted class of {changed} of {images} test images, and no probability by more than {largest:.4f}.
{far:.1%} of the test images are farther from the training images than 99 % of the validation images."""
LUNGS_LIMITS = """Fitted to masks that human annotators, not radiologists, drew on {title}.
They include most of the heart and the lung behind the diaphragm where it is seen. On other ages and views it
was not tested."""
LUNGS = """# Lung segmenter of study {study}

A small U-Net from a grey radiograph, resized to 112 x 112 pixels and standardised, to the lungs:
`xnn.models.segmenter.segment(Segmenter.from_pretrained("."), images)`.
"""
MASKS = (
    "Lung masks: V7 Labs, COVID-19 X-ray dataset, https://github.com/v7labs/covid-19-xray-dataset, CC BY 4.0."
)


def ship(run: Run, folder: Path) -> Path:
    """Write the shipped form of a run's model and return its folder, which is replaced if it exists.

    Raises DataError if the run has not been trained and evaluated.
    """
    trained, report = run.artifacts / "model", run.reports / METRICS
    for needed in (trained / WEIGHTS, report):
        if not needed.exists():
            raise DataError(f"{run.study.name}/{run.name}: no {needed.name}: make its report first")
    with _replaced(folder) as fresh:
        stamp = provenance.stamp(run)
        shutil.copyfile(trained / CONFIG, fresh / CONFIG)
        shutil.copyfile(report, fresh / METRICS)
        state = load_file(trained / WEIGHTS)
        # vectors stay exact: among them are variances, some very small
        half = {k: v.half() if v.ndim > 1 and v.is_floating_point() else v for k, v in state.items()}
        save_file(half, fresh / WEIGHTS, metadata={"format": "pt"})
        rounding = effect_of_rounding(run, Classifier.from_pretrained(fresh))
        origin = {
            "training_key": (provenance.read_json(run.artifacts / "training.json") or {}).get("key"),
            "weights_sha256": provenance.file_sha256(trained / WEIGHTS),
        }
        limits = measure_limits(run, load_model(run), fresh / STATISTICS)
        values = served_as(run) | {"rounding": rounding} | limits | origin
        provenance.write_json(values | {"provenance": provenance.timed(stamp)}, fresh / SHIPPED)
        card(run, ModelCard.load(trained / CARD).text, values).save(fresh / CARD)
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
        found = json.loads(report.read_text())
        lungs_card(study, found).save(fresh / CARD)
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


def effect_of_rounding(run: Run, rounded: Classifier) -> dict:
    """Return how far rounding changes the run's predictions of its test split."""
    before = prediction.read(run.reports / "predictions.csv")
    rows = load_records(run.study).set_index("path").row[before.path].to_numpy()
    after = probabilities(logits(rounded, load_images(run.study)[rows], run.evaluation.flip))
    before = before[run.study.classes].to_numpy()
    change, changed = np.abs(after - before), after.argmax(axis=1) != before.argmax(axis=1)
    sizes = {"largest": float(change.max()), "mean": float(change.mean())}
    return {"images": len(before), **sizes, "changed": int(changed.sum())}


def measure_limits(run: Run, network: Classifier, file: Path) -> dict:
    """Write the training images' distribution and mean to a file, and return limits and shares of flags.

    Each limit is passed by 1 % of the validation images.
    """
    distance, far = distance_from_training(run, network)
    mean = run_baseline(run, torch.empty(1), "mean")[0, 0]
    arrays = {**distance._asdict(), "training_mean": mean}
    save_file({name: torch.as_tensor(each).float().contiguous() for name, each in arrays.items()}, file)
    shares = frame_shares(run, network)
    frame = {"frame_limit": float(np.quantile(shares, QUANTILE)), "frame_images": len(shares)}
    return {"far_test_images": far} | frame


def distance_from_training(run: Run, network: Classifier) -> tuple[Distance, float]:
    """Return the distance from the training images, and the share of test images beyond its threshold."""
    records, store = load_records(run.study), load_images(run.study)
    train, val, test = (
        features(network, store[records.row[records.split == split].to_numpy()])
        for split in ("train", "val", "test")
    )
    distance = fit_distance(train, val)
    return distance, float((distance.of(test) > distance.threshold).mean())


def frame_shares(run: Run, network: Classifier) -> np.ndarray:
    """Return the share of the map in the frame of validation images drawn at random, as answers explain."""
    records, store, model = load_records(run.study), load_images(run.study), explained(run, network)
    rows = records.row[records.split == "val"]
    images = to_input(store[rows.sample(min(EXPLAINED, len(rows)), random_state=run.seed).to_numpy()])
    maps = []
    for image in tqdm(images.split(1), "explaining", leave=False):
        target = model.logits(image).argmax(1).cpu()
        start, how = run_baseline(run, image), run.explanation
        maps += list(integrated_gradients(model, image, target, start, how.tolerance).maps)
    return np.array([in_the_frame(each) for each in maps])


# ---- cards ---------------------------------------------------------------------------------------


def card(run: Run, text: str, values: dict) -> ModelCard:
    """Return the model card of a shipped run: the `text` of the trained model's, use, limits and results."""
    study, metrics = run.study, json.loads((run.reports / METRICS).read_text())
    records = load_records(study)
    limits = CLASSIFIER_LIMITS.format(
        title=study.title,
        patients=records.patient[records.split == "train"].nunique(),
        classes=", ".join(study.classes),
        far=values["far_test_images"],
        **values["rounding"],
    )
    use = "what such a network answers, and where its evidence lies."
    where = f"test split, {metrics['n']} images of {metrics['patients']} patients"
    known = {name: each for name, each in metrics["scores"].items() if each["value"] is not None}
    tags = ["image-classification", "chest-radiograph"]
    return _card(study, values["id"], tags, text, (use, limits, where, known, study.archive.attribution))


def lungs_card(study: Study, found: dict) -> ModelCard:
    """Return the model card of a lung segmenter, given the results of its page."""
    limits, use = LUNGS_LIMITS.format(title=study.title), "where the lungs of a radiograph are."
    where = f"test split, {found['n']} images of {found['patients']} patients"
    known = {"dice" if name == "all" else f"dice_{name}": each for name, each in found["dice"].items()}
    text = LUNGS.format(study=study.name)
    credit = f"{study.archive.attribution}\n\n{'' if study.synthetic else MASKS}"
    name, tags = f"{study.name}/lungs", ["image-segmentation", "chest-radiograph"]
    return _card(study, name, tags, text, (use, limits, where, known, credit))


def _card(study: Study, name: str, tags: list[str], text: str, parts) -> ModelCard:
    """Return a card in the form of the Hugging Face hub, whose `model-index` holds scores with intervals."""
    use, limits, where, scores, credit = parts
    dataset = {"dataset_type": study.name, "dataset_name": study.title, "dataset_split": "test"}
    results = [
        EvalResult(
            task_type=tags[0],
            metric_type=metric,
            metric_value=each["value"],
            metric_args={"interval": 0.95, "low": each["low"], "high": each["high"]},
            **dataset,
        )
        for metric, each in scores.items()
    ]
    data = ModelCardData(license="mit", library_name="xnn", tags=tags, model_name=name, eval_results=results)
    rows = "\n".join(f"| {metric} | {_words(each)} |" for metric, each in scores.items())
    table = f"{where}; 95 % intervals by bootstrap over patients.\n\n| score | value |\n| --- | --- |\n{rows}"
    end = USE.format(use=use, limits=limits, results=table, attribution=credit)
    return ModelCard(f"---\n{data.to_yaml()}\n---\n{text.strip()}\n{end}")


def _words(score: dict) -> str:
    if score["low"] is None:
        return f"{score['value']:.3f}"
    return "{value:.3f} ({low:.3f} to {high:.3f})".format(**score)
