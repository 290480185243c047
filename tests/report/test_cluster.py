"""The real engine on phantoms: workers and a whole sweep killed, and a cluster started by hand."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from support.project import PROJECT, SMALL, TINY, command, environment
from xnn.config import provenance
from xnn.report import cluster

BASE = f"""
model: {{weights: none, {TINY}}}
training: {{epochs: 1, batch_size: 16, early_stopping: 0}}
"""
SIX = """
{title: six, study: tiny, base: base, grid: {training.learning_rate: [1e-3, 3e-3], seed: [0, 1, 2]}}
"""
FEW = """
{title: one of the six and one that fails, study: tiny, base: base, values: {seed: 2},
 points: {fast: {training.learning_rate: 3e-3},
          broken: {model.backbone: mobilenet_v2, model.config: {}, model.weights: absent}}}
"""
TWIN = "learning_rate-0.003_seed-2"  # of fast, among the six

PATIENCE = 1200  # seconds until something hangs: a busy machine of one core needs some minutes
CHANCE = random.Random()
STARTED = []


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project of one tiny study and two sweeps."""
    folder = tmp_path_factory.mktemp("sweeps")
    for name in ("xnn", "notebooks"):
        shutil.copytree(PROJECT / name, folder / name)
    for name, text in {
        "tiny/study": SMALL,
        "tiny/base": BASE,
        "sweeps/six": SIX,
        "sweeps/few": FEW,
    }.items():
        file = folder / "params" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    yield folder
    for process in STARTED:
        process.kill()


def start(project, *words, **more) -> subprocess.Popen:
    """A process of the project: what it prints goes to a file, as its end may be a kill."""
    here = environment(project, **{"JOBS": "2", "OMP_NUM_THREADS": "1", **more})
    out = (project / f"{words[-1].replace('/', '-')}-{time.time()}.out").open("w+")
    process = subprocess.Popen(words, cwd=project, env=here, stdout=out, stderr=subprocess.STDOUT)
    process.out = out
    STARTED.append(process)
    return process


def sweep(project, *arguments, **more) -> subprocess.Popen:
    return start(project, *command("sweep", *arguments), **more)


def said(process) -> str:
    return open(process.out.name).read()


def wait_for(condition, seconds=PATIENCE):
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline, "it took too long"
        time.sleep(0.1)


def busy_workers(process) -> list[psutil.Process]:
    """The local cluster's workers that have a step under way."""
    found = []
    for worker in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end meanwhile
            if any(server.children() for server in worker.children()):
                found.append(worker)
    return found


def kill_one(process) -> bool:
    """Kill a random busy worker; return whether there was one."""
    assert process.poll() is None, said(process)
    with contextlib.suppress(IndexError, psutil.NoSuchProcess):
        CHANCE.choice(busy_workers(process)).kill()
        return True
    return False


class Watch(threading.Thread):
    """Sees every training.json of a sweep that is ever written, one that is replaced too."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.seen, self.done = folder, {}, threading.Event()

    def run(self):
        while not self.done.wait(0.02):
            for file in self.folder.glob("*/training.json"):
                found = file.stat()
                self.seen.setdefault(file.parent.name, set()).add((found.st_ino, found.st_mtime_ns))


@pytest.fixture(scope="module")
def six(project):
    """The sweep of six: workers and the sweep itself killed at random moments, then made to its end."""
    watch = Watch(project / "artifacts/tiny/sweeps/six")
    watch.start()

    def kill_a_worker(process, after):
        wait_for(lambda: len(watch.seen) >= after or process.poll() is not None)
        time.sleep(CHANCE.uniform(0, 2))
        wait_for(lambda: kill_one(process))

    first = sweep(project, "params/sweeps/six.yaml", "3-train")
    kill_a_worker(first, 1)
    wait_for(lambda: len(watch.seen) >= 3)  # so one of them has its page as well
    time.sleep(CHANCE.uniform(0, 2))
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = sweep(project, "params/sweeps/six.yaml", "3-train")
    kill_a_worker(second, 0)
    second.wait(timeout=PATIENCE)
    watch.done.set()
    return watch.seen, said(second), second.returncode


def test_killed_workers_and_a_killed_sweep_lose_nothing_and_train_nothing_twice(project, six):
    seen, output, status = six
    assert status == 0, output
    assert "[6/6]" in output
    assert "sweep six: 6 runs, 0 of them" not in output
    folders = sorted((project / "artifacts/tiny/sweeps/six").iterdir())
    assert len(folders) == 6
    assert {name: len(written) for name, written in seen.items()} == {f.name: 1 for f in folders}
    for folder in folders:
        report = project / "reports/tiny/sweeps/six" / folder.name
        record = json.loads((folder / "training.json").read_text())
        assert json.loads((report / "training.json").read_text()) == record
        assert len(record["history"]) == 1
        page = json.loads((report / "3-train.ipynb").read_text())
        assert page["metadata"]["papermill"]["end_time"]
        assert {p.name for p in folder.iterdir() if p.suffix not in (".log", ".lock")} == {
            "model",
            "training.json",
        }
        assert {p.name for p in report.iterdir()} == {
            "3-train.ipynb",
            "training.json",
            "predictions.csv",
            "predictions.json",
        }


def test_what_was_killed_leaves_no_process(project, six):
    def left():
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                found += [process] if process.cwd() == str(project) else []
        return found

    wait_for(lambda: not left())


def test_a_finished_sweep_does_nothing(project, six):
    again = sweep(project, "six", "3-train")
    assert again.wait(timeout=PATIENCE) == 0
    assert said(again).splitlines() == ["sweep six: 6 runs, 6 of them made already"]


def test_a_cluster_started_by_hand_gives_the_same_results_and_tells_of_failures(project, six):
    file = project / "scheduler.json"
    local = ("--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(file))
    dask = (sys.executable, "-m", "dask")
    hosts = [start(project, *dask, "scheduler", "--port", "0", *local)]
    try:
        wait_for(file.exists)
        address = json.loads(file.read_text())["address"]
        options = ("--nthreads", "1", "--no-dashboard", "--local-directory", str(project / "dask"))
        hosts += [start(project, *dask, "worker", address, *options, XNN_THREADS="1") for _ in range(2)]
        few = sweep(project, "few", "3-train", SCHEDULER=address)
        assert few.wait(timeout=PATIENCE) == 1
    finally:
        for process in hosts:
            process.terminate()
        for process in hosts:
            process.wait(timeout=PATIENCE)
    output = said(few)
    assert "dashboard: http://127.0.0.1:" in output
    assert "[2/2]" in output
    (line,) = [line for line in output.splitlines() if "FAILED" in line]
    assert "reports/tiny/sweeps/few/broken/3-train.failed.ipynb" in line
    assert "1 runs of sweep few failed" in output
    twins = [project / "artifacts/tiny/sweeps" / name for name in ("few/fast", f"six/{TWIN}")]
    one, two = (json.loads((folder / "training.json").read_text()) for folder in twins)
    assert one["key"] == two["key"]
    assert without_times(one["history"]) == without_times(two["history"])
    assert len({provenance.file_sha256(folder / "model/model.safetensors") for folder in twins}) == 1


def without_times(history):
    return [{**row, "seconds": 0} for row in history]


def test_a_run_has_the_threads_of_its_worker_whatever_dask_allows_itself(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # as dask's nanny does
    monkeypatch.setenv("XNN_THREADS", "3")
    monkeypatch.setenv("MKL_DYNAMIC", "FALSE")  # else torch takes no more threads than there are cores
    program = "import torch; print(torch.get_num_threads())"
    words, here = [sys.executable, "-c", program], {**os.environ, **cluster.threads()}
    assert subprocess.run(words, env=here, capture_output=True, text=True).stdout == "3\n"


def test_mistakes_are_one_clear_line(project):
    (project / "params/sweeps/wrong.yaml").write_text(SIX.replace("1e-3", "-1"))
    wrong = sweep(project, "params/sweeps/wrong.yaml")
    assert wrong.wait(timeout=PATIENCE) == 1
    (line, *_) = said(wrong).splitlines()
    assert line.startswith("xnn: params/sweeps/wrong.yaml: learning_rate-")
    assert "training.learning_rate: Input should be greater than 0, not -1" in line
    nobody = sweep(project, "few", "3-train", SCHEDULER="nonsense://nowhere:1")
    assert nobody.wait(timeout=PATIENCE) == 1
    assert "xnn: SCHEDULER=nonsense://nowhere:1: no scheduler answers there" in said(nobody)
