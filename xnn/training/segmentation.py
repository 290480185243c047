"""Training of a study's lung segmenter, resumed where it was interrupted.

Part of each batch shows no upright chest: turned, inverted or scrambled radiographs, and noise, with empty
masks. Without them a network that has only seen chests finds lungs in anything.
"""

import shutil
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from ..config import freshness, provenance, schema
from ..config.schema import Study
from ..data.archive import DataError
from ..data.lungs import load_lungs
from ..data.records import load_images, load_records
from ..evaluation.intervals import all_and_resampled, summary
from ..evaluation.scoring import mean
from ..models.kept import seen_sha256
from ..models.segmenter import SIDE, Segmenter, overlap, segment, small, standardised

FOREIGN = 1 / 4  # share of a batch
TURN, SCALE, SHIFT = 10.0, (0.8, 1.25), 0.08  # of a random view: degrees, factors, half sides
TILES = 7  # per side, of a scrambled radiograph
ALARM = 0.01  # share of the validation images that are said to show no lungs


def fit(study: Study) -> dict:
    """Train a study's segmenter unless that was done from the same inputs; return the training's record.

    The model goes to ``lungs/`` in the study's artifacts. Raises DataError for a study without masks.
    """
    now = {
        "code": freshness.of_function(__name__, "trained").sha256,
        "parameters": {"study": schema.leaves(study, {"segmenter", "seed"})},
        "records": seen_sha256(study),
        "lungs": provenance.lungs_sha256(study),
    }
    folder, kept = study.artifacts / "lungs", study.artifacts / "lungs/training.json"
    record = provenance.read_json(kept)
    if record and not freshness.differences(record["inputs"], now):
        print("the segmenter of a training from the same inputs is kept")
        return record
    key, origin = freshness.digest(now), provenance.stamp(study)
    checkpoint = study.artifacts / f"lungs-{key[:12]}.ckpt"
    model, history = trained(study, checkpoint)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    record = {"key": key, "inputs": freshness.recorded(now), "history": history}
    provenance.write_json(record | {"provenance": provenance.timed(origin)}, kept)
    checkpoint.unlink()
    return record


def masked(study: Study, split: str) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return the records of a split that have a lung mask, and their images and masks (N, H, W)."""
    records = load_records(study)
    records = records[records.split == split].reset_index(drop=True)
    lungs = load_lungs(study, records)
    if lungs is None or not lungs.known.any():
        raise DataError(f"study {study.name} has no lung masks: set MASKS")
    records = records[lungs.known].reset_index(drop=True)
    return records, load_images(study)[records.row.to_numpy()], lungs.masks[lungs.known]


def trained(study: Study, checkpoint: Path) -> tuple[Segmenter, list[dict]]:
    """Return a trained segmenter and a row for each epoch; an interrupted training goes on from its last."""
    how = study.segmenter
    images, masks = _small(*masked(study, "train")[1:])
    seen, truth = _small(*masked(study, "val")[1:])
    torch.manual_seed(study.seed)
    model, history = Segmenter().to(memory_format=torch.channels_last), []
    model.usual.copy_(masks.mean(0))
    optimizer = torch.optim.AdamW(model.parameters(), how.learning_rate)
    steps = how.epochs * max(1, len(images) // how.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, how.learning_rate, steps)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        history = state.pop("history")
        for name, each in state.items():
            parts[name].load_state_dict(each)
    for epoch in range(len(history), how.epochs):
        began, generator = time.perf_counter(), torch.Generator().manual_seed(study.seed + epoch)
        loss = _epoch(model, optimizer, schedule, images, masks, how.batch_size, generator)
        dice = overlap(_answers(model, seen), truth).mean().item()
        seconds = time.perf_counter() - began
        history.append({"epoch": epoch + 1, "loss": loss, "val_dice": dice, "seconds": seconds})
        print("lungs: epoch {epoch}  loss {loss:.3f}  validation Dice {val_dice:.3f}".format(**history[-1]))
        with provenance.whole(checkpoint) as partial:
            torch.save(
                {name: each.state_dict() for name, each in parts.items()} | {"history": history}, partial
            )
    return model.eval(), history


def _small(images, masks):
    return standardised(images), small(255 * masks.astype(np.uint8)) / 255


def _epoch(model, optimizer, schedule, images, masks, size, generator):
    """Train for an epoch in random order and return the mean loss."""
    losses, order = [], torch.randperm(len(images), generator=generator)
    batches = order[: max(1, len(order) // size) * size].split(size)
    model.train()
    for rows in tqdm(batches, "lungs", leave=False):
        seen, wanted = view(images[rows], masks[rows], generator)
        loss = nn.functional.binary_cross_entropy_with_logits(model(seen), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return float(np.mean(losses))


@torch.inference_mode()
def _answers(model, images):
    model.eval()
    return torch.cat([model(batch).sigmoid() for batch in images.split(64)])


def view(images: torch.Tensor, masks: torch.Tensor, generator: torch.Generator):
    """Return random views of standardised images and masks (N, SIDE, SIDE); the first show no chest."""
    count = len(images)

    def draw(low, high):
        return low + (high - low) * torch.rand(count, generator=generator)

    turn, scale = torch.deg2rad(draw(-TURN, TURN)), draw(*SCALE)
    mirror = draw(-1, 1).sign()
    rows = [scale * turn.cos() * mirror, -scale * turn.sin(), draw(-SHIFT, SHIFT)]
    rows += [scale * turn.sin() * mirror, scale * turn.cos(), draw(-SHIFT, SHIFT)]
    grid = nn.functional.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), (count, 2, SIDE, SIDE), False)
    both = torch.stack([images, masks], 1)
    seen, wanted = nn.functional.grid_sample(both, grid, padding_mode="border", align_corners=False).unbind(1)
    for row in range(int(FOREIGN * count)):
        seen[row], wanted[row] = foreign(seen[row], row, generator), 0
    return seen, wanted


def foreign(image: torch.Tensor, kind: int, generator: torch.Generator) -> torch.Tensor:
    """Return an image (SIDE, SIDE) that is no upright chest, made from one that is."""
    match kind % 4:
        case 0:
            turns = torch.randint(1, 4, (1,), generator=generator).item()
            return image.rot90(turns)
        case 1:
            return -image
        case 2:
            tiles = image.view(TILES, SIDE // TILES, TILES, SIDE // TILES).transpose(1, 2).flatten(0, 1)
            tiles = tiles[torch.randperm(len(tiles), generator=generator)]
            return tiles.view(TILES, TILES, SIDE // TILES, -1).transpose(1, 2).reshape(SIDE, SIDE)
    side = int(2 ** torch.randint(1, 7, (1,), generator=generator))
    noise = torch.randn(1, 1, side, side, generator=generator)
    noise = nn.functional.interpolate(noise, (SIDE, SIDE), mode="bicubic")[0, 0]
    return (noise - noise.mean()) / (noise.std() + 1e-6)


# ---- how good it is ------------------------------------------------------------------------------


class Tested(NamedTuple):
    """What a segmenter finds on the images of a split."""

    table: pd.DataFrame  # path, label, patient, dice (with the annotator's mask), usual (see `segment`)
    images: np.ndarray  # (N, H, W) uint8
    truth: np.ndarray  # (N, H, W) bool
    found: np.ndarray  # (N, H, W) bool

    def take(self, rows) -> "Tested":
        """Return some of the images."""
        return Tested(self.table.iloc[rows], *(each[rows] for each in self[1:]))


def assess(study: Study, split: str) -> Tested:
    """Return what the study's trained segmenter finds on a split."""
    records, images, truth = masked(study, split)
    found, usual = segment(Segmenter.from_pretrained(study.artifacts / "lungs"), images)
    dice = overlap(torch.as_tensor(found).float(), torch.as_tensor(truth).float()).numpy()
    return Tested(records[["path", "label", "patient"]].assign(dice=dice, usual=usual), images, truth, found)


def dice(study: Study, found: Tested) -> pd.DataFrame:
    """Return the mean Dice coefficient, a row per class and one for all: value, low, high, n.

    Intervals are 95 %, by bootstrap over patients.
    """
    parts = {"all": found.table, **dict(list(found.table.groupby("label")))}
    rows = {
        name: summary(mean(part.dice.to_numpy(), all_and_resampled(part.patient, seed=study.seed)))
        | {"n": len(part)}
        for name, part in parts.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def limit(validation: Tested) -> float:
    """Return the `usual` below which an image is said to show no lungs."""
    return float(validation.table.usual.quantile(ALARM))


def alarms(study: Study, images: np.ndarray, least: float) -> pd.Series:
    """Return the share of images (N, H, W) said to show no lungs, as they are and turned or inverted."""
    changed = {
        "as they are": images,
        "turned by 90 degrees": images.swapaxes(1, 2)[:, :, ::-1],
        "upside down": images[:, ::-1],
        "inverted": 255 - images,
    }
    model = Segmenter.from_pretrained(study.artifacts / "lungs")
    return pd.Series({name: (segment(model, each)[1] < least).mean() for name, each in changed.items()})
