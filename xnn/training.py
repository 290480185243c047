"""Training of a run: the Lightning module, its callbacks, and `fit`, which keeps what it has done."""

import hashlib
import json
import logging
import shutil
import time
import warnings
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from torch import nn
from torchmetrics.classification import MulticlassF1Score
from tqdm import tqdm

from . import params, provenance
from .batches import Radiographs, mix
from .data import load_records
from .models import Classifier, Start, build, parameter_counts
from .params import Run

# Lightning tells of absent devices, loader workers and frozen modules; the record says what matters.
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module=r"lightning\.pytorch")

PLATEAU = {"factor": 0.2, "patience": 2}  # of ReduceLROnPlateau, epochs


class Learner(pl.LightningModule):
    """Loss, metric and optimiser of a run around its classifier.

    The validation F1 is weighted by class and computed once over the whole split: an average over
    batches would depend on their size and order.
    """

    def __init__(self, model: Classifier, run: Run, class_weights: torch.Tensor | None = None):
        super().__init__()
        self.model, self.recipe = model, run.training
        self.loss = nn.CrossEntropyLoss(class_weights, label_smoothing=run.training.label_smoothing)
        self.val_loss = nn.CrossEntropyLoss(class_weights)
        self.val_f1 = MulticlassF1Score(len(model.classes), average="weighted")

    def training_step(self, batch, _):
        images, labels = batch
        loss = self.loss(self.model(_channels_last(images)), labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def validation_step(self, batch, _):
        images, labels = batch
        logits = self.model(_channels_last(images)).float()
        self.val_f1.update(logits, labels)
        self.log("val_loss", self.val_loss(logits, labels), on_epoch=True, batch_size=len(labels))
        self.log("val_f1", self.val_f1)

    def configure_optimizers(self):
        trained = [p for p in self.parameters() if p.requires_grad]
        recipe = self.recipe
        optimizer = torch.optim.AdamW(trained, recipe.learning_rate, weight_decay=recipe.weight_decay)
        steps = self.trainer.estimated_stepping_batches
        scheduler = torch.optim.lr_scheduler
        if recipe.schedule == "plateau":
            return optimizer  # the callback below lowers its rate
        if recipe.schedule == "cosine":
            schedule = scheduler.CosineAnnealingLR(optimizer, steps)
        else:
            schedule = scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def _channels_last(images: torch.Tensor) -> torch.Tensor:
    """The memory format that convolutions on a CPU and in bf16 are fastest in."""
    return images.contiguous(memory_format=torch.channels_last)


class History(pl.Callback):
    """One row an epoch, and a line of progress; kept in the checkpoint, so a resumed run has it all."""

    def __init__(self, seed: int):
        self.seed, self.rows, self.bar = seed, [], None

    def on_train_epoch_start(self, trainer, learner):
        # Dropout draws from the global generator: seeded for each epoch, a training that goes on
        # after an interruption equals one that was never interrupted.
        torch.manual_seed(mix(self.seed, trainer.current_epoch))
        self.started = time.time()
        title = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self.bar = tqdm(total=trainer.num_training_batches, desc=title, unit="batch", leave=False)

    def on_train_batch_end(self, *_):
        self.bar.update()

    def on_validation_end(self, trainer, learner):
        if trainer.sanity_checking:
            return
        self.rows.append(
            {
                "epoch": trainer.current_epoch + 1,
                "val_loss": float(trainer.callback_metrics["val_loss"]),
                "val_f1": float(trainer.callback_metrics["val_f1"]),
                "lr": trainer.optimizers[0].param_groups[0]["lr"],
            }
        )

    def on_train_epoch_end(self, trainer, learner):
        self.bar.close()
        row = self.rows[-1]
        row["train_loss"] = float(trainer.callback_metrics["train_loss"])
        row["seconds"] = time.time() - self.started
        left = row["seconds"] * (trainer.max_epochs - row["epoch"]) / 60
        print(
            f"epoch {row['epoch']:2}/{trainer.max_epochs}  train loss {row['train_loss']:.3f}  "
            f"val loss {row['val_loss']:.3f}  val F1 {row['val_f1']:.3f}  "
            f"{row['seconds']:.0f} s, at most {left:.0f} min left",
            flush=True,
        )

    def state_dict(self):
        return {"rows": self.rows}

    def load_state_dict(self, state):
        self.rows = state["rows"]


class Plateau(pl.Callback):
    """Lowers the learning rate when the validation loss no longer falls, and survives an interruption.

    Lightning would step the scheduler only after the epoch's checkpoint is written, so a training
    that goes on from there would miss one step.
    """

    def __init__(self):
        self.scheduler, self.state = None, {}

    def on_train_start(self, trainer, learner):
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(trainer.optimizers[0], **PLATEAU)
        self.scheduler.load_state_dict(self.state)

    def on_train_epoch_end(self, trainer, learner):
        self.scheduler.step(float(trainer.callback_metrics["val_loss"]))

    def state_dict(self):
        return self.scheduler.state_dict()

    def load_state_dict(self, state):
        self.state = state


def fit(run: Run) -> dict:
    """Train a run, unless a model trained from the very same inputs is there already.

    An interrupted training goes on from its last whole epoch. Writes ``model/`` to the run's
    artifacts and returns its training record: key, history (one row an epoch), best_epoch, stopped
    (why), weights (where they came from), parameters, images_per_second and provenance.
    """
    origin = provenance.stamp(run)
    start = build(run)
    wanted = key(run, start)
    done = run.artifacts / "training.json"
    if done.exists() and (record := json.loads(done.read_text()))["key"] == wanted:
        print(f"{run.name}: the model trained from these very inputs is kept")
        return record
    folder = run.artifacts / f"training-{wanted[:12]}"  # what else lies there belongs to other inputs
    for stale in run.artifacts.glob("training-*"):
        if stale != folder:
            shutil.rmtree(stale)
    data = Radiographs(run)
    trainer, history = _trainer(run, folder)
    learner = Learner(start.model, run, class_weights(run, data))
    learner.to(memory_format=torch.channels_last)
    trainer.fit(learner, data, ckpt_path=_last(folder))
    record = _record(run, start, wanted, trainer, history.rows, len(data.part("train")), origin)
    _keep(run, start.model, Path(trainer.checkpoint_callback.best_model_path), record)
    shutil.rmtree(folder)
    return record


def load_model(run: Run) -> Classifier:
    """The run's trained model; raise FileNotFoundError where 3-train has not made it."""
    folder = run.artifacts / "model"
    if not folder.exists():
        raise FileNotFoundError(
            f"run {run.name} of study {run.study.name} has no model yet: execute 3-train or `make report`"
        )
    return Classifier.from_pretrained(folder)


def key(run: Run, start: Start) -> str:
    """Hash of all that decides a trained model: parameters, images, code, and starting weights."""
    records = load_records(run.study)
    seen = records.loc[records.split.isin(["train", "val"]), ["row", "path", "label", "split", "sha256"]]
    parts = (
        params.sha256(run.model, run.training, run.augmentation),
        f"{run.seed} {run.study.image_size} {run.study.classes}",
        seen.to_csv(index=False),
        provenance.code_sha256("images", "batches", "models", "training"),
        start.sha256,
        precision(run),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def class_weights(run: Run, data: Radiographs) -> torch.Tensor | None:
    """(C,) weights inverse to the classes' shares of the training split, mean 1 over its images.

    As scikit-learn's "balanced": N / (C * n_c).
    """
    if not run.training.class_weights:
        return None
    counts = data.part("train").label.value_counts()[run.study.classes].to_numpy()
    return torch.tensor(counts.sum() / (len(counts) * counts), dtype=torch.float32)


def precision(run: Run) -> str:
    """Lightning's name of the run's precision: bf16 where asked for, or where the device is fast at it."""
    asked = run.training.precision
    if asked != "auto":
        return {"32": "32-true", "bf16": "bf16-mixed"}[asked]
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if fast else "32-true"


def _trainer(run: Run, folder: Path) -> tuple[pl.Trainer, History]:
    recipe, history = run.training, History(run.seed)
    best = ModelCheckpoint(folder, "best", monitor="val_f1", mode="max", save_on_train_epoch_end=True)
    last = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    callbacks = [history, best, last]
    if recipe.schedule == "plateau":
        callbacks.append(Plateau())
    if recipe.early_stopping:
        callbacks.append(EarlyStopping("val_f1", mode="max", patience=recipe.early_stopping))
    if recipe.average:
        callbacks.append(EMAWeightAveraging(decay=recipe.average))
    pl.seed_everything(run.seed, workers=True, verbose=False)
    trainer = pl.Trainer(
        max_epochs=recipe.epochs,
        precision=precision(run),
        callbacks=callbacks,
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    return trainer, history


def _last(folder: Path) -> Path | None:
    """The checkpoint of an interrupted training, if there is one."""
    last = folder / "last.ckpt"
    if last.exists():
        print("going on from the last whole epoch of an interrupted training")
        return last
    return None


def _record(run, start, wanted, trainer, rows, images, origin) -> dict:
    history = pd.DataFrame(rows)
    early = len(history) < run.training.epochs
    why = f"no better validation F1 for {run.training.early_stopping} epochs" if early else "all epochs done"
    return {
        "study": run.study.name,
        "run": run.name,
        "key": wanted,
        "weights": start.weights,
        "weights_sha256": start.sha256,
        "regime": run.model.regime,
        "parameters": parameter_counts(start.model),
        "precision": precision(run),
        "best_epoch": int(history.epoch[history.val_f1.idxmax()]),
        "stopped": why,
        "images_per_second": round(float(np.median(images / history.seconds)), 1),
        "history": rows,
        "provenance": provenance.timed(origin),
    }


def _keep(run: Run, model: Classifier, best: Path, record: dict) -> None:
    """Put the best epoch's weights where users find them; the record last, as it vouches for them."""
    state = torch.load(best, weights_only=True)["state_dict"]
    own = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
    model.load_state_dict(own)
    folder, fresh = run.artifacts / "model", run.artifacts / "model.partial"
    shutil.rmtree(fresh, ignore_errors=True)
    model.to("cpu", memory_format=torch.contiguous_format)
    model.save_pretrained(fresh, model_card_kwargs=_card(run, record))
    (run.artifacts / "training.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    provenance.write_json(record, run.artifacts / "training.json")


def _card(run: Run, record: dict) -> dict:
    """What the model card says beyond its template."""
    study, counts = run.study, record["parameters"]
    what = (
        f"{run.model.backbone}, {record['regime']} from {record['weights']}; {counts['trained']:,} of "
        f"{counts['total']:,} parameters trained on study {study.name} ({study.title}), "
        f"{study.image_size} x {study.image_size} pixels; classes in the order {', '.join(study.classes)}."
    )
    return {"run": f"{study.name} / {run.name}", "what": what, "attribution": study.archive.attribution}
