"""Batches of images: random views for training, the images themselves for everything else."""

from collections.abc import Iterator

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms import InterpolationMode, v2

from ..config.schema import Augmentation, Run
from ..data.records import load_images, load_records
from ..models.classifier import to_input


def augmentation(parameters: Augmentation, size: int) -> v2.Transform:
    """Random views of one grey image (1, size, size) uint8, at the same size."""
    steps = []
    if parameters.degrees:
        steps.append(v2.RandomAffine(parameters.degrees, interpolation=InterpolationMode.BILINEAR))
    if parameters.crop < 1:
        steps.append(v2.RandomResizedCrop(size, (parameters.crop, 1), ratio=(0.9, 1.1), antialias=True))
    if parameters.flip:
        steps.append(v2.RandomHorizontalFlip(parameters.flip))
    if parameters.jitter:
        steps.append(v2.ColorJitter(brightness=parameters.jitter, contrast=parameters.jitter))
    if parameters.trivial:
        steps.append(v2.TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR))
    return v2.Compose(steps) if steps else v2.Identity()


class Views(Dataset):
    """Radiographs of some records; item (i, view) is record i seen by random view number `view`.

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
        """The grey image (H, W), uint8, and its label's number."""
        index, view = item if isinstance(item, tuple) else (item, None)
        image = torch.from_numpy(np.array(self.images[self.rows[index]]))
        if self.transform is not None and view is not None:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(mix(self.seed, int(self.rows[index]), view))
                image = self.transform(image.unsqueeze(0)).squeeze(0)
        return image, int(self.labels[index])


def mix(*numbers: int) -> int:
    """One well spread seed of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


class Epochs(Sampler):
    """Every record once an epoch, in an order and with views that depend on seed and epoch alone.

    The view is a new one every epoch, or one of `views`, in turn.
    """

    def __init__(self, count: int, seed: int, views: int = 0):
        self.count, self.seed, self.views, self.epoch = count, seed, views, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        view = self.epoch % self.views if self.views else self.epoch
        return iter([(int(index), view) for index in order])


class Radiographs(pl.LightningDataModule):
    """The train and validation batches of a run: images (B, 3, H, W) in [0, 1], labels (B,)."""

    first = 0  # the layer of the network that takes them

    def __init__(self, run: Run):
        super().__init__()
        self.run, study = run, run.study
        self.records, self.images = load_records(study), load_images(study)
        self.augment = augmentation(run.augmentation, study.image_size)

    def part(self, split: str) -> pd.DataFrame:
        """Records of one split."""
        return self.records[self.records.split == split].reset_index(drop=True)

    def train_dataloader(self) -> DataLoader:
        data = self.dataset("train")
        sampler = Epochs(len(data), self.run.seed, self.run.training.views)
        return self._loader(data, sampler=sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.dataset("val"))

    def on_after_batch_transfer(self, batch, dataloader_idx: int):
        """Grey bytes travel to the device; what the network takes is made there."""
        images, labels = batch
        return to_input(images), labels

    def dataset(self, split: str) -> Dataset:
        """Views of one split: random ones of train, the images themselves of any other."""
        transform = self.augment if split == "train" else None
        return Views(self.part(split), self.images, self.run.study.classes, transform, self.run.seed)

    def _loader(self, data: Dataset, sampler=None, drop_last=False) -> DataLoader:
        training = self.run.training
        # A last batch of one image has no batch statistics, so training drops what is left over,
        # where there is more than one batch.
        return DataLoader(
            data,
            batch_size=training.batch_size,
            sampler=sampler,
            drop_last=drop_last and len(data) > training.batch_size,
            num_workers=training.workers,
            persistent_workers=training.workers > 0,
            generator=torch.Generator(),  # else making an iterator would advance the global one
        )
