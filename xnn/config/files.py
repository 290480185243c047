"""Reading of parameter files, with errors that name the file, the key and the fix."""

import ast
import copy
import functools
import sys
from pathlib import Path

import yaml

from .schema import FLOAT, NAME, ROOT, ParameterError, Run, Study, did_you_mean, leaves, validated
from .sweep import Point, Sweep

__by_value__ = True  # pages depend on the values, not on the code that reads them


def studies() -> list[str]:
    """Names of the studies that have a parameter folder."""
    return sorted(p.parent.name for p in (ROOT / "params").glob("*/study.yaml"))


def runs(study: str) -> list[str]:
    """Names of a study's runs."""
    return sorted(p.stem for p in (ROOT / "params" / study).glob("*.yaml") if p.stem != "study")


def load_study(study: str) -> Study:
    """Read ``params/<study>/study.yaml``; raise ParameterError if it is missing or wrong."""
    _check_name("study", study, studies())
    file = ROOT / "params" / study / "study.yaml"
    loaded = validated(Study, _values(file), _short(file), name=study)
    for other in loaded.compare_with:
        if other == study or other not in studies():
            known = [each for each in studies() if each != study]
            hint = did_you_mean(other, known)
            raise ParameterError(
                f"{_short(loaded.file)}: compare_with: no other study {other!r}{hint}; there is: "
                f"{', '.join(known)}"
            )
    return loaded


def load_run(study: str, run: str, _before: tuple[str, ...] = (), **given) -> Run:
    """Read ``params/<study>/<run>.yaml`` or a run of a sweep; raise ParameterError if it is wrong.

    `given` are the groups of a run's file as the parameters cell of a notebook holds them, empty where the
    file decides. A run that has no file is what they say; one that has a file has to be what it says.
    """
    given = given_to_notebook(given)
    if run.startswith("sweeps/"):
        return same(_load_point(study, run), given)
    parent = load_study(study)
    if given and NAME.fullmatch(run) and run not in runs(study):
        return _placed(given, f"parameters of run {run}", parent, run, _before)
    _check_name("run", run, runs(study))
    file = parent.file.with_name(f"{run}.yaml")
    return same(_placed(recipe(file), _short(file), parent, run, _before), given)


def recipe(file: Path) -> dict:
    """Return what a run's file says; raise ParameterError where it names another place."""
    values = _values(file)
    for key, wanted in (("study", file.parent.name), ("run", file.stem)):
        if (named := values.pop(key, wanted)) != wanted:
            raise ParameterError(f"{_short(file)}: {key}: {named!r}, but the file's place says {wanted!r}")
    return values


def given_to_notebook(given: dict) -> dict:
    """The groups of a run that a notebook's parameters cell holds, without empty ones.

    Raises ParameterError where papermill has put a name beside them that no run has: it only warns of one.
    """
    if given and (unknown := sorted(_injected() - {"study", "run", *Run.model_fields})):
        # raises, in the schema's own words
        validated(Run, dict.fromkeys(unknown), "parameters given to papermill")
    return {name: _numbers(value) for name, value in given.items() if value not in ({}, None, "")}


def same(run: Run, given: dict) -> Run:
    """A run that has a file; raise ParameterError where a notebook is given another recipe under its name."""
    where = _short(run.file)
    told = leaves(validated(Run, given, where)) if given else {}
    for key, leaf in leaves(run).items() if given else ():
        if (other := told.get(key, leaf)).value != leaf.value:
            raise ParameterError(
                f"{where}: {key}: {leaf.value}, but the notebook is given {other.value}: give the run a "
                "name of its own (-p run NAME), so that it does not overwrite this one's results"
            )
    return run


def _injected() -> set[str]:
    """The names that papermill has put into this kernel; none in any other process."""
    if "IPython" not in sys.modules or not (shell := sys.modules["IPython"].get_ipython()):
        return set()
    cells = [cell for cell in shell.history_manager.input_hist_raw if cell.startswith("# Parameters\n")]
    nodes = (node for cell in cells for node in ast.parse(cell).body)
    return {target.id for node in nodes if isinstance(node, ast.Assign) for target in node.targets}


def _numbers(value):
    """Values with every 1e-3 as a number: papermill reads YAML 1.1, which takes it for text."""
    if isinstance(value, dict):
        return {key: _numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    return float(value) if isinstance(value, str) and FLOAT.fullmatch(value) else value


def _placed(values: dict, where: str, parent: Study, run: str, _before: tuple[str, ...] = ()) -> Run:
    """A run of a study; raise ParameterError where a value is wrong or what it starts from does not fit."""
    study = parent.name
    loaded = validated(Run, values, where, name=run, study=parent)
    start = loaded.model.start_from
    others = [each for each in runs(study) if each not in (run, *_before)]
    if start is not None and start not in others:
        raise ParameterError(
            f"{_short(loaded.file)}: model.start_from: no run {start!r} in study {study} that does not "
            f"start from this one; choose from {', '.join(others)}"
        )
    if start is not None:
        before = load_run(study, start, (*_before, run))
        if before.model.backbone != loaded.model.backbone:
            raise ParameterError(
                f"{_short(loaded.file)}: model.backbone: {loaded.model.backbone}, but start_from: {start} "
                f"is a {before.model.backbone}"
            )
    return loaded


def sweeps() -> list[str]:
    """Names of the sweeps that there are."""
    return sorted(file.stem for file in (ROOT / "params/sweeps").glob("*.yaml"))


def load_sweep(name: str) -> Sweep:
    """Read ``params/sweeps/<name>.yaml`` and try all of its runs; raise ParameterError if one is wrong."""
    sweep = _sweep(name)
    problems, seen, made = [], {}, []
    for point in sweep.expanded():
        if point.name in seen.values():
            problems.append(f"{_file(name)}: two runs would be called {point.name}: use named points")
        try:
            made.append(_run(sweep, point))
        except ParameterError as error:
            problems += [line for line in str(error).splitlines() if line not in problems]
            continue
        text = made[-1].model_dump_json()
        if text in seen:
            problems.append(f"{_file(name)}: {seen[text]} and {point.name} are the same run: leave one out")
        seen[text] = point.name
    if problems:
        raise ParameterError("\n".join(problems))
    return sweep.model_copy(update={"made": tuple(made)})


def _load_point(study: str, name: str) -> Run:
    """The run ``sweeps/<sweep>/<point>`` of a study; raise ParameterError if it is missing or wrong."""
    _, _, rest = name.partition("/")
    sweep, _, point = rest.partition("/")
    loaded = _sweep(sweep)
    if loaded.study != study:
        raise ParameterError(f"{_file(sweep)}: study: {loaded.study}, so it has no run of study {study}")
    points = {each.name: each for each in loaded.expanded()}
    if point not in points:
        hint = did_you_mean(point, points)
        raise ParameterError(f"{_file(sweep)}: no point {point!r}{hint}; there is: {', '.join(points)}")
    return _run(loaded, points[point])


def _sweep(name: str) -> Sweep:
    _check_name("sweep", name, sweeps())
    file = ROOT / _file(name)
    values = _values(file)
    loaded = validated(Sweep, values, _short(file), name=name)
    try:
        return loaded.model_copy(update={"base_run": load_run(loaded.study, loaded.base)})
    except ParameterError as error:
        wrong_name = str(error).startswith("no ")
        raise ParameterError(f"{_file(name)}: {error}" if wrong_name else str(error)) from None


def _run(sweep: Sweep, point: Point) -> Run:
    values = sweep.base_run.model_dump()
    for key, value in point.values.items():
        *path, last = key.split(".")
        place = values
        for part in path:
            if not isinstance(place.get(part), dict):
                place[part] = {}  # nothing there yet, as of model.lora; the schema refuses what cannot be
            place = place[part]
        place[last] = value
    where = f"{_file(sweep.name)}: {point.name}"
    return _placed(values, where, sweep.base_run.study, f"sweeps/{sweep.name}/{point.name}")


def _file(name: str) -> str:
    return f"params/sweeps/{name}.yaml"


def _check_name(kind: str, name: str, known: list[str]) -> None:
    """A name becomes a folder, so only plain ones that exist are let through."""
    if not NAME.fullmatch(str(name)) or name not in known:
        hint = did_you_mean(str(name), known)
        raise ParameterError(f"no {kind} {name!r} under params/{hint}; there is: {', '.join(known)}")


def _values(file: Path) -> dict:
    """The keys and values of a YAML file; raise ParameterError where it holds something else."""
    try:
        values = copy.deepcopy(_parsed(file.read_text(encoding="utf-8")))
    except (UnicodeDecodeError, yaml.reader.ReaderError):
        raise ParameterError(f"{_short(file)}: not valid YAML: not a text file in UTF-8") from None
    # PyYAML lets many errors of its constructors through: ValueError for the date 2020-13-45, say.
    except Exception as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}:" if where else ""
        problem = getattr(error, "problem", None) or f"{type(error).__name__}: {error}"
        raise ParameterError(f"{_short(file)}:{line} not valid YAML: {problem}") from None
    if not isinstance(values, dict | None):
        raise ParameterError(f"{_short(file)}: expected keys and values, found {type(values).__name__}")
    return values or {}


@functools.cache
def _parsed(text: str):
    """A YAML document; a study is read again with each of its runs, and PyYAML is slow."""
    return yaml.load(text, Loader=_Loader)


def _short(file: Path) -> str:
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-3 as a number, strict types apart, and refuses a key given twice."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, (key, (key_node, _)) in enumerate(zip(keys, node.value, strict=True)):
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
        return super().construct_mapping(node, deep)


# https://github.com/yaml/pyyaml/issues/173
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    FLOAT,
    list("-+0123456789"),
)
