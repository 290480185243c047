"""Training of a run: resumed where it was interrupted, recorded, and not repeated while nothing changes.

``python -m xnn.training.fit STUDY RUN`` trains one without a notebook; under torchrun it is one of the
processes that the run's `hardware` asks for.
"""

import contextlib
import json
import logging
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from tqdm.auto import tqdm

from ..config import files, freshness, provenance
from ..config.schema import ParameterError, Run
from ..models import kept
from ..models.classifier import Classifier, InitialisedModel, build, device, merge_lora, parameter_counts
from . import distributed
from .batches import Radiographs
from .frozen import FrozenRadiographs
from .recipe import Learner, callbacks, class_weights, precision


def fit(run: Run, model: bool = False) -> dict:
    """Train a run unless that was done from the same inputs, and return its training record.

    An interrupted training is resumed after its last whole epoch. The model goes to ``model/`` in the run's
    artifacts. Where the run asks for several processes, torchrun starts them. The record has key, inputs
    (what decides the model), history (one row per epoch), best_epoch, stopped (why), weights (where they came
    from), parameters, images_per_second, frozen_seconds (to cache the frozen layers, once) and provenance.
    Where only the record is there, as in a clone (models are not in git), it trains again for the `model`.
    """
    now = kept.inputs(run)
    own, reported = kept.model(run, now), kept.record(run, now)
    if own or (reported and not model):
        print(f"{run.name}: the {'model' if own else 'record'} of a training from the same inputs is kept")
        return own or reported
    if run.hardware.processes > 1 and not torch.distributed.is_torchelastic_launched():
        distributed.launch(run)
        return json.loads((run.artifacts / "training.json").read_text())
    wanted = reported["key"] if reported else freshness.digest(now)
    folder = run.artifacts / f"training-{wanted[:12]}"
    for stale in run.artifacts.glob("training-*"):  # of other inputs
        if stale != folder and os.environ.get("RANK", "0") == "0":  # of several processes, the first
            shutil.rmtree(stale)
    origin, history = provenance.stamp(run), History(run.name)
    try:
        outcome = trained(run, folder, history)
    except ParameterError:  # another learning rate is needed: the checkpoints are of no use
        shutil.rmtree(folder, ignore_errors=True)
        raise
    record = _record(run, outcome, history.rows, origin, wanted) | {"inputs": freshness.recorded(now)}
    if outcome.trainer.is_global_zero:
        _keep(run, outcome.start.model, record)
        shutil.rmtree(folder)
    return record


def initial_state(run: Run) -> tuple[str, dict[str, int]]:
    """Return where a run's weights start from, and its numbers of parameters: total, and trained.

    They are in the record of its training, if that is kept: the weights may be elsewhere.
    """
    if record := kept.record(run, kept.inputs(run)):
        return record["weights"], record["parameters"]
    start = build(run)
    return start.weights, parameter_counts(start.model)


class Outcome(NamedTuple):
    """A finished training: its model, with the weights of the best epoch, and what it took."""

    start: InitialisedModel
    counts: dict[str, int]  # parameters, before low-rank updates are merged
    trainer: pl.Trainer
    images: int  # of the training split
    cache_seconds: float  # for the frozen layers, once


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide Lightning's notes on absent devices, loader workers and frozen modules."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\.pytorch")
        yield


@_quiet()
def trained(run: Run, folder: Path, history: pl.Callback) -> Outcome:
    """Return a finished training of a run; an interrupted one is resumed from its checkpoints in `folder`.

    The key of a model is that of this function: it reaches all code that decides the model, and `history`,
    which only watches, is passed in.
    """
    start = build(run)
    counts = parameter_counts(start.model)
    began = time.perf_counter()
    data = data_of(run, start.model.to(device()))  # the frozen layers are asked there
    cache_seconds = time.perf_counter() - began
    trainer = _trainer(run, folder, history)
    learner = Learner(start.model, run, class_weights(run, data), data.first)
    learner.to(memory_format=torch.channels_last)
    last = folder / "last.ckpt"
    if last.exists():
        print("resuming an interrupted training after its last whole epoch")
    trainer.fit(learner, data, ckpt_path=last if last.exists() else None)
    if trainer.is_global_zero:
        best = torch.load(trainer.checkpoint_callback.best_model_path, weights_only=True)
        learner.load_state_dict(best["state_dict"])
        if run.model.lora:
            merge_lora(start.model)
    return Outcome(start, counts, trainer, len(data.part("train")), cache_seconds)


def data_of(run: Run, model: Classifier) -> Radiographs:
    """Return a run's batches: of images, or of cached outputs of the frozen layers if there are views."""
    if run.training.views and model.first_trainable() > 1:  # the first layer is the preprocessing
        return FrozenRadiographs(run, model)
    return Radiographs(run)


def _trainer(run: Run, folder: Path, history: pl.Callback) -> pl.Trainer:
    best, *others = callbacks(run, folder)
    last = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    pl.seed_everything(run.seed, workers=True, verbose=False)
    return pl.Trainer(
        max_epochs=run.training.epochs,
        precision=precision(run),
        callbacks=[history, best, last, *others],
        devices=run.hardware.devices,
        num_nodes=run.hardware.num_nodes,
        strategy=run.hardware.strategy,
        deterministic="warn" if run.training.deterministic else False,
        sync_batchnorm=torch.cuda.is_available(),
        use_distributed_sampler=False,  # Share splits every batch instead
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )


class History(pl.Callback):
    """One row and one printed line per epoch; kept in the checkpoint, so a resumed run has all rows."""

    def __init__(self, name: str):
        self.name, self.rows, self.bar = name, [], None

    def on_train_epoch_start(self, trainer, learner):
        self.started = time.time()
        title = f"{self.name}: epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        hidden = True if trainer.global_rank else None  # None: as TQDM_DISABLE says
        steps = trainer.num_training_batches
        self.bar = tqdm(total=steps, desc=title, unit="batch", leave=False, disable=hidden)

    def on_train_batch_end(self, *_):
        self.bar.update()

    def on_train_epoch_end(self, trainer, learner):
        self.bar.close()
        metrics = trainer.callback_metrics
        row = {
            "epoch": trainer.current_epoch + 1,
            "val_loss": float(metrics["val_loss"]),
            "sample_loss": float(metrics["sample_loss"]),
            "val_f1": float(metrics["val_f1"]),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            # each process has the loss of its share
            "train_loss": float(trainer.strategy.reduce(metrics["train_loss"], reduce_op="mean")),
            "seconds": time.time() - self.started,
        }
        self.rows.append(row)
        left = row["seconds"] * (trainer.max_epochs - row["epoch"]) / 60
        if trainer.is_global_zero:
            print(
                f"{self.name}: epoch {row['epoch']:2}/{trainer.max_epochs}  "
                f"train loss {row['train_loss']:.3f}  val loss {row['val_loss']:.3f}  "
                f"val F1 {row['val_f1']:.3f}  {row['seconds']:.0f} s, at most {left:.0f} min left",
                flush=True,
            )

    def state_dict(self):
        return {"rows": self.rows}

    def load_state_dict(self, state):
        self.rows = state["rows"]


def _record(run: Run, outcome: Outcome, rows: list[dict], origin, key: str) -> dict:
    history, patience = pd.DataFrame(rows), run.training.early_stopping
    early = len(history) < run.training.epochs
    return {
        "study": run.study.name,
        "run": run.name,
        "key": key,
        "weights": outcome.start.weights,
        "weights_sha256": outcome.start.sha256,
        "regime": run.model.regime,
        "parameters": outcome.counts,
        "precision": precision(run),
        "best_epoch": int(history.epoch[history.val_f1.idxmax()]),
        "stopped": f"no better validation F1 for {patience} epochs" if early else "all epochs done",
        "images_per_second": round(float(np.median(outcome.images / history.seconds)), 1),
        "frozen_seconds": round(outcome.cache_seconds, 1),
        "history": rows,
        "provenance": provenance.timed(origin),
    }


def _keep(run: Run, model: Classifier, record: dict) -> None:
    """Save model and record; the record last, as it vouches for the model."""
    study, counts = run.study, record["parameters"]
    what = (
        f"{run.model.backbone}, {record['regime']} from {record['weights']}; {counts['trained']:,} of "
        f"{counts['total']:,} parameters trained on study {study.name} ({study.title}), "
        f"{study.image_size} x {study.image_size} pixels; classes in the order {', '.join(study.classes)}."
    )
    card = {"run": f"{study.name} / {run.name}", "what": what, "attribution": study.archive.attribution}
    folder, fresh = run.artifacts / "model", run.artifacts / "model.partial"
    shutil.rmtree(fresh, ignore_errors=True)
    model.to("cpu", memory_format=torch.contiguous_format)
    model.save_pretrained(fresh, model_card_kwargs=card)
    (run.artifacts / "training.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    provenance.write_json(record, run.artifacts / "training.json")


if __name__ == "__main__":
    fit(files.load_run(*sys.argv[1:]), model=True)
