"""Training by several processes on one host or many.

`batch_size` stays the size of the batch that all of them share, in the order of a single process, so the
gradients (averaged by DDP) are a single process's within rounding. What differs: on a CPU, batch
normalisation sees only a process's share (on GPUs it is SyncBatchNorm); a loss with class weights is averaged
in each process first; dropout and mix-up draw by process.
"""

import os
import subprocess

import torch

from ..config import leash
from ..config.schema import ParameterError, Run

LAST_LINES = 20  # of the output of a failed training, in its error


def launch(run: Run) -> None:
    """Train a run by ``torchrun -m xnn.training.fit`` on this host, and print its progress.

    Raises ParameterError where several hosts are asked for, which only their user can start, and RuntimeError
    with the last lines of a training that fails.
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
        stdout=subprocess.PIPE,  # a notebook shows only what this process prints
        stderr=subprocess.STDOUT,
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
        last = "".join(lines[-LAST_LINES:])
        raise RuntimeError(f"training by {hardware.devices} processes failed:\n{last}")
