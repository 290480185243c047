"""Trainings that pages need: which, how long they took last time, and whether they may be repeated."""

import os
from collections.abc import Iterable, Iterator

from ..config import files
from ..config.schema import Run
from ..models import kept, prediction
from .steps import StepError, Task

ASKED = {  # whether what a step asks a run's network is kept
    "3-train": prediction.are_kept,
    "4-evaluate": lambda run: prediction.are_kept(run) and prediction.are_kept(run, "val"),
    "4-regions": prediction.regions_are_kept,
}


def needed(tasks: Iterable[Task]) -> list[Run]:
    """Runs that must be trained before some tasks can be executed, in order."""
    runs = [task.subject for task in tasks if isinstance(task.subject, Run) and _needs_training(task)]
    return list({each.name: each for run in runs for each in _untrained(run)}.values())


def _needs_training(task: Task) -> bool:
    """Whether a step of a run cannot be executed before its model is trained, once or again."""
    run, now = task.subject, kept.inputs(task.subject)
    if kept.model(run, now):
        return False
    if task.step not in ASKED or not kept.record(run, now):  # other steps ask the model itself
        return True
    return now["records"] is not None and not ASKED[task.step](run)


def _untrained(run: Run) -> Iterator[Run]:
    """The runs without a model that a run starts from, and the run itself."""
    if first := run.model.start_from:
        start = files.load_run(run.study.name, first)
        if not kept.model(start, kept.inputs(start)):
            yield from _untrained(start)
    yield run


def announcement(runs: list[Run]) -> str:
    """One line: how many trainings are needed, and how long they took last time."""
    seconds = [kept.seconds(run) for run in runs]
    known = [each for each in seconds if each is not None]
    words = "1 training is needed" if len(runs) == 1 else f"{len(runs)} trainings are needed"
    if known:
        hours, minutes = divmod(round(sum(known) / 60), 60)
        words += f", about {f'{hours} h ' * bool(hours)}{minutes} min by the last records"
    if len(known) < len(seconds):
        words += f" ({len(seconds) - len(known)} without a record)" if known else ", no record says how long"
    return f"{words}: {', '.join(run.name for run in runs)}"


def allow(runs: list[Run]) -> None:
    """Raise StepError if trainings would replace committed ones on real radiographs without TRAIN=1."""
    again = [run for run in runs if not run.study.synthetic and kept.seconds(run) is not None]
    if again and os.environ.get("TRAIN") != "1":
        raise StepError(f"{announcement(runs)}; set TRAIN=1 to train again (models are not in git)")
