"""Speed of training here against a plain loop, in one process on the same images.

    python benchmarks/training.py [--images 256] [--backbones mobilenet_v2 ...]

(a) is the loop that such a study usually starts from: JPEG decoded and augmented by torchvision in every
epoch, float32, contiguous memory, frozen layers evaluated in every epoch. (b) is `xnn.fit`: images decoded
once, channels_last, bf16 on processors that are fast at it, frozen layers evaluated once. Both train the same
layers of the same network with AdamW at the same batch size. The last column divides one epoch of (b) by the
bare forward and backward passes of the same layers on ready tensors: the overhead of its loop.

The second table says where an epoch of (b) goes: the bare passes, and the rest, which is data and loop. Its
last column is how many times as fast the bare passes are in bf16 as in float32.

The images are phantoms, written as JPEG files of 224 x 224 pixels. Times of 20 epochs are the measured
one-off seconds plus 20 times the measured seconds of an epoch.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

os.environ["TQDM_DISABLE"] = "1"
os.environ["XNN_ROOT"] = tempfile.mkdtemp(prefix="xnn-benchmark-")

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import xnn
from xnn.config import provenance, schema
from xnn.evaluation import comparison
from xnn.models import backbones
from xnn.training import fit, recipe

SIZE, BATCH, EPOCHS = 224, 32, 3
BACKBONES = {
    "mobilenet_v2": {},
    "resnet18": {},
    "resnet50": {},
    "convnextv2": {"depths": [2, 2, 6, 2], "hidden_sizes": [40, 80, 160, 320]},  # atto
}
REGIMES = {"feature extraction": "head", "fine-tuning": 15, "full": "all"}


class Plain(Dataset):
    """JPEG files, decoded and augmented at every access."""

    def __init__(self, files: list[Path], labels: list[int]):
        self.files, self.labels = files, labels
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(SIZE, (0.9, 1)),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(backbones.MEAN, backbones.STD),
            ]
        )

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return self.transform(Image.open(self.files[index]).convert("RGB")), self.labels[index]


def study(images: int) -> schema.Study:
    """Return a wrangled study of phantoms, most of them in the training split."""
    folder = schema.root() / "params/benchmark"
    folder.mkdir(parents=True)
    text = f"{{title: benchmark, source: phantom, image_size: {SIZE}, patients: {images // 2}, "
    (folder / "study.yaml").write_text(text + "fractions: [0.8, 0.1, 0.1]}")
    made = xnn.load_study("benchmark")
    xnn.wrangle(made)
    return made


def run_of(study, backbone: str, train) -> schema.Run:
    """Return a run of the benchmark's study."""
    views = 0 if train == "all" else 1
    text = {
        "model": {"backbone": backbone, "weights": "none", "config": BACKBONES[backbone], "train": train},
        "training": {
            "batch_size": BATCH,
            "epochs": EPOCHS,
            "views": views,
            "schedule": "cosine",  # needs no validation
            "early_stopping": 0,
        },
        "augmentation": {"crop": 0.9, "degrees": 0.0, "jitter": 0.0, "flip": 0.0},
    }
    name = f"{backbone}-{train}"
    study.file.with_name(f"{name}.yaml").write_text(json.dumps(text))
    return xnn.load_run(study.name, name)


def plain(run, data: Plain) -> float:
    """Return the seconds of one epoch of the plain loop (a), without the first epoch (warm-up)."""
    model = xnn.build(run).model
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-3)
    seconds = []
    for _ in range(EPOCHS):
        began = time.perf_counter()
        for images, labels in DataLoader(data, BATCH, shuffle=True, drop_last=True):
            optimizer.zero_grad()
            features = model.backbone(images)
            torch.nn.functional.cross_entropy(model.head(features), labels).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


class Clock(pl.Callback):
    """Seconds of every training epoch, without validation."""

    def __init__(self):
        self.seconds = []

    def on_train_epoch_start(self, *_):
        self.began = time.perf_counter()

    def on_train_epoch_end(self, *_):
        self.seconds.append(time.perf_counter() - self.began)


class Passes(NamedTuple):
    """Seconds of an epoch's bare passes, on one ready batch."""

    forward: float
    backward: float
    optimiser: float


def ours(run) -> tuple[float, float, Passes, Passes]:
    """Return the seconds before the first epoch, of one epoch of (b), and its bare passes.

    The passes are those of (b), and those in float32.
    """
    began = time.perf_counter()
    model = xnn.build(run).model
    data = fit.data_of(run, model)
    prepared = time.perf_counter() - began
    learner = recipe.Learner(model, run, None, data.first)
    learner.to(memory_format=torch.channels_last)
    clock = Clock()
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        precision=recipe.precision(run),
        callbacks=[clock],
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(learner, data)
    rounded = recipe.precision(run) == "bf16-mixed"
    passes = [bare(learner, data, each) for each in (rounded, False)]
    return prepared, statistics.median(clock.seconds[1:]), *passes


def bare(learner, data, rounded: bool) -> Passes:
    """Return the seconds of an epoch's passes and optimiser steps, in bf16 if `rounded`."""
    loader = data.train_dataloader()
    inputs, labels = data.on_after_batch_transfer(next(iter(loader)), 0)
    optimizer = torch.optim.AdamW([p for p in learner.parameters() if p.requires_grad], 1e-3)
    inputs = inputs if rounded else inputs.float()  # kept activations are in bf16
    learner.train()
    times = []
    for _ in range(EPOCHS * len(loader.batch_sampler)):
        optimizer.zero_grad()
        times.append([time.perf_counter()])
        with torch.autocast("cpu", torch.bfloat16, enabled=rounded):
            loss = learner.loss(learner(inputs), labels)
        times[-1].append(time.perf_counter())
        loss.backward()
        times[-1].append(time.perf_counter())
        optimizer.step()
        times[-1].append(time.perf_counter())
    each = np.median(np.diff(times), axis=0) * len(loader.batch_sampler)
    return Passes(*each.tolist())


def answer(table: pd.DataFrame) -> str:
    ratio = table.groupby("regime").ratio.agg(["min", "max"])
    each = (f"{row.min:.1f} to {row.max:.1f} times with {row.Index}" for row in ratio.itertuples())
    return f"Twenty epochs are faster here than by the plain loop: {', '.join(each)}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256, help="about how many are drawn")
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES))
    options = parser.parse_args()
    made = study(options.images)
    records = xnn.load_records(made).query("split == 'train'")
    jpegs = Plain(write_jpegs(made, records), [made.classes.index(label) for label in records.label])
    rows, shares = [], []
    for backbone in options.backbones:
        for regime, train in REGIMES.items():
            run = run_of(made, backbone, train)
            prepared, epoch, passes, slow = ours(run)
            rows.append(row(backbone, regime, len(jpegs), plain(run, jpegs), prepared, epoch, sum(passes)))
            shares.append({"trained": f"{backbone}, {regime}"} | share(epoch, passes, slow))
            print(pd.DataFrame(rows[-1:]).to_string(index=False), flush=True)
    print(f"# Training here and by the plain loop\n\n{answer(pd.DataFrame(rows))}")
    print(
        f"\n{len(jpegs)} images, {provenance.device()}, torch {torch.__version__}, {recipe.precision(run)}\n"
    )
    print(comparison.markdown(pd.DataFrame(rows)))
    print(f"\n## Where an epoch goes\n\n{comparison.markdown(pd.DataFrame(shares))}")


def write_jpegs(made, records) -> list[Path]:
    """Write the training images as JPEG files for (a) and return their paths."""
    folder = made.artifacts / "jpeg"
    folder.mkdir()
    files = [folder / f"{row}.jpeg" for row in records.row]
    images = xnn.load_images(made)
    for row, file in zip(records.row, files, strict=True):
        Image.fromarray(images[row]).convert("RGB").save(file, quality=95)
    return files


def row(backbone, regime, images, before, prepared, epoch, passes) -> dict:
    """Return one row of the table."""
    before_20, ours_20 = 20 * before, prepared + 20 * epoch
    return {
        "backbone": backbone,
        "regime": regime,
        "(a) images/s": round(images / before, 1),
        "(b) images/s": round(images / epoch, 1),
        "(b) once, s": round(prepared, 1),
        "(a) 20 epochs, s": round(before_20),
        "(b) 20 epochs, s": round(ours_20, 1),
        "ratio": round(before_20 / ours_20, 1),
        "loop / bare": round(epoch / passes, 2),
    }


def share(epoch: float, passes: Passes, slow: Passes) -> dict:
    """Return the share of an epoch that each part takes, and how much faster the passes are in bf16."""
    parts = passes._asdict() | {"data and loop": max(0, epoch - sum(passes))}
    found = {name: f"{seconds / max(epoch, sum(passes)):.0%}" for name, seconds in parts.items()}
    return found | {"passes, bf16 against float32": f"{sum(slow) / sum(passes):.1f}"}


if __name__ == "__main__":
    main()
