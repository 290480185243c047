"""A trained run's model, made small enough to ship with the project, with all that the app wants to know.

    python -m xnn.app.ship STUDY RUN [FOLDER]

writes to models/<study>-<run>, or the folder named:

- model.safetensors: convolutions and matrices as float16, the rest (norms, biases) as float32
- config.json, README.md: as the run's training left them, the card with what follows here
- metrics.json: of the run's report, with its temperature
- statistics.safetensors: how training images are distributed, and their mean
- shipped.json: how the notebooks ask the model, what the rounding moves, how often the distance fires
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from ..config import provenance
from ..config.files import load_run
from ..config.schema import ROOT, ParameterError, Run
from ..data.archive import DataError
from ..data.records import load_images, load_records
from ..explain.sample import run_baseline
from ..models import prediction
from ..models.classifier import BATCH, Classifier, load_model, logits, probabilities, to_input
from . import model as served

NOTE = """
## Shipped

The convolutions are rounded to float16 in the file; computing is in float32. Of the {images} test images
{changed} are named otherwise than by the unrounded network; no probability moves by more than {largest:.4f}.
Test images farther from the training images than 99 % of the validation images: {far:.1%}.

Test split ({images} images of {patients} patients): accuracy {accuracy}, macro F1 {f1_macro},
AUROC of pneumonia {auroc_pneumonia} (95 % by bootstrap over patients). metrics.json has the rest and the
temperature.

Trained on: {attribution}
"""


def ship(run: Run, folder: Path) -> Path:
    """Write the shipped form of a run's model; a folder that is there already is replaced as a whole.

    Raises FileNotFoundError or DataError where the run has not been trained and evaluated.
    """
    origin = provenance.stamp(run)
    trained, report = run.artifacts / "model", run.reports / "metrics.json"
    for needed in (trained / "model.safetensors", report):
        if not needed.exists():
            raise FileNotFoundError(f"{run.study.name}/{run.name}: no {needed.name}: make its report first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".shipping-") as made:
        fresh = Path(made) / "model"
        fresh.mkdir(mode=0o755)
        shutil.copyfile(trained / "config.json", fresh / "config.json")
        shutil.copyfile(report, fresh / "metrics.json")
        round_weights(trained / "model.safetensors", fresh / "model.safetensors")
        model = Classifier.from_pretrained(fresh)
        rounding = moved(run, model)
        statistics, far = spread(run, load_model(run))
        mean = run_baseline(run, torch.empty(1), "mean")[0, 0].numpy()
        values = served.saved(statistics) | {"training_mean": np.ascontiguousarray(mean, np.float32)}
        save_file({k: torch.from_numpy(v) for k, v in values.items()}, fresh / "statistics.safetensors")
        said = asked(run) | {"rounding": rounding, "far_test_images": far}
        said["provenance"] = provenance.timed(origin)
        provenance.write_json(said, fresh / "shipped.json")
        card = (trained / "README.md").read_text().rstrip()
        (fresh / "README.md").write_text(f"{card}\n{note(run, rounding, far)}")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    return folder


def round_weights(source: Path, target: Path) -> None:
    """Matrices and convolutions to float16; vectors keep their bits, small variances above all."""
    state = load_file(source)
    half = {k: v.half() if v.ndim > 1 and v.is_floating_point() else v for k, v in state.items()}
    save_file(half, target, metadata={"format": "pt"})


def asked(run: Run) -> dict:
    """How the notebooks ask the run's model; the weights that it was rounded from."""
    how = run.explanation
    return {
        "id": f"{run.study.name}/{run.name}",
        "study": run.study.name,
        "run": run.name,
        "image_size": run.study.image_size,
        "flip": run.evaluation.flip,
        "baseline": how.baseline,
        "tolerance": how.tolerance,
        "weights_sha256": provenance.file_sha256(run.artifacts / "model/model.safetensors"),
    }


def moved(run: Run, model: Classifier) -> dict:
    """How far rounding moves the probabilities of the run's predictions of its test split."""
    before = prediction.read(run.reports / "predictions.csv")
    rows = load_records(run.study).set_index("path").row[before.path].to_numpy()
    after = probabilities(logits(model, load_images(run.study)[rows], run.evaluation.flip))
    before = before[run.study.classes].to_numpy()
    change = np.abs(after - before)
    return {
        "images": len(before),
        "largest": float(change.max()),
        "mean": float(change.mean()),
        "changed": int((after.argmax(axis=1) != before.argmax(axis=1)).sum()),
    }


def spread(run: Run, model: Classifier) -> tuple[served.Distance, float]:
    """The distance from the training images, and the share of test images beyond its threshold."""
    records, store = load_records(run.study), load_images(run.study)
    found = {
        split: _features(model, store, records[records.split == split]) for split in ("train", "val", "test")
    }
    fitted = served.fit(found["train"], found["val"])
    return fitted, float((fitted.of(found["test"]) > fitted.threshold).mean())


def _features(model, store, records):
    rows = np.array_split(records.row.to_numpy(), -(-len(records) // BATCH))
    return np.concatenate(
        [served.features(model, to_input(store[few])) for few in tqdm(rows, desc="features", leave=False)]
    )


def note(run: Run, rounding: dict, far: float) -> str:
    """What the card says beyond that of the trained model."""
    metrics = json.loads((run.reports / "metrics.json").read_text())
    names = ("accuracy", "f1_macro", "auroc_pneumonia")
    scores = {name: metrics["scores"][name] for name in names}
    words = {k: "{value:.3f} [{low:.3f}, {high:.3f}]".format(**v) for k, v in scores.items()}
    attribution = run.study.archive.attribution or "drawn phantoms"
    return NOTE.format(**rounding, far=far, patients=metrics["patients"], attribution=attribution, **words)


def main(arguments: list[str]) -> None:
    if len(arguments) not in (2, 3):
        sys.exit("usage: python -m xnn.app.ship STUDY RUN [FOLDER]")
    try:
        run = load_run(*arguments[:2])
        folder = Path(arguments[2]) if arguments[2:] else ROOT / "models" / "-".join(arguments[:2])
        print(ship(run, folder))
    except (ParameterError, FileNotFoundError, DataError) as error:
        sys.exit(f"xnn: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
