"""Steps of the report, their inputs, and whether their pages are current."""

import functools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..config import files, freshness, provenance, schema
from ..config.files import load_sweep
from ..config.schema import ROOT, Run, Study
from ..config.sweep import Sweep

COMPARED = ("training.json", "metrics.json", "predictions.csv", "explanations.json")
UNCOUNTED = ("provenance",)  # parts of a result that are in no hash


class StepError(RuntimeError):
    """A step that failed; the message is for the person who called make."""


class Step(NamedTuple):
    """A notebook: what it is executed for, the steps before it, the results of runs that it reads."""

    per: str  # study, run, sweep, or empty for a page on methods
    after: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    lungs: bool = False  # whether it reads lung masks


STEPS = {
    "1-wrangle": Step("study"),
    "2-explore": Step("study", ("1-wrangle",)),
    "3-train": Step("run", ("1-wrangle",)),
    "4-evaluate": Step("run", ("3-train",), ("training.json",)),
    "4-regions": Step("run", ("4-evaluate",), ("training.json",), lungs=True),
    # after 4-evaluate, or both would make missing predictions at the same time
    "5-explain": Step("run", ("4-evaluate",), ("training.json",)),
    "6-compare": Step("study", ("4-evaluate", "5-explain"), (*COMPARED, "validation.csv")),
    "7-protocol": Step("study", ("6-compare",), (*COMPARED, "validation.csv", "regions.json"), lungs=True),
    "8-sweep": Step("sweep", ("4-evaluate", "5-explain"), COMPARED),
}
ON_METHODS = Step("")


class Task(NamedTuple):
    """A step of a study, a run or a sweep, or a page on methods."""

    step: str
    subject: Study | Run | Sweep | None

    @property
    def spec(self) -> Step:
        return ON_METHODS if self.subject is None else STEPS[self.step]

    @property
    def source(self) -> Path:
        """The text of the notebook."""
        return ROOT / ("methods" if self.subject is None else "notebooks") / f"{self.step}.py"

    @property
    def page(self) -> Path:
        """The executed notebook."""
        folder = ROOT / "reports/methods" if self.subject is None else self.subject.reports
        return folder / f"{self.step}.ipynb"

    @property
    def artifacts(self) -> Path:
        return ROOT / "artifacts/methods" if self.subject is None else self.subject.artifacts

    @property
    def study(self) -> Study | None:
        if isinstance(self.subject, Sweep):
            return self.subject.base_run.study
        return self.subject.study if isinstance(self.subject, Run) else self.subject

    @property
    def title(self) -> str:
        """The prefix of its page's title."""
        if isinstance(self.subject, Run):
            return f"{self.subject.study.name} / {self.subject.name}"
        return self.subject.name if self.subject else ""

    @property
    def names(self) -> dict[str, str]:
        """Names of its subject by the notebook parameters that take them."""
        if isinstance(self.subject, Run):
            return {"study": self.subject.study.name, "run": self.subject.name}
        if self.subject is None:
            return {}
        return {"sweep" if isinstance(self.subject, Sweep) else "study": self.subject.name}

    @property
    def values(self) -> dict:
        """Parameters of its notebook; for a run the content of its file, as with ``papermill -f``."""
        if not isinstance(self.subject, Run):
            return self.names
        if self.subject.file.stem == self.subject.name:
            return self.names | files.recipe(self.subject.file)
        return self.names | self.subject.model_dump(mode="json", exclude_defaults=True)

    def __str__(self) -> str:
        return short(self.page)


# ---- tasks ---------------------------------------------------------------------------------------


def task(step: str, subject: str = "", run: str | None = None) -> Task:
    """The task with these names; raise StepError or ParameterError if there is none.

    `subject` is a study, or a sweep for a step of a sweep; a page on methods has none.
    """
    if step in on_methods() and not subject:
        return Task(step, None)
    if step not in STEPS:
        raise StepError(f"no step {step!r}; there is: {', '.join([*STEPS, *on_methods()])}")
    per = STEPS[step].per
    if per == "sweep":
        return Task(step, load_sweep(subject))
    if per == "run" and run is None:
        raise StepError(f"{step} belongs to a run: give one of {', '.join(files.runs(subject))}")
    for name in files.runs(subject):
        files.load_run(subject, name)  # every file of the study is checked before any work
    return Task(step, files.load_run(subject, run) if per == "run" else files.load_study(subject))


def on_methods() -> list[str]:
    """The names of the pages on methods."""
    return sorted(file.stem for file in (ROOT / "methods").glob("*.py"))


def task_of(page: Path) -> Task:
    """The task of an executed notebook in reports/; raise ParameterError if there is none."""
    first, *rest = page.relative_to(ROOT / "reports").parts[:-1]
    if first == "methods":
        return Task(page.stem, None)
    if STEPS[page.stem].per == "sweep":
        return Task(page.stem, load_sweep(rest[-1]))
    subject = files.load_run(first, "/".join(rest)) if rest else files.load_study(first)
    return Task(page.stem, subject)


def pages() -> list[Path]:
    """All executed notebooks in reports/."""
    found = sorted((ROOT / "reports").rglob("[!.]*.ipynb"))
    return [
        page
        for page in found
        if not page.name.endswith(".failed.ipynb") and ".ipynb_checkpoints" not in page.parts
    ]


def report(study: str, runs: list[str] | None = None, online: bool = False) -> list[Task]:
    """The tasks of a study's report in order.

    `runs` selects runs (and the runs that they start from); by default all, those that need a download only
    if `online`.
    """
    all_runs = {name: files.load_run(study, name) for name in files.runs(study)}
    chosen = [files.load_run(study, name).name for name in runs or ()]
    chosen = chosen or [name for name, run in all_runs.items() if online or not run.online]
    for name in chosen:  # grows during the loop: starts may have starts
        if (first := all_runs[name].model.start_from) and first not in chosen:
            chosen.append(first)
    chosen.sort(key=lambda name: (_depth(all_runs, name), name))
    of_study = {step: Task(step, files.load_study(study)) for step in STEPS if STEPS[step].per == "study"}
    per_run = [step for step, spec in STEPS.items() if spec.per == "run"]
    if not has_lungs(files.load_study(study)):
        per_run.remove("4-regions")
    of_runs = [Task(step, all_runs[name]) for name in chosen for step in per_run]
    before = [each for step, each in of_study.items() if not STEPS[step].reads]
    after = [each for step, each in of_study.items() if STEPS[step].reads]
    return [*before, *of_runs, *after, *(Task(page, None) for page in on_methods())]


def has_lungs(study: Study) -> bool:
    """Whether a study has lung masks, or will have them when its records are made."""
    return study.synthetic or bool(os.environ.get("MASKS")) or (study.artifacts / "lungs.csv").exists()


def upstream(of: Task, tasks: list[Task]) -> list[Task]:
    """The tasks that have to be done before one of them."""
    return [each for each in tasks if _precedes(each, of)]


def _precedes(one: Task, other: Task) -> bool:
    if one.subject is None or other.subject is None:
        return False
    if isinstance(one.subject, Run) and isinstance(other.subject, Run) and one.subject != other.subject:
        starts = other.subject.model.start_from == one.subject.name
        return starts and one.step == other.step == "3-train"
    return one.step in other.spec.after


def _depth(runs: dict[str, Run], name: str) -> int:
    first = runs[name].model.start_from
    return 1 + _depth(runs, first) if first else 0


# ---- what a task is made from ----------------------------------------------------------------------


def inputs(of: Task) -> dict:
    """Everything that decides a task's page and exists, for ``freshness.differences``."""
    code, own = code_of(of.source)
    named = {"notebook": own} if own else {}
    if of.subject is None:
        return {"step": of.step, "code": code.sha256, "parameters": named, "results": {}}
    named |= {key: schema.leaves(each, code.groups(type(each))) for key, each in _settings(of, code)}
    made = {
        "step": of.step,
        "code": code.sha256,
        "parameters": named,
        "results": {short(file): result_sha256(file) for file in _results(of, code) if file.exists()},
    }
    if of.step != "1-wrangle":
        made["records"] = provenance.records_sha256(of.study)
        if of.spec.lungs:
            made["lungs"] = provenance.lungs_sha256(of.study)
    elif not of.study.synthetic and os.environ.get("ARCHIVE"):
        from ..data.archive import archive
        from ..data.lungs import masks_source

        made["archive"] = archive(of.study).fingerprint()
        if masks := masks_source():
            made["masks"] = masks.fingerprint()
    return made


def doubts(of: Task) -> list[str]:
    """Reasons why a task's page is stale; empty if it is current."""
    return freshness.differences(metadata(of.page).get("xnn"), inputs(of))


@functools.cache
def code_of(source: Path) -> tuple[freshness.Key, dict[str, schema.Leaf]]:
    """The key of a notebook's code, and the parameters that belong to no file."""
    own, rest = {}, []
    for header, text in code_cells(source.read_text(encoding="utf-8")):
        if "parameters" not in header:
            rest.append(text)
            continue
        for name, value in re.findall(r"^(\w+) *= *(.+?)(?: *#.*)?$", text, re.MULTILINE):
            if name not in ("study", "run", "sweep", *Run.model_fields):  # in files
                own[name] = schema.Leaf(json.loads(value), None)
    try:
        return freshness.of_cells(rest), own
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise StepError(f"{short(source)}: {error.msg}: {line}") from None


def code_cells(text: str) -> list[tuple[str, str]]:
    """Header and code of the code cells of a notebook in jupytext's percent format.

    Parsed here because importing jupytext takes three seconds, checking a page milliseconds.
    """
    _, *parts = re.split(r"^# %%(.*)\n", text, flags=re.MULTILINE)
    cells = zip(parts[::2], parts[1::2], strict=True)
    return [(header, code) for header, code in cells if not re.match(r" *\[(markdown|raw)\]", header)]


def _settings(of: Task, code: freshness.Key) -> Iterator[tuple[str, Study | Run | Sweep]]:
    """Names and content of the parameter files that a page reads."""
    for study in _studies(of, code):
        yield study.name, study
    if isinstance(of.subject, Sweep):
        yield f"sweeps/{of.subject.name}", of.subject
    for run in _runs(of, code):
        yield f"{run.study.name}/{run.name}", run


def _studies(of: Task, code: freshness.Key) -> list[Study]:
    others = of.study.compare_with if "compare_with" in code.attributes else []
    return [of.study, *map(files.load_study, others)]


def _runs(of: Task, code: freshness.Key) -> list[Run]:
    """The run of a page, or the runs whose results it reads."""
    if isinstance(of.subject, Run):
        return [of.subject]
    if not of.spec.reads:
        return []
    if isinstance(of.subject, Sweep):
        return of.subject.runs()
    runs = [files.load_run(each.name, name) for each in _studies(of, code) for name in files.runs(each.name)]
    return [run for run in runs if any((run.reports / name).exists() for name in of.spec.reads)]


def _results(of: Task, code: freshness.Key) -> Iterator[Path]:
    """Files of results that a page reads."""
    for run in _runs(of, code):
        yield from (run.reports / name for name in of.spec.reads)
    if of.step == "3-train" and (first := of.subject.model.start_from):
        yield of.study.reports / first / "training.json"
    if of.spec.reads:
        yield from (study.reports / "siblings.json" for study in _studies(of, code)[1:])


def result_sha256(file: Path) -> str:
    """Hash of a result without its provenance; the key of a training record."""
    if file.suffix != ".json":
        return provenance.file_sha256(file)
    content = json.loads(file.read_text())
    if file.name == "training.json":
        return content["key"]
    return freshness.digest({name: part for name, part in content.items() if name not in UNCOUNTED})


def words(of: Task) -> str:
    """Hash of a page's source text, title and parameters, which its key does not cover."""
    return freshness.digest([of.source.read_text(), of.title, of.values])


def metadata(page: Path) -> dict:
    """Metadata of a successfully executed notebook, otherwise empty."""
    try:
        notebook = json.loads(page.read_text())
        found = notebook["metadata"]
        papermill = found["papermill"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    ended = papermill.get("end_time") and not papermill.get("exception")
    return found if ended else {}


def short(path: Path) -> str:
    """A path relative to the project's root."""
    base = next(
        (each for each in (ROOT, provenance.PACKAGE.parent) if path.is_relative_to(each)), path.parent
    )
    return path.relative_to(base).as_posix()
