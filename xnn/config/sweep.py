"""Sweeps: a run of a study, and the values that take the place of its own, expanded to runs.

A sweep is ``params/sweeps/<sweep>.yaml``. Its runs are named ``sweeps/<sweep>/<point>``, and a step knows
them as it knows every other run: by study and name.
"""

import itertools
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import PrivateAttr, model_validator

from . import params
from .params import NAME, ROOT, ParameterError, Run

STEPS = ("3-train", "4-evaluate", "5-explain")


class Point(NamedTuple):
    """One run of a sweep: its name, that of its setting (all but the seed), and the values that it gets."""

    name: str
    setting: str
    values: dict[str, Any]


class Sweep(params._Strict):
    """A base run and the values that its runs have instead: of a grid, of named points, or of both.

    Keys are those of a run, with dots: ``training.learning_rate``.
    """

    title: str
    study: str
    base: str  # a run of the study; its values hold where the sweep gives no other
    values: dict[str, Any] = {}  # key: value, of all runs of the sweep
    grid: dict[str, list[Any]] = {}  # key: values; every combination is a run
    points: dict[str, dict[str, Any]] = {}  # name: {key: value}; with a grid, all of it at every point
    explain: bool = False  # 5-explain as well
    _name: str = PrivateAttr("")
    _base: Run = PrivateAttr(None)

    @model_validator(mode="after")
    def _varies_something(self):
        if not self.grid and not self.points:
            raise ValueError("give a grid (key: [values]) or points (name: {key: value}), or both")
        if empty := [key for key, values in self.grid.items() if not values]:
            raise ValueError(f"grid.{empty[0]}: give at least one value")
        if both := set(self.values) & {*self.grid, *itertools.chain(*self.points.values())}:
            raise ValueError(f"values.{min(both)}: it is varied as well: give it once")
        for name, values in self.points.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"points.{name}: a name has letters, digits, '.', '_' and '-' only")
            if both := set(values) & set(self.grid):
                raise ValueError(f"points.{name}.{min(both)}: it is in the grid as well: give it once")
        return self

    @property
    def name(self) -> str:
        return self._name

    @property
    def base_run(self) -> Run:
        return self._base

    @property
    def file(self) -> Path:
        return ROOT / "params/sweeps" / f"{self.name}.yaml"

    @property
    def artifacts(self) -> Path:
        return self.base_run.study.artifacts / "sweeps" / self.name

    @property
    def reports(self) -> Path:
        return self.base_run.study.reports / "sweeps" / self.name

    @property
    def steps(self) -> tuple[str, ...]:
        """What is done of every run."""
        return STEPS if self.explain else STEPS[:2]

    @property
    def varied(self) -> dict[str, str]:
        """The keys that take several values, and their short names: the last word where that is enough."""
        keys = list(dict.fromkeys([*itertools.chain(*self.points.values()), *self.grid]))
        last = [key.rpartition(".")[2] for key in keys]
        return {key: word if last.count(word) == 1 else key for key, word in zip(keys, last, strict=True)}

    def expanded(self) -> list[Point]:
        """Every point, in the file's order."""
        found = []
        for point, own in (self.points or {"": {}}).items():
            for chosen in itertools.product(*self.grid.values()):
                values = dict(zip(self.grid, chosen, strict=True))
                words = {key: f"{self.varied[key]}-{_text(value)}" for key, value in values.items()}
                setting = [point, *(word for key, word in words.items() if key != "seed")]
                name, setting = ("_".join(filter(None, each)) for each in ([point, *words.values()], setting))
                found.append(Point(name, setting or self.base, self.values | own | values))
        return found

    def runs(self) -> list[Run]:
        """Every run, validated; raise ParameterError, one line a problem."""
        return [_run(self, point) for point in self.expanded()]

    def _repr_markdown_(self) -> str:
        """The study's line, then the sweep's."""
        keys = ", ".join(f"`{key}`" for key in self.varied)
        line = f"Sweep `{self.name}`: {self.title}. Runs like `{self.base}`, with other values of {keys}."
        return f"{self.base_run.study._repr_markdown_()}\n\n{line}"


def sweeps() -> list[str]:
    """Names of the sweeps that there are."""
    return sorted(file.stem for file in (ROOT / "params/sweeps").glob("*.yaml"))


def load_sweep(name: str) -> Sweep:
    """Read ``params/sweeps/<name>.yaml`` and try all of its runs; raise ParameterError if one is wrong."""
    sweep = _read(name)
    problems, seen = [], {}
    for point in sweep.expanded():
        if point.name in seen.values():
            problems.append(f"{_file(name)}: two runs would be called {point.name}: use named points")
        try:
            recipe = _run(sweep, point).model_dump_json()
        except ParameterError as error:
            problems += [line for line in str(error).splitlines() if line not in problems]
            continue
        if recipe in seen:
            problems.append(f"{_file(name)}: {seen[recipe]} and {point.name} are the same run: leave one out")
        seen[recipe] = point.name
    if problems:
        raise ParameterError("\n".join(problems))
    return sweep


def load_point(study: str, name: str) -> Run:
    """The run ``sweeps/<sweep>/<point>`` of a study; raise ParameterError if it is missing or wrong."""
    _, _, rest = name.partition("/")
    sweep, _, point = rest.partition("/")
    loaded = _read(sweep)
    if loaded.study != study:
        raise ParameterError(f"{_file(sweep)}: study: {loaded.study}, so it has no run of study {study}")
    points = {each.name: each for each in loaded.expanded()}
    if point not in points:
        hint = params._did_you_mean(point, points)
        raise ParameterError(f"{_file(sweep)}: no point {point!r}{hint}; there is: {', '.join(points)}")
    return _run(loaded, points[point])


def _read(name: str) -> Sweep:
    params._check_name("sweep", name, sweeps())
    loaded = params._load(Sweep, ROOT / _file(name))
    loaded._name = name
    try:
        loaded._base = params.load_run(loaded.study, loaded.base)
    except ParameterError as error:
        wrong_name = str(error).startswith("no ")
        raise ParameterError(f"{_file(name)}: {error}" if wrong_name else str(error)) from None
    return loaded


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
    run = params.validated(Run, values, where)
    return params.placed(run, sweep.base_run.study, f"sweeps/{sweep.name}/{point.name}")


def _file(name: str) -> str:
    return f"params/sweeps/{name}.yaml"


def _text(value: Any) -> str:
    """A value as part of a name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", json.dumps(value).strip('[]{}"'))


# ---- what came out -------------------------------------------------------------------------------


def results(sweep: Sweep) -> pd.DataFrame:
    """One row a run that has been evaluated, in the file's order.

    Columns: run (its point), setting, the varied values by their short names, validation (F1 of the epoch
    that was kept, weighted by class), value, low and high (weighted F1 on the test split), epochs, minutes.
    """
    rows = []
    for point, run in zip(sweep.expanded(), sweep.runs(), strict=True):
        if not (run.reports / "metrics.json").exists():
            continue
        metrics, record = (
            json.loads((run.reports / name).read_text()) for name in ("metrics.json", "training.json")
        )
        rows.append(
            {
                "run": point.name,
                "setting": point.setting,
                **{short: value_of(run, key) for key, short in sweep.varied.items()},
                "validation": max(row["val_f1"] for row in record["history"]),
                **metrics["scores"]["f1_weighted"],
                "epochs": len(record["history"]),
                "minutes": round(sum(row["seconds"] for row in record["history"]) / 60, 2),
            }
        )
    return pd.DataFrame(rows)


def value_of(run: Run, key: str) -> Any:
    """The value of a dotted key."""
    found = run
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else getattr(found, part, None)
    return found if isinstance(found, int | float | str | None) else json.dumps(found)


def by_setting(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``results`` as one a setting, the best on validation first: means over seeds, and their spread.

    Columns: seeds, validation, test (means), sd (of the test score, n - 1; NaN of one seed), lowest, highest,
    half_width (half the mean length of the 95 % intervals: what another draw of patients would do).
    """
    groups = table.assign(half=(table.high - table.low) / 2).groupby("setting", sort=False)
    found = groups.agg(
        seeds=("run", "size"),
        validation=("validation", "mean"),
        test=("value", "mean"),
        sd=("value", "std"),
        lowest=("value", "min"),
        highest=("value", "max"),
        half_width=("half", "mean"),
    )
    return found.sort_values("validation", ascending=False, kind="stable")
