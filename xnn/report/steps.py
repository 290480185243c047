"""Steps of the report, their inputs, and whether their pages are current."""

import functools
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from ..config import files, freshness, provenance, schema
from ..config.errors import UserError
from ..config.schema import Run, Study, root, short
from ..config.sweep import Sweep

# of sweeps of real radiographs only these are committed, and the summary page
COMPARED = ("training.json", "metrics.json", "predictions.csv", "explanations.json")


class StepError(UserError, RuntimeError):
    """A step that failed; the message is for the person who called make."""


class Step(NamedTuple):
    """A notebook: what it is executed for, the steps before it, the results of runs that it reads."""

    per: str  # study, run, sweep, or empty for a page on methods
    after: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


STEPS = {
    "1-wrangle": Step("study"),
    "2-explore": Step("study", ("1-wrangle",)),
    "3-lungs": Step("study", ("1-wrangle",)),
    "3-train": Step("run", ("1-wrangle",)),
    "4-evaluate": Step("run", ("3-train",), ("training.json",)),
    "4-regions": Step("run", ("4-evaluate",), ("training.json",)),
    # after 4-evaluate, or both would make missing predictions at the same time
    "5-explain": Step("run", ("4-evaluate",), ("training.json",)),
    "6-compare": Step("study", ("4-evaluate", "4-regions", "5-explain"), (*COMPARED, "regions.json")),
    "7-protocol": Step("study", ("6-compare",), (*COMPARED, "validation.csv", "regions.json")),
    "8-sweep": Step("sweep", ("4-evaluate", "5-explain"), COMPARED),
}
ON_METHODS = Step("")
ORIGIN = ("provenance", "key")  # of a result: where it is from
ANSWERS = "xnn/explain/answers.py"  # sentences from result files, in cells tagged `answer`
ANSWER_CELL = r'^# %% tags=\["answer"\]$'


class Task(NamedTuple):
    """A step of a study, a run or a sweep, or a page on methods."""

    step: str
    subject: Study | Run | Sweep | None

    def __hash__(self):
        return hash(self.page)

    @property
    def spec(self) -> Step:
        return STEPS[self.step] if self.subject else ON_METHODS

    @property
    def source(self) -> Path:
        """The text of the notebook."""
        return root() / ("notebooks" if self.subject else "methods") / f"{self.step}.py"

    @property
    def page(self) -> Path:
        """The executed notebook."""
        folder = self.subject.reports if self.subject else root() / "reports/methods"
        return folder / f"{self.step}.ipynb"

    @property
    def artifacts(self) -> Path:
        return self.subject.artifacts if self.subject else root() / "artifacts/methods"

    @property
    def study(self) -> Study | None:
        subject = self.subject.base_run if isinstance(self.subject, Sweep) else self.subject
        return subject.study if isinstance(subject, Run) else subject

    @property
    def names(self) -> dict[str, str]:
        """Names of its subject by the notebook parameters that take them."""
        match self.subject:
            case Run(name=run, study=study):
                return {"study": study.name, "run": run}
            case Study(name=study):
                return {"study": study}
            case Sweep(name=sweep):
                return {"sweep": sweep}
        return {}

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
        raise StepError(f"no step {step!r}; choose from {', '.join([*STEPS, *on_methods()])}")
    per = STEPS[step].per
    if per == "sweep":
        return Task(step, files.load_sweep(subject))
    if per == "run" and run is None:
        raise StepError(f"{step} belongs to a run: give one of {', '.join(files.runs(subject))}")
    return Task(step, files.load_run(subject, run) if per == "run" else files.load_study(subject))


def on_methods() -> list[str]:
    """The names of the pages on methods."""
    return sorted(file.stem for file in (root() / "methods").glob("*.py"))


def task_of(page: Path) -> Task:
    """The task of an executed notebook in reports/; raise ParameterError if there is none."""
    first, *rest = page.relative_to(root() / "reports").parts[:-1]
    if first == "methods":
        return Task(page.stem, None)
    if STEPS[page.stem].per == "sweep":
        return Task(page.stem, files.load_sweep(rest[-1]))
    subject = files.load_run(first, "/".join(rest)) if rest else files.load_study(first)
    return Task(page.stem, subject)


def pages() -> list[Path]:
    """All executed notebooks in reports/."""
    found = sorted((root() / "reports").rglob("[!.]*.ipynb"))
    return [page for page in found if not re.search(r"\.failed\.|\.ipynb_checkpoints", short(page))]


def report(study: str, runs: list[str] | None = None, online: bool = False) -> list[Task]:
    """The tasks of a study's report in order.

    `runs` selects runs (and the runs that they start from); by default all, those that need a download only
    if `online`.
    """
    all_runs = {name: files.load_run(study, name) for name in files.runs(study)}
    chosen = [files.load_run(study, name) for name in sorted(runs or ())]
    ordered = {}
    for run in chosen or (run for run in all_runs.values() if online or not run.online):
        line = [run]
        while first := line[0].model.start_from:
            line.insert(0, all_runs[first])
        ordered |= {each.name: each for each in line}
    subject = files.load_study(study)
    lungs = has_lungs(subject)
    possible = {"3-lungs": lungs and subject.segmenter, "4-regions": lungs}
    per = {step: spec.per for step, spec in STEPS.items() if possible.get(step, True)}
    of_study = [Task(step, subject) for step in per if per[step] == "study"]
    of_runs = [Task(step, run) for run in ordered.values() for step in per if per[step] == "run"]
    before = [task for task in of_study if not task.spec.reads]
    after = [task for task in of_study if task.spec.reads]
    return [*before, *of_runs, *after, *(Task(page, None) for page in on_methods())]


def has_lungs(study: Study) -> bool:
    """Whether a study has lung masks, or will have them when its records are made."""
    return study.synthetic or bool(os.environ.get("MASKS")) or (study.artifacts / "lungs.csv").exists()


def upstream(of: Task, tasks: list[Task]) -> list[Task]:
    """The tasks that have to be done before one of them."""

    def precedes(one: Task) -> bool:
        if isinstance(one.subject, Run) and isinstance(of.subject, Run) and one.subject != of.subject:
            starts = of.subject.model.start_from == one.subject.name
            return starts and one.step == of.step == "3-train"
        return one.step in of.spec.after

    return [each for each in tasks if precedes(each)]


# ---- what a task is made from ----------------------------------------------------------------------


def inputs(of: Task) -> dict:
    """Everything that decides a task's page and exists, for ``freshness.differences``."""
    code, own = code_of(of.source)
    subjects, results = _read(of, code)
    named = {"notebook": own} if own else {}
    named |= {name: schema.leaves(each, code.groups(type(each))) for name, each in subjects.items()}
    made = {
        "step": of.step,
        "code": code.sha256,
        "parameters": named,
        "results": {short(file): result_sha256(file) for file in results if file.exists()},
    }
    if of.study:
        made |= _data(of.study, code.reached)
    return made


def _data(study: Study, reached: frozenset[str]) -> dict:
    """Hashes of the data that a page's code reaches, as far as they are here.

    A page that reads the archive makes the records and lung masks; the others read those.
    """
    found = {}
    if "xnn.data.lungs.masks_source" in reached and not study.synthetic:
        from ..data.lungs import masks_source

        if masks := masks_source():
            found["masks"] = masks.fingerprint()
    if "xnn.data.archive.archive" not in reached:
        found["records"] = provenance.records_sha256(study)
        if "xnn.data.lungs.load_table" in reached:
            found["lungs"] = provenance.lungs_sha256(study)
    elif not study.synthetic and os.environ.get("ARCHIVE"):
        from ..data.archive import archive

        found["archive"] = archive(study).fingerprint()
    return found


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


def _read(of: Task, code: freshness.Key) -> tuple[dict[str, Study | Run | Sweep], list[Path]]:
    """Parameter files that a page reads, as name and content, and files of results that it may read."""
    subject, reads = of.subject, of.spec.reads
    if subject is None:
        return {}, []
    others = of.study.compare_with if "compare_with" in code.attributes else []
    studies = [of.study, *map(files.load_study, others)]
    named, results = {study.name: study for study in studies}, []
    if isinstance(subject, Run):
        runs = [subject]
        if of.step == "3-train" and (first := subject.model.start_from):
            results.append(of.study.reports / first / "training.json")
    elif isinstance(subject, Sweep):
        named[f"sweeps/{subject.name}"] = subject
        runs = subject.runs()
    else:
        names = [(study.name, run) for study in studies if reads for run in files.runs(study.name)]
        runs = [files.load_run(*each) for each in names]
        runs = [run for run in runs if any((run.reports / name).exists() for name in reads)]
    named |= {f"{run.study.name}/{run.name}": run for run in runs}
    results += [run.reports / name for run in runs for name in reads]
    results += [study.reports / "siblings.json" for study in studies[1:] if reads]
    if of.step == "6-compare":
        results += sorted(of.study.reports.glob("sweeps/*/sweep.json"))
    return named, results


def result_sha256(file: Path) -> str:
    """Hash of a result without what says where it is from; the key of a training record."""
    if file.suffix != ".json":
        return provenance.file_sha256(file)
    content = json.loads(file.read_text())
    if file.name == "training.json":
        return content["key"]
    return freshness.digest({name: part for name, part in content.items() if name not in ORIGIN})


def words(of: Task) -> str:
    """Hash of a page's source text, parameters and sentences, which its key does not cover."""
    text = of.source.read_text()
    told = [(root() / ANSWERS).read_text()] if re.search(ANSWER_CELL, text, re.MULTILINE) else []
    return freshness.digest([text, of.values, *told])


def metadata(page: Path) -> dict:
    """Metadata of a successfully executed notebook, otherwise empty."""
    try:
        found = json.loads(page.read_text())["metadata"]
        ended = found["papermill"].get("end_time") and not found["papermill"].get("exception")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return found if ended else {}
