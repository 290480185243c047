"""Training of a run: `fit` keeps what it has done, goes on where it was interrupted, and records it.

``python -m xnn.training.fit STUDY RUN`` trains one without a notebook; under torchrun it is one of the
processes that the run's `hardware` asks for.
"""

import json
import logging
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from tqdm import tqdm

from ..config import files, freshness, provenance
from ..config.schema import Run
from ..models import kept
from ..models.classifier import Classifier, Start, build, merge, parameter_counts
from . import distributed
from .batches import Radiographs
from .frozen import FrozenRadiographs
from .recipe import Learner, callbacks, class_weights, precision

# Lightning tells of absent devices, loader workers and frozen modules; the record says what matters.
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module=r"lightning\.pytorch")


class History(pl.Callback):
    """One row an epoch, and a line of progress; kept in the checkpoint, so a resumed run has it all."""

    def __init__(self, name: str):
        self.name, self.rows, self.bar = name, [], None

    def on_train_epoch_start(self, trainer, learner):
        self.started = time.time()
        title = f"{self.name}: epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        hidden = True if trainer.global_rank else None  # None: as the environment says
        self.bar = tqdm(
            total=trainer.num_training_batches, desc=title, unit="batch", leave=False, disable=hidden
        )

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
        # each process knows the loss of its share
        row["train_loss"] = float(
            trainer.strategy.reduce(trainer.callback_metrics["train_loss"], reduce_op="mean")
        )
        row["seconds"] = time.time() - self.started
        if trainer.global_rank:
            return
        left = row["seconds"] * (trainer.max_epochs - row["epoch"]) / 60
        print(
            f"{self.name}: epoch {row['epoch']:2}/{trainer.max_epochs}  train loss {row['train_loss']:.3f}  "
            f"val loss {row['val_loss']:.3f}  val F1 {row['val_f1']:.3f}  "
            f"{row['seconds']:.0f} s, at most {left:.0f} min left",
            flush=True,
        )

    def state_dict(self):
        return {"rows": self.rows}

    def load_state_dict(self, state):
        self.rows = state["rows"]


def fit(run: Run, model: bool = False) -> dict:
    """Train a run, unless that was done from the very same inputs.

    An interrupted training goes on from its last whole epoch. Writes ``model/`` to the run's
    artifacts and returns its training record: key, inputs (what decides it), history (one row an epoch),
    best_epoch, stopped (why), weights (where they came from), parameters, images_per_second, frozen_seconds
    (what the frozen layers took, once) and provenance. Where the run asks for several processes, torchrun
    starts them.

    Parameters
    ----------
    model : train as well where only the record of a training is there, as in a clone: models are not in git.
    """
    now = kept.inputs(run)
    own, reported = kept.model(run, now), kept.record(run, now)
    if own or (reported and not model):
        print(f"{run.name}: the {'model' if own else 'record'} of a training on these very inputs is kept")
        return own or reported
    if run.hardware.processes > 1 and not distributed.inside():
        distributed.launch(run)
        return json.loads((run.artifacts / "training.json").read_text())
    wanted = reported["key"] if reported else freshness.digest(now)
    folder = run.artifacts / f"training-{wanted[:12]}"  # what else lies there belongs to other inputs
    for stale in run.artifacts.glob("training-*"):
        if stale != folder and distributed.first():
            shutil.rmtree(stale)
    origin, history = provenance.stamp(run), History(run.name)
    outcome = trained(run, folder, history)
    record = _record(run, outcome, history.rows, origin, wanted) | {"inputs": freshness.recorded(now)}
    if outcome.trainer.is_global_zero:
        _keep(run, outcome.start.model, record)
        shutil.rmtree(folder)
    return record


class Outcome(NamedTuple):
    """A finished training: its model, with the weights of the best epoch, and what it took."""

    start: Start
    counts: dict[str, int]  # parameters, before low-rank updates are merged
    trainer: pl.Trainer
    images: int  # of the training split
    prepared: float  # seconds that the frozen layers took, once


def trained(run: Run, folder: Path, watch: pl.Callback) -> Outcome:
    """Train a run: all that decides its model is reached from here, and what only watches it is not.

    `folder` is for checkpoints; a training that was interrupted goes on from the last one there.
    """
    start = build(run)
    counts = parameter_counts(start.model)
    began = time.perf_counter()
    data = data_of(run, start.model)
    prepared = time.perf_counter() - began
    trainer = _trainer(run, folder, watch)
    learner = Learner(start.model, run, class_weights(run, data), data.first)
    learner.to(memory_format=torch.channels_last)
    batches = data
    if trainer.world_size > 1:
        batches = distributed.SharedRadiographs(data, trainer.global_rank, trainer.world_size)
    trainer.fit(learner, batches, ckpt_path=_last(folder))
    if trainer.is_global_zero:
        _load_best(start.model, trainer.checkpoint_callback.best_model_path, bool(run.model.lora))
    return Outcome(start, counts, trainer, len(data.part("train")), prepared)


def beginning(run: Run) -> tuple[str, dict[str, int]]:
    """Where a run's weights start from, and its parameters: total, and trained.

    Read from the record of its training, where that is kept: the weights may be elsewhere.
    """
    if record := kept.record(run, kept.inputs(run)):
        return record["weights"], record["parameters"]
    start = build(run)
    return start.weights, parameter_counts(start.model)


def data_of(run: Run, model: Classifier) -> Radiographs:
    """A run's batches: of images, or of what the frozen layers make of them where that can be kept."""
    if run.training.views and model.boundary() > 1:  # the first layer only prepares the image
        return FrozenRadiographs(run, model)
    return Radiographs(run)


def _trainer(run: Run, folder: Path, watch: pl.Callback) -> pl.Trainer:
    last = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    deciding = callbacks(run, folder)
    pl.seed_everything(run.seed, workers=True, verbose=False)
    return pl.Trainer(
        max_epochs=run.training.epochs,
        precision=precision(run),
        callbacks=[watch, deciding[0], last, *deciding[1:], distributed.OwnDraws(run.seed)],
        devices=run.hardware.devices,
        num_nodes=run.hardware.num_nodes,
        strategy=run.hardware.strategy,
        deterministic="warn" if run.training.deterministic else False,
        sync_batchnorm=torch.cuda.is_available(),
        use_distributed_sampler=False,  # module distributed does it by the batch
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )


def _last(folder: Path) -> Path | None:
    """The checkpoint of an interrupted training, if there is one."""
    last = folder / "last.ckpt"
    if last.exists():
        print("going on from the last whole epoch of an interrupted training")
        return last
    return None


def _record(run: Run, outcome: Outcome, rows: list[dict], origin, key: str) -> dict:
    history, start = pd.DataFrame(rows), outcome.start
    early = len(history) < run.training.epochs
    why = f"no better validation F1 for {run.training.early_stopping} epochs" if early else "all epochs done"
    return {
        "study": run.study.name,
        "run": run.name,
        "key": key,
        "weights": start.weights,
        "weights_sha256": start.sha256,
        "regime": run.model.regime,
        "parameters": outcome.counts,
        "precision": precision(run),
        "best_epoch": int(history.epoch[history.val_f1.idxmax()]),
        "stopped": why,
        "images_per_second": round(float(np.median(outcome.images / history.seconds)), 1),
        "frozen_seconds": round(outcome.prepared, 1),
        "history": rows,
        "provenance": provenance.timed(origin),
    }


def _load_best(model: Classifier, checkpoint: str, lora: bool) -> None:
    """Give a model the weights of its best epoch."""
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    own = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
    model.load_state_dict(own)
    if lora:
        merge(model)


def _keep(run: Run, model: Classifier, record: dict) -> None:
    """Put the best epoch's weights where users find them; the record last, as it vouches for them."""
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


if __name__ == "__main__":
    fit(files.load_run(*sys.argv[1:]), model=True)
