"""Training by several processes: how they are started, and which images of every batch each takes.

`batch_size` stays the size of the batch that all of them share, in the order that one process would take it
in, so the gradients (averaged by DDP) are one process's within rounding. What differs: batch normalisation
sees only a process's share on a CPU (on GPUs it is made one over all, SyncBatchNorm), a loss with class
weights is averaged in each process first, and dropout and mix-up draw by process.
"""

import os
from collections.abc import Iterator

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Sampler

from ..config import leash
from ..config.schema import ParameterError, Run
from .batches import Radiographs, mix

TOLD = 20  # lines of a failed training


class Share(Sampler):
    """Of every batch of a batch sampler the images of one process: all processes' are as many."""

    def __init__(self, whole: Sampler, rank: int, processes: int):
        self.whole, self.rank, self.processes = whole, rank, processes
        self.sampler = whole.sampler  # Lightning tells it the epoch

    def __len__(self) -> int:
        return len(self.whole)

    def __iter__(self) -> Iterator[list]:
        for batch in self.whole:
            even = (
                len(batch) - len(batch) % self.processes
            )  # of a split smaller than a batch, the rest is left
            yield batch[self.rank : even : self.processes]


class SharedRadiographs(pl.LightningDataModule):
    """The batches of `whole` as one process has them: its share of training's, all of validation's."""

    def __init__(self, whole: Radiographs, rank: int, processes: int):
        super().__init__()
        self.whole, self.rank, self.processes = whole, rank, processes

    def train_dataloader(self) -> DataLoader:
        loader = self.whole.train_dataloader()
        return DataLoader(
            loader.dataset,
            batch_sampler=Share(loader.batch_sampler, self.rank, self.processes),
            num_workers=loader.num_workers,
            persistent_workers=loader.persistent_workers,
            generator=torch.Generator(),
        )

    def val_dataloader(self) -> DataLoader:
        return self.whole.val_dataloader()

    def on_after_batch_transfer(self, batch, dataloader_idx: int):
        return self.whole.on_after_batch_transfer(batch, dataloader_idx)


class OwnDraws(pl.Callback):
    """Dropout and mix-up of a process: else each would draw what the first one draws."""

    def __init__(self, seed: int):
        self.seed = seed

    def on_train_batch_start(self, trainer, learner, batch, number: int):
        if number == 0 and trainer.global_rank:
            torch.manual_seed(mix(self.seed, trainer.current_epoch, trainer.global_rank))


def inside() -> bool:
    """Whether this is one of the processes that torchrun has started."""
    return torch.distributed.is_torchelastic_launched()


def first() -> bool:
    """Whether this is the process that writes: the first of them, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def launch(run: Run) -> None:
    """Train a run by ``torchrun -m xnn.training.fit`` on this host, its progress printed.

    Raises ParameterError where several hosts are asked for, which only their user can start, and RuntimeError
    with its last lines where the training fails.
    """
    hardware = run.hardware
    if hardware.num_nodes > 1:
        raise ParameterError(
            f"{run.file.name}: hardware.num_nodes: start `torchrun --nnodes {hardware.num_nodes} "
            f"--nproc-per-node {hardware.devices} --rdzv-backend c10d --rdzv-endpoint HOST:29400 "
            f"-m xnn.training.fit {run.study.name} {run.name}` on each host, HOST being the first of them; "
            "then make this step again: it finds the model"
        )
    threads = max(1, torch.get_num_threads() // hardware.devices)
    process = leash.start(
        "torch.distributed.run",
        *("--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={hardware.devices}"),
        *("-m", "xnn.training.fit", run.study.name, run.name),
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1"},
        stdout=-1,  # a pipe: a notebook shows what is printed here
        stderr=-2,  # into the same
        text=True,
    )
    lines = []
    with process:
        for line in process.stdout:
            lines.append(line)
            if line.startswith(f"{run.name}: "):
                print(line, end="", flush=True)
        process.wait()  # before its leash is let go
    if process.returncode:
        raise RuntimeError(f"training by {hardware.devices} processes failed:\n{''.join(lines[-TOLD:])}")
