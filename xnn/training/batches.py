"""Batches of radiographs: random views for training, the images themselves for validation."""

import io
import math
from collections.abc import Iterator
from functools import partial

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler, SequentialSampler
from torchvision.transforms import InterpolationMode, v2

from ..config.schema import Augmentation, Run
from ..data.regions import load_seen
from ..models.classifier import to_input

QUALITY = (40, 95)  # of a recompressed JPEG


def augmentation(parameters: Augmentation, size: int) -> v2.Transform:
    """Return the transform of a grey image (1, size, size) uint8 to a random view of the same size."""
    shape = (1 / parameters.aspect, parameters.aspect)
    smaller = [v2.RandomResize(size // 4, size), v2.Resize((size, size))]
    steps = [
        (parameters.degrees, v2.Lambda(partial(_rotated, parameters.degrees))),
        (parameters.crop < 1, v2.RandomResizedCrop(size, (parameters.crop, 1), ratio=shape)),
        (parameters.flip, v2.RandomHorizontalFlip(parameters.flip)),
        (parameters.jitter, v2.ColorJitter(brightness=parameters.jitter, contrast=parameters.jitter)),
        (parameters.gamma, v2.Lambda(partial(_with_gamma, parameters.gamma))),
        (parameters.trivial, v2.TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR)),
        (parameters.low_pass, v2.RandomApply(smaller, parameters.low_pass)),
        (parameters.noise, v2.Lambda(partial(_with_noise, parameters.noise))),
        (parameters.recompress, v2.RandomApply([v2.Lambda(_recompressed)], parameters.recompress)),
    ]
    return v2.Compose([v2.Identity(), *(step for wanted, step in steps if wanted)])


def _rotated(largest: float, image: torch.Tensor) -> torch.Tensor:
    """Return an image rotated by a random angle, as v2.RandomAffine does it in three times the time."""
    angle, side = math.radians(torch.empty(1).uniform_(-largest, largest).item()), image.shape[-1]
    across = torch.linspace(1 / side - 1, 1 - 1 / side, side)
    down, grid = across[:, None], torch.empty(1, side, side, 2)
    grid[..., 0] = math.cos(angle) * across + math.sin(angle) * down
    grid[..., 1] = math.cos(angle) * down - math.sin(angle) * across
    turned = torch.nn.functional.grid_sample(image[None].float(), grid, align_corners=False)
    return turned[0].round_().to(torch.uint8)


def _recompressed(image: torch.Tensor) -> torch.Tensor:
    """Return an image written as a JPEG of random quality, and read again; v2.JPEG is deprecated."""
    file = io.BytesIO()
    quality = int(torch.randint(QUALITY[0], QUALITY[1] + 1, ()))
    Image.fromarray(image[0].numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).unsqueeze(0)


def _with_gamma(largest: float, image: torch.Tensor) -> torch.Tensor:
    """Return grey values raised to a random power, 1 - largest to 1 + largest."""
    exponent = 1 + largest * (2 * torch.rand(()).item() - 1)
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)  # fewer powers than pixels
    return v2.functional.adjust_gamma(levels, exponent).take(image.long())


def _with_noise(largest: float, image: torch.Tensor) -> torch.Tensor:
    """Return an image with Gaussian noise; v2.GaussianNoise has a fixed strength, and rounds towards 0."""
    deviation = largest * torch.rand(())
    return torch.randn(image.shape).mul_(deviation).add_(image).round_().clamp_(0, 255).to(torch.uint8)


class Views(Dataset):
    """Views of radiographs; item (i, view) is record i in random view number `view`.

    A view depends on the seed, the record and its number alone: not on the order of the items, the
    batch size or the number of worker processes. View None is the image itself.
    """

    def __init__(self, records: pd.DataFrame, images: np.ndarray, classes, transform=None, seed=0):
        self.rows = records.row.to_numpy()
        self.labels = records.label.map({c: i for i, c in enumerate(classes)}).to_numpy()
        self.images, self.transform, self.seed = images, transform, seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item) -> tuple[torch.Tensor, int]:
        """Return the grey image (H, W), uint8, and the number of its label."""
        index, view = item if isinstance(item, tuple) else (item, None)
        image = torch.from_numpy(np.array(self.images[self.rows[index]]))
        if self.transform is not None and view is not None:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(combined_seed(self.seed, int(self.rows[index]), view))
                image = self.transform(image.unsqueeze(0)).squeeze(0)
        return image, int(self.labels[index])


def combined_seed(*numbers: int) -> int:
    """Return a seed that differs wherever one of the numbers does."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


class Epochs(Sampler):
    """Order and view of every record in an epoch, from seed and epoch alone.

    The view is a new one in every epoch, or one of `views`, in turn.
    """

    def __init__(self, count: int, seed: int, views: int = 0):
        self.count, self.seed, self.views, self.epoch = count, seed, views, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this at the start of each."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        view = self.epoch % self.views if self.views else self.epoch
        return iter([(int(index), view) for index in order])


class Share(Sampler):
    """One process's share of every batch; all shares have the same size, and a rest is dropped."""

    def __init__(self, batches: BatchSampler, rank: int, processes: int):
        self.batches, self.rank, self.processes = batches, rank, processes
        self.sampler = batches.sampler  # whose epoch Lightning sets

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list]:
        for batch in self.batches:
            end = len(batch) - len(batch) % self.processes
            yield batch[self.rank : end : self.processes]


class Radiographs(pl.LightningDataModule):
    """Training and validation batches of a run: images (B, 3, H, W) in [0, 1], labels (B,).

    Of several processes each has its share of every training batch, and all of validation.
    """

    first = 0  # the layer of the network that takes them

    def __init__(self, run: Run):
        super().__init__()
        self.run, study = run, run.study
        self.records, self.images = load_seen(study, run.model.region)
        self.augment = augmentation(run.augmentation, study.image_size)

    def part(self, split: str) -> pd.DataFrame:
        """Return the records of one split; of "sample", as many of train at random as val has."""
        if split == "sample":
            train = self.part("train")
            count = min(len(train), len(self.part("val")))
            return train.sample(count, random_state=self.run.seed, ignore_index=True)
        return self.records[self.records.split == split].reset_index(drop=True)

    def dataset(self, split: str) -> Dataset:
        """Return the views of one split: random ones of train, the images themselves of any other."""
        transform = self.augment if split == "train" else None
        return Views(self.part(split), self.images, self.run.study.classes, transform, self.run.seed)

    def train_dataloader(self) -> DataLoader:
        data, size = self.dataset("train"), self.run.training.batch_size
        order = Epochs(len(data), self.run.seed, self.run.training.views)
        # the rest is dropped where there is more than one batch: a single image has no batch statistics
        batches = BatchSampler(order, size, drop_last=len(data) > size)
        if self.trainer and self.trainer.world_size > 1:
            batches = Share(batches, self.trainer.global_rank, self.trainer.world_size)
        return self._loader(data, batches)

    def val_dataloader(self) -> list[DataLoader]:
        data, size = [self.dataset("val"), self.dataset("sample")], self.run.training.batch_size
        return [self._loader(each, BatchSampler(SequentialSampler(each), size, False)) for each in data]

    def on_after_batch_transfer(self, batch, dataloader_idx: int):
        """Return the batch as the network takes it; what is copied to the device is grey bytes."""
        images, labels = batch
        return to_input(images), labels

    def _loader(self, data: Dataset, batches: Sampler) -> DataLoader:
        workers = self.run.training.workers
        return DataLoader(
            data,
            batch_sampler=batches,
            num_workers=workers,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # else making an iterator would advance the global one
        )
