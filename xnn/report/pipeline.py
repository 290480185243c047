"""Making of the report: execute stale pages in order, keep current ones."""

import itertools
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path

from filelock import FileLock

from ..config import files, leash
from ..config.schema import Run, root
from . import steps
from .steps import StepError, Task

# ---- one step ------------------------------------------------------------------------------------


def run_step(step: str, subject: str = "", run: str | None = None, force: bool = False) -> Path:
    """Execute a step unless its page is current; return the executed notebook.

    `subject` is a study, or a sweep for a step of a sweep; a page on methods has none. Raises ParameterError
    or StepError with one clear line.
    """
    return make(steps.task(step, subject, run), force)


def make(task: Task, force: bool = False) -> Path:
    """Execute a task unless its page is current; in that case update its prose only."""
    task.artifacts.mkdir(parents=True, exist_ok=True)
    with FileLock(task.artifacts / f".{task.step}.lock"):  # if two makes run at once, the second one waits
        if not force and not steps.doubts(task):
            refresh(task)
            return task.page
        from .execute import execute  # papermill takes a second to import

        if task.study:  # every file of the study is checked before any work
            for name in files.runs(task.study.name):
                files.load_run(task.study.name, name)
        provide(task)
        print(f"{task} ...", flush=True)
        execute(task)
    return task.page


def refresh(task: Task) -> None:
    """Update the prose of a current page from its source."""
    if steps.metadata(task.page)["xnn"].get("words") != steps.words(task):
        from . import execute

        if execute.refresh(task):
            print(f"{task}: prose updated", flush=True)


def provide(task: Task) -> None:
    """Make the records and models that a task needs; a fresh clone lacks them, as they are not in git.

    Models are trained in a separate process: this one loads no torch. Raises StepError if that needs a
    training on real radiographs without TRAIN=1.
    """
    study = task.study
    if study is None or task.step == "1-wrangle":
        return
    if not all((study.artifacts / name).exists() for name in ("records.csv", "images.npy")):
        run_step("1-wrangle", study.name, force=True)
    if not isinstance(task.subject, Run):
        return
    from ..models import kept  # pandas takes half a second to import
    from . import trainings

    if needed := trainings.needed([task]):
        trainings.allow(needed)
        if task.step == "3-train" and not kept.record(task.subject, kept.inputs(task.subject)):
            needed.remove(task.subject)  # its notebook trains it
        if names := [run.name for run in needed]:
            from .execute import MEMORY

            print(f"{study.name}: models that are not here: {', '.join(names)}; training ...", flush=True)
            if leash.start("xnn", "train", study.name, *names, env=MEMORY | os.environ).wait():
                raise StepError(f"training of {' or '.join(names)} failed: see above")


# ---- many steps ----------------------------------------------------------------------------------


def make_all(tasks: list[Task], jobs: int) -> None:
    """Make tasks in order, up to `jobs` side by side, each in a child process.

    Trainings are announced first. Raises StepError if a task fails, after the running ones have ended.
    """
    stale = [task for task in tasks if steps.doubts(task)]
    start = _starter() if stale else leash.start
    _announce(stale)
    before = {task: steps.upstream(task, tasks) for task in tasks}
    place = _by_waiting(before)
    order = TopologicalSorter(before)
    order.prepare()
    ready: list[Task] = []
    running: dict[Task, subprocess.Popen] = {}  # or forks, which are used like one
    try:
        while order.is_active():
            ready = sorted([*ready, *order.get_ready()], key=place.get)
            while ready and len(running) < jobs:
                task = ready.pop(0)
                if steps.doubts(task):
                    running[task] = start("xnn", "run", task.step, *task.names.values())
                else:
                    refresh(task)
                    order.done(task)
                    ready += order.get_ready()
            order.done(*_ended(running))
    finally:
        for process in running.values():
            process.terminate()


def _by_waiting(before: dict[Task, list[Task]]) -> dict[Task, tuple[int, int]]:
    """The place of each task in a queue: first those that most others wait for.

    `before` has the direct predecessors of each task.
    """
    all_before = {}
    for task in TopologicalSorter(before).static_order():
        all_before[task] = {*before[task]}.union(*(all_before[each] for each in before[task]))
    waiting = Counter(itertools.chain(*all_before.values()))
    return {task: (-waiting[task], number) for number, task in enumerate(before)}


def _announce(stale: list[Task]) -> None:
    if not stale:
        return
    from . import trainings

    if needed := trainings.needed(stale):
        trainings.allow(needed)
        print(trainings.announcement(needed), flush=True)


def _starter() -> Callable[..., subprocess.Popen]:
    """How steps are started: as forks that have imported all, or as new processes where that is not safe."""
    from . import warm

    if not warm.possible():
        return leash.start
    warm.imports()
    return warm.start


def _ended(running: dict[Task, subprocess.Popen]) -> list[Task]:
    """Wait until a task has ended; remove and return those that have.

    Raises StepError if one has failed, after the others have ended.
    """
    while running and all(process.poll() is None for process in running.values()):
        time.sleep(0.05)
    ended = [task for task, process in running.items() if process.poll() is not None]
    if any(running[task].returncode for task in ended):
        for process in running.values():
            process.wait()
        raise StepError("stopped: see above; run make again to continue")
    for task in ended:
        del running[task]
    return ended


def make_page(file: Path, jobs: int) -> None:
    """Make a page of reports/ and the pages that it depends on."""
    wanted = steps.task_of((root() / file).resolve())
    if wanted.study is None or wanted.spec.per == "sweep":
        make(wanted)
        return
    runs = [wanted.subject.name] if isinstance(wanted.subject, Run) else []
    tasks = steps.report(wanted.study.name, runs)
    found = [wanted]
    for task in found:  # grows while it is walked
        found += [each for each in steps.upstream(task, tasks) if each not in found]
    make_all(found, jobs)


def status(tasks: list[Task]) -> None:
    """Print which pages are stale and why, how long they took, and which trainings they need."""
    why = {task: steps.doubts(task) for task in tasks}
    stale = set()
    for task in tasks:
        if why[task] or stale.intersection(steps.upstream(task, tasks)):
            stale.add(task)
            took = steps.metadata(task.page).get("papermill", {}).get("duration")
            reason = "; ".join(why[task][:3]) or "only if an upstream result changes"
            print(f"{task}: {reason}{f' (took {took / 60:.1f} min)' if took else ''}")
    print(f"{len(tasks) - len(stale)} of {len(tasks)} pages are current")
    needed = []
    if remade := [task for task in tasks if why[task]]:
        from . import trainings  # pandas takes half a second to import

        needed = trainings.needed(remade)
    print(trainings.announcement(needed) if needed else "no training is needed")
