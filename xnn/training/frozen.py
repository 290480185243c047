"""Activation cache for the frozen layers.

Only the layers after the frozen ones need to be evaluated in every epoch. The output of the frozen ones for
each radiograph and view lies in a memory-mapped file named by a hash of all that decides it: runs that share
a frozen part share the file, and a stale file is never read.
"""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm.auto import tqdm

from ..config import freshness, schema
from ..config.provenance import whole
from ..config.schema import Run
from ..models.classifier import BATCH, Classifier, channels_last, to_input
from .batches import Radiographs, Views
from .recipe import precision

CAPACITY = 16 * 2**30  # bytes of a study's cache; the oldest files go first


class Activations(Dataset):
    """Cached outputs of the frozen layers; item (i, view) is that of the same item of Views."""

    def __init__(self, values: torch.Tensor, labels: np.ndarray):
        self.values, self.labels = values, labels  # (N, views, ...), (N,)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, item) -> tuple[torch.Tensor, int]:
        index, view = item if isinstance(item, tuple) else (item, 0)
        return self.values[index, view], int(self.labels[index])


class FrozenRadiographs(Radiographs):
    """The batches of Radiographs, as the output of the model's leading frozen layers."""

    def __init__(self, run: Run, model: Classifier):
        super().__init__(run)
        self.model, self.first = model, model.first_trainable()
        self.cached = {split: self._cached(split) for split in ("train", "val", "sample")}

    def dataset(self, split: str) -> Dataset:
        return self.cached[split]

    def on_after_batch_transfer(self, batch, dataloader_idx: int):
        """Return the batch unchanged."""
        return batch

    def _cached(self, split: str) -> Activations:
        views = super().dataset(split)
        numbers = range(self.run.training.views) if split == "train" else [None]
        items = [(index, view) for index in range(len(views)) for view in numbers]
        folder = self.run.study.artifacts / "features"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{key(self.run, self.model, views, len(items))}.bin"
        dtype = torch.bfloat16 if precision(self.run) == "bf16-mixed" else torch.float32
        shape = self._frozen(views[0][0].unsqueeze(0)).shape[1:]
        size = len(items) * shape.numel()
        with FileLock(file.with_suffix(".lock")):
            if not file.exists():
                make_room(folder, size * dtype.itemsize)
                self._write(file, Subset(views, items), dtype, split)
        values = torch.from_file(str(file), shared=False, size=size, dtype=dtype)
        return Activations(values.view(len(views), -1, *shape), views.labels)

    def _write(self, file: Path, data: Dataset, dtype: torch.dtype, split: str) -> None:
        loader = DataLoader(data, BATCH, num_workers=self.run.training.workers)
        title = f"{self.run.name}: frozen layers, {split}"
        with whole(file) as partial, partial.open("wb") as out:
            for images, _ in tqdm(loader, desc=title, unit="batch", leave=False):
                found = self._frozen(images).to("cpu", dtype).contiguous()
                out.write(found.view(torch.uint8).numpy().tobytes())

    @torch.no_grad()
    def _frozen(self, images: torch.Tensor) -> torch.Tensor:
        device = next(self.model.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=precision(self.run) == "bf16-mixed"):
            return self.model.forward_range(channels_last(to_input(images.to(device))), 0, self.first)


def key(run: Run, model: Classifier, data: Views, views: int) -> str:
    """Return a hash of all that decides cached outputs: layers, pixels, views, precision, code."""
    layers = model.layers()[: model.first_trainable()]
    tensors = [tensor for layer in layers for tensor in layer.state_dict().values()]
    weights = hashlib.sha256(b"".join(each.cpu().contiguous().numpy().tobytes() for each in tensors))
    pixels = hashlib.sha256()
    for row in data.rows:
        pixels.update(data.images[row])
    parts = [
        weights.hexdigest(),
        f"{layers} {model.image_size} {run.study.image_size} {views} {run.seed} {precision(run)}",
        schema.sha256(run.augmentation),
        data.rows.tolist(),  # a random view depends on the row
        pixels.hexdigest(),
        freshness.of_function(__name__, "FrozenRadiographs").sha256,
    ]
    return freshness.digest(parts)


def make_room(folder: Path, needed: int) -> None:
    """Remove the oldest files that do not fit beside `needed` bytes; raise OSError on a full disk."""
    files = sorted(folder.glob("*.bin"), key=lambda file: file.stat().st_mtime)
    while files and sum(file.stat().st_size for file in files) + needed > CAPACITY:
        files.pop(0).unlink()  # a training that reads it keeps its mapping
    if (free := shutil.disk_usage(folder).free) < needed:
        need = f"features need {needed / 2**30:.1f} GiB and {free / 2**30:.1f} are free"
        raise OSError(28, f"{need}: lower training.views, or set it to 0", str(folder))
