"""Training of a run: `fit` keeps what it has done, goes on where it was interrupted, and records it.

``python -m xnn.training STUDY RUN`` trains one without a notebook; under torchrun it is one of the processes
that the run's `hardware` asks for.
"""

import hashlib
import json
import logging
import shutil
import sys
import time
import warnings
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from tqdm import tqdm

from . import distributed, params, provenance
from .batches import Radiographs
from .data import load_records
from .features import FrozenRadiographs
from .models import Classifier, Start, build, merge, parameter_counts
from .params import Run
from .recipe import Learner, callbacks, class_weights, precision

# Lightning tells of absent devices, loader workers and frozen modules; the record says what matters.
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module=r"lightning\.pytorch")

# the modules that decide what a trained model is; this one only keeps and tells
DECIDING = ("images", "batches", "models", "features", "recipe")


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


def fit(run: Run) -> dict:
    """Train a run, unless a model trained from the very same inputs is there already.

    An interrupted training goes on from its last whole epoch. Writes ``model/`` to the run's
    artifacts and returns its training record: key, history (one row an epoch), best_epoch, stopped
    (why), weights (where they came from), parameters, images_per_second, frozen_seconds (what the frozen
    layers took, once) and provenance. Where the run asks for several processes, torchrun starts them.
    """
    origin = provenance.stamp(run)
    start = build(run)
    wanted = key(run, start)
    done = run.artifacts / "training.json"
    if done.exists() and (record := json.loads(done.read_text()))["key"] == wanted:
        print(f"{run.name}: the model trained from these very inputs is kept")
        return record
    if run.hardware.processes > 1 and not distributed.inside():
        distributed.launch(run)
        return json.loads(done.read_text())
    folder = run.artifacts / f"training-{wanted[:12]}"  # what else lies there belongs to other inputs
    for stale in run.artifacts.glob("training-*"):
        if stale != folder and distributed.first():
            shutil.rmtree(stale)
    began = time.perf_counter()
    data = data_of(run, start.model)
    prepared = time.perf_counter() - began
    trainer, history = _trainer(run, folder)
    learner = Learner(start.model, run, class_weights(run, data), data.first)
    learner.to(memory_format=torch.channels_last)
    batches = data
    if trainer.world_size > 1:
        batches = distributed.SharedRadiographs(data, trainer.global_rank, trainer.world_size)
    trainer.fit(learner, batches, ckpt_path=_last(folder))
    record = _record(run, start, wanted, history.rows, len(data.part("train")), prepared, origin)
    if trainer.is_global_zero:
        _keep(run, start.model, Path(trainer.checkpoint_callback.best_model_path), record)
        shutil.rmtree(folder)
    return record


def key(run: Run, start: Start) -> str:
    """Hash of all that decides a trained model: parameters, images, code, and starting weights."""
    records = load_records(run.study)
    seen = records.loc[records.split.isin(["train", "val"]), ["row", "path", "label", "split", "sha256"]]
    parts = (
        params.sha256(run.model, run.training, run.augmentation),
        f"{run.seed} {run.study.image_size} {run.study.classes}",
        seen.to_csv(index=False),
        provenance.code_sha256(*DECIDING),
        start.sha256,
        precision(run),
        *([params.sha256(run.hardware)] if run.hardware.processes > 1 else []),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def data_of(run: Run, model: Classifier) -> Radiographs:
    """A run's batches: of images, or of what the frozen layers make of them where that can be kept."""
    if run.training.views and model.boundary() > 1:  # the first layer only prepares the image
        return FrozenRadiographs(run, model)
    return Radiographs(run)


def _trainer(run: Run, folder: Path) -> tuple[pl.Trainer, History]:
    history = History(run.name)
    last = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    deciding = callbacks(run, folder)
    pl.seed_everything(run.seed, workers=True, verbose=False)
    trainer = pl.Trainer(
        max_epochs=run.training.epochs,
        precision=precision(run),
        callbacks=[history, deciding[0], last, *deciding[1:], distributed.OwnDraws(run.seed)],
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
    return trainer, history


def _last(folder: Path) -> Path | None:
    """The checkpoint of an interrupted training, if there is one."""
    last = folder / "last.ckpt"
    if last.exists():
        print("going on from the last whole epoch of an interrupted training")
        return last
    return None


def _record(run, start, wanted, rows, images, prepared, origin) -> dict:
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
        "frozen_seconds": round(prepared, 1),
        "history": rows,
        "provenance": provenance.timed(origin),
    }


def _keep(run: Run, model: Classifier, best: Path, record: dict) -> None:
    """Put the best epoch's weights where users find them; the record last, as it vouches for them."""
    state = torch.load(best, weights_only=True)["state_dict"]
    own = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
    model.load_state_dict(own)
    if run.model.lora:
        merge(model)
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
    fit(params.load_run(*sys.argv[1:]))
