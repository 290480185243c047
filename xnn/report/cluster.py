"""Sweeps: every run a subprocess on a worker of dask, on this machine or a cluster.

A run is the steps of every other run, by papermill, so all that holds for those holds here: what is
finished is not repeated, an interrupted training goes on, nothing half-written is left.
"""

import logging
import os
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
from dask.distributed import Client, Future, LocalCluster, as_completed
from dask.system import CPU_COUNT
from distributed.scheduler import KilledWorker

from ..config import leash, schema
from ..config.provenance import read_json
from ..config.schema import Run
from ..config.sweep import Sweep
from . import pipeline, warm
from .steps import StepError, Task, doubts

MAX_LOST_WORKERS = 10  # per run, before it is given up
RETRIES = 2  # of a run whose process was killed, for example for lack of memory
PASSED_ENV = ("WEIGHTS", "ARCHIVE", "MASKS", "TRAIN", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


SERVERS: list[warm.Server] = []  # of this worker: one, when it has run a step


class KilledError(RuntimeError):
    """A step whose process was ended by a signal; it is tried again."""


# ---- on a worker ---------------------------------------------------------------------------------


def work(
    root: str, study: str, run: str, steps: list[str], environment: dict[str, str]
) -> tuple[float, str | None]:
    """Make the steps of a run, each in a child process that cannot outlive this worker.

    Returns seconds and the error line of a failed step, if there is one. Raises KilledError if a child was
    killed, and FileNotFoundError if this host does not see the project's folder.
    """
    began = time.perf_counter()
    if not Path(root, "params", study).is_dir():
        raise FileNotFoundError(
            f"{socket.gethostname()}: no {root}/params/{study}: all workers need the project's folder, on a "
            "file system they share"
        )
    environment = {**os.environ, **environment, "XNN_ROOT": root, **threads()}
    error = None
    for step in steps:
        error = error or _step(step, study, run, Path(root), environment)
    return time.perf_counter() - began, error


def threads() -> dict[str, str]:
    """Environment variables that give a run this worker's cores; dask itself allows one thread."""
    found = os.environ.get("XNN_THREADS", str(CPU_COUNT))
    return {f"{library}_NUM_THREADS": found for library in ("OMP", "MKL", "OPENBLAS")}


def _step(step: str, study: str, run: str, root: Path, environment: dict) -> str | None:
    """Execute a step, its output in <step>.log beside the artifacts; return its error line or None."""
    log = root / "artifacts" / study / run / f"{step}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab+") as out:
        before = out.tell()
        status = _status(log, root, environment, "xnn", "run", step, study, run)
        out.seek(before)
        printed = out.read().decode(errors="replace")
    see = f"(see {log.relative_to(root)})"
    if status < 0 or status > 128:
        number = -status if status < 0 else status - 128
        raise KilledError(f"{step} of {run} was killed by signal {number} {see}")
    errors = [line.removeprefix("xnn: ") for line in printed.splitlines() if line.startswith("xnn: ")]
    return [f"{step} of {run} failed {see}", *errors][-1] if status else None


def _status(log: Path, root: Path, environment: dict, *words: str) -> int:
    """Run a command in a fork of this worker's server where there are forks; return its exit status."""
    if not warm.forking:
        with log.open("ab") as out:
            output = {"stdout": out, "stderr": subprocess.STDOUT}
            return leash.start(*words, cwd=root, env=environment, **output).wait()
    server = SERVERS.pop() if SERVERS else warm.Server(root, environment)
    if server.environment != environment or server.process.poll() is not None:
        server.close()
        server = warm.Server(root, environment)
    SERVERS.append(server)
    return server.run(log, *words)


# ---- where the user is ---------------------------------------------------------------------------


def make(sweep: Sweep, jobs: int = 2, scheduler: str | None = None, steps: tuple[str, ...] = ()) -> int:
    """Make the missing runs of a sweep; return how many failed.

    There are `jobs` workers on this machine, or those of the scheduler at an address. Each run prints one
    line when it ends; a failure does not stop the others. `steps` replaces the sweep's own.
    """
    steps = steps or sweep.steps
    runs = sweep.runs()
    left = [run for run in runs if any(doubts(Task(step, run)) for step in steps)]
    print(f"sweep {sweep.name}: {len(runs)} runs, {len(runs) - len(left)} of them made already", flush=True)
    if not left:
        return 0
    study = sweep.base_run.study
    pipeline.run_step("1-wrangle", study.name)
    for run in {run.model.start_from: run for run in left}.values():
        pipeline.provide(Task("3-train", run))  # shared inputs are made once, here
    handed = {name: os.environ[name] for name in PASSED_ENV if os.environ.get(name)}
    for name in {"WEIGHTS", "ARCHIVE", "MASKS"} & set(handed):
        handed[name] = str(Path(handed[name]).absolute())
    failed = 0
    with _connected(scheduler) if scheduler else _local(jobs) as client:
        print(f"dashboard: {client.dashboard_link}", flush=True)
        options = {"pure": False, "retries": RETRIES}
        futures = {
            client.submit(work, str(schema.root()), study.name, run.name, list(steps), handed, **options): run
            for run in left
        }
        for number, future in enumerate(as_completed(futures), len(runs) - len(left) + 1):
            run = futures[future]
            seconds, error = _outcome(future)
            failed += error is not None
            line = f"FAILED {error}" if error else f"{_scores(run)}, {seconds:.0f} s"
            print(f"[{number}/{len(runs)}] {run.name}: {line}", flush=True)
    return failed


@contextmanager
def _local(jobs: int) -> Iterator[Client]:
    """A cluster on this machine."""
    cores = int(os.environ.get("OMP_NUM_THREADS") or max(1, CPU_COUNT // jobs))
    # dask then takes another port and prints it
    warnings.filterwarnings("ignore", "Port 8787 is already in use")
    settings = {
        "distributed.scheduler.allowed-failures": MAX_LOST_WORKERS,
        "distributed.scheduler.worker-saturation": 1.0,  # no run queues at a busy worker
        "distributed.deploy.lost-worker-timeout": "1 hour",  # a busy machine starts new ones slowly
    }
    with dask.config.set(settings):
        cluster = LocalCluster(
            n_workers=jobs,
            threads_per_worker=1,
            security=True,  # other users of this machine can reach its ports
            dashboard_address="127.0.0.1:8787",
            silence_logs=logging.ERROR,  # a lost worker is expected: its run is tried again
            memory_limit=0,  # children use the memory, which dask does not see
            env={"XNN_THREADS": str(cores)},
        )
        with cluster, Client(cluster) as client:
            yield client


@contextmanager
def _connected(scheduler: str) -> Iterator[Client]:
    """A cluster that runs already; raise StepError if a worker would take several runs at a time."""
    try:
        client = Client(scheduler, timeout=30)
    except (OSError, ValueError) as error:
        raise StepError(f"SCHEDULER={scheduler}: no scheduler answers there: {error}") from None
    with client:
        print("waiting for workers ...", flush=True)
        client.wait_for_workers(1)
        workers = client.scheduler_info(n_workers=-1)["workers"]
        for address, worker in workers.items():
            if worker["nthreads"] != 1:
                raise StepError(
                    f"worker {address} has {worker['nthreads']} threads: start it with --nthreads 1; a run "
                    "has all cores that the worker may use, or XNN_THREADS of them"
                )
        print(f"{len(workers)} workers", flush=True)
        yield client


def _outcome(future: Future) -> tuple[float, str | None]:
    """Seconds and error of a run; the other runs continue whatever happened to it."""
    try:
        return future.result()
    except KilledWorker:
        return 0, "it lost its worker too often"
    except Exception as error:
        return 0, str(error)


def _scores(run: Run) -> str:
    history = read_json(run.reports / "training.json")["history"]
    scores = f"validation F1 {max(row['val_f1'] for row in history):.3f}"
    if metrics := read_json(run.reports / "metrics.json"):
        scores += f", test {metrics['scores']['f1_weighted']['value']:.3f}"
    return scores
