"""Parameter files, read with errors that name the file, the key and the fix."""

import ast
import functools
import sys
from pathlib import Path

import yaml

from .schema import FLOAT, NAME, ParameterError, Run, Study, choice, leaves, root, short, validated
from .sweep import Point, Sweep

__by_value__ = True  # pages depend on the values, not on the code that reads them


def studies() -> list[str]:
    """Return the names of the studies that have a parameter folder."""
    return sorted(p.parent.name for p in (root() / "params").glob("*/study.yaml"))


def runs(study: str) -> list[str]:
    """Return the names of a study's runs."""
    return sorted(p.stem for p in (root() / "params" / study).glob("*.yaml") if p.stem != "study")


def sweeps() -> list[str]:
    """Return the names of all sweeps."""
    return sorted(p.stem for p in (root() / "params/sweeps").glob("*.yaml"))


def load_study(study: str) -> Study:
    """Return the study of ``params/<study>/study.yaml``; raise ParameterError if it is missing or wrong."""
    _check_name("study", study, studies())
    file = root() / "params" / study / "study.yaml"
    loaded = validated(Study, _values(file), short(file), name=study)
    others = [each for each in studies() if each != study]
    for other in loaded.compare_with:
        if other not in others:
            raise ParameterError(
                f"{short(file)}: compare_with: no other study {other!r}{choice(other, others)}"
            )
    return loaded


def load_run(study: str, run: str, _before: tuple[str, ...] = (), **given) -> Run:
    """Return a run of ``params/<study>/<run>.yaml`` or of a sweep; raise ParameterError if it is wrong.

    `given` are groups of parameters from a notebook's parameters cell; an empty one leaves the decision to
    the file. They define a run that has no file, and must agree with the file of one that has.
    """
    given = _given_to_notebook(given)
    if run.startswith("sweeps/"):
        return _agreeing(_load_point(study, run), given)
    parent = load_study(study)
    if given and NAME.fullmatch(run) and run not in runs(study):
        return _run(given, f"parameters of run {run}", parent, run, _before)
    _check_name("run", run, runs(study))
    file = parent.file.with_name(f"{run}.yaml")
    return _agreeing(_run(recipe(file), short(file), parent, run, _before), given)


def recipe(file: Path) -> dict:
    """Return the parameters in a run's file; raise ParameterError if it names another study or run."""
    values = _values(file)
    for key, place in (("study", file.parent.name), ("run", file.stem)):
        if (name := values.get(key, place)) != place:
            raise ParameterError(f"{short(file)}: {key}: {name!r}, but its path says {place!r}")
    return {key: value for key, value in values.items() if key not in ("study", "run")}


def load_sweep(name: str) -> Sweep:
    """Return the sweep of ``params/sweeps/<name>.yaml``; raise ParameterError if one of its runs is wrong."""
    _check_name("sweep", name, sweeps())
    file = root() / "params/sweeps" / f"{name}.yaml"
    sweep = validated(Sweep, _values(file), short(file), name=name)
    try:
        base = load_run(sweep.study, sweep.base)
    except ParameterError as error:
        raise ParameterError(f"{short(file)}: {error}") from None
    problems, made, known = [], [], {}
    for point in sweep.expanded():
        if point.name in known.values():
            problems.append(f"{short(file)}: two runs would be called {point.name}: use named points")
        try:
            made.append(_run_of_sweep(sweep, point, base))
        except ParameterError as error:
            problems += str(error).splitlines()
            continue
        same = known.setdefault(made[-1].model_dump_json(), point.name)
        if same != point.name:
            problems.append(f"{short(file)}: {same} and {point.name} are the same run: leave one out")
    if problems:
        raise ParameterError("\n".join(dict.fromkeys(problems)))
    return sweep.model_copy(update={"base_run": base, "made": tuple(made)})


def _run(values: dict, where: str, study: Study, name: str, before: tuple[str, ...] = ()) -> Run:
    """Return a run; raise ParameterError if a value is wrong or the run it starts from does not fit.

    `before` are runs that start from this one.
    """
    run = validated(Run, values, where, name=name, study=study)
    if (start := run.model.start_from) is None:
        return run
    others = [each for each in runs(study.name) if each not in (name, *before)]
    if start not in others:
        raise ParameterError(
            f"{where}: model.start_from: no run {start!r} in study {study.name} that does not itself start "
            f"from this one{choice(start, others)}"
        )
    backbone = load_run(study.name, start, (*before, name)).model.backbone
    if backbone != run.model.backbone:
        raise ParameterError(
            f"{where}: model.backbone: {run.model.backbone}, but start_from: {start} is a {backbone}"
        )
    return run


def _load_point(study: str, name: str) -> Run:
    """Return the run ``sweeps/<sweep>/<point>`` of a study; raise ParameterError if there is none."""
    of, _, point = name.removeprefix("sweeps/").partition("/")
    sweep = load_sweep(of)
    where = short(sweep.file)
    if sweep.study != study:
        raise ParameterError(f"{where}: study: {sweep.study}, so it has no run of study {study}")
    points = {run.name.rpartition("/")[2]: run for run in sweep.runs()}
    if point not in points:
        raise ParameterError(f"{where}: no point {point!r}{choice(point, points)}")
    return points[point]


def _run_of_sweep(sweep: Sweep, point: Point, base: Run) -> Run:
    """Return the base run with the values of a point of the sweep."""
    values = base.model_dump()
    for key, value in point.values.items():
        *path, last = key.split(".")
        place = values
        for part in path:
            if not isinstance(place.get(part), dict):
                place[part] = {}  # a group that is None by default, such as model.lora; the schema checks it
            place = place[part]
        place[last] = value
    where = f"{short(sweep.file)}: {point.name}"
    return _run(values, where, base.study, f"sweeps/{sweep.name}/{point.name}")


def _given_to_notebook(given: dict) -> dict:
    """Return the groups of a run that a notebook's parameters cell holds, without empty ones.

    Raises ParameterError if papermill injected a name that no run has: papermill only warns of it.
    """
    if given and (unknown := sorted(_injected() - {"study", "run", *Run.model_fields})):
        validated(Run, dict.fromkeys(unknown), "parameters given to papermill")  # raises, with a hint
    return {name: _with_numbers(value) for name, value in given.items() if value not in ({}, None, "")}


def _agreeing(run: Run, given: dict) -> Run:
    """Return the run; raise ParameterError if a notebook is given other parameters than those in its file."""
    if not given:
        return run
    where = short(run.file)
    wanted = leaves(validated(Run, given, where))
    for key, leaf in leaves(run).items():
        if (other := wanted.get(key, leaf)).value != leaf.value:
            raise ParameterError(
                f"{where}: {key}: {leaf.value}, but the notebook is given {other.value}: give the run a "
                "name of its own (-p run NAME), so that it does not overwrite this one's results"
            )
    return run


def _injected() -> set[str]:
    """Return the names that papermill has injected into this kernel; none in any other process."""
    if "IPython" not in sys.modules or not (shell := sys.modules["IPython"].get_ipython()):
        return set()
    cells = [cell for cell in shell.history_manager.input_hist_raw if cell.startswith("# Parameters\n")]
    nodes = (node for cell in cells for node in ast.parse(cell).body)
    return {target.id for node in nodes if isinstance(node, ast.Assign) for target in node.targets}


def _with_numbers(value):
    """Return parameters with 1e-3 as a number: papermill reads YAML 1.1, where it is text."""
    if isinstance(value, dict):
        return {key: _with_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_numbers(each) for each in value]
    return float(value) if isinstance(value, str) and FLOAT.fullmatch(value) else value


def _check_name(kind: str, name: str, known: list[str]) -> None:
    """Raise ParameterError unless the name is known: names become paths."""
    if not NAME.fullmatch(name) or name not in known:
        raise ParameterError(f"no {kind} {name!r} under params/{choice(name, known)}")


def _values(file: Path) -> dict:
    """Return the keys and values of a YAML file; raise ParameterError if it holds anything else."""
    try:
        values = _parsed(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.reader.ReaderError):
        raise ParameterError(f"{short(file)}: not valid YAML: not a text file in UTF-8") from None
    # PyYAML's constructors raise a wide range of errors: ValueError for the date 2020-13-45, for example
    except Exception as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        problem = getattr(error, "problem", None) or f"{type(error).__name__}: {error}"
        raise ParameterError(f"{short(file)}:{line} not valid YAML: {problem}") from None
    if not isinstance(values, dict | None):
        raise ParameterError(f"{short(file)}: expected keys and values, found {type(values).__name__}")
    return values or {}


@functools.cache
def _parsed(text: str):
    """Return the content of a YAML document: PyYAML is slow, and a study is read again with each run."""
    return yaml.load(text, Loader=_Loader)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-3 as a number and refuses a key given twice."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, (key, (key_node, _)) in enumerate(zip(keys, node.value, strict=True)):
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
        return super().construct_mapping(node, deep)


# https://github.com/yaml/pyyaml/issues/173
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789"))
