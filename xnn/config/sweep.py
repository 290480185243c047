"""Sweeps: a run of a study, and the values to try instead of its own.

A sweep is ``params/sweeps/<sweep>.yaml``. Its runs are called ``sweeps/<sweep>/<point>`` and are used like
every other run, by study and name.
"""

import itertools
import json
import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import model_validator

from .schema import CONTEXT, NAME, Parameters, Run, root

__by_value__ = True  # pages depend on the values

STEPS = ("3-train", "4-evaluate", "5-explain")


class Point(NamedTuple):
    """One run of a sweep: its name, the name of its setting (all but the seed), and its values."""

    name: str
    setting: str
    values: dict[str, Any]


class Sweep(Parameters):
    """A base run and the values to try instead of its own: a grid, named points, or both.

    Keys are those of a run, with dots: ``training.learning_rate``.
    """

    title: str
    study: str
    base: str  # a run of the study; its values hold unless the sweep gives others
    values: dict[str, Any] = {}  # key: value, for all runs of the sweep
    grid: dict[str, list[Any]] = {}  # key: values; each combination is a run
    points: dict[str, dict[str, Any]] = {}  # name: {key: value}; the grid is tried at each point
    explain: bool = False  # also run 5-explain
    name: Annotated[str, CONTEXT] = ""
    base_run: Annotated[Run | None, CONTEXT] = None
    made: Annotated[tuple[Run, ...], CONTEXT] = ()

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
    def file(self) -> Path:
        return root() / "params/sweeps" / f"{self.name}.yaml"

    @property
    def artifacts(self) -> Path:
        return self.base_run.study.artifacts / "sweeps" / self.name

    @property
    def reports(self) -> Path:
        return self.base_run.study.reports / "sweeps" / self.name

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps made for each run."""
        return STEPS if self.explain else STEPS[:2]

    @property
    def varied(self) -> dict[str, str]:
        """The keys that are varied, and their short names: the last word if that is unique."""
        keys = list(dict.fromkeys([*itertools.chain(*self.points.values()), *self.grid]))
        last = [key.rpartition(".")[2] for key in keys]
        return {key: word if last.count(word) == 1 else key for key, word in zip(keys, last, strict=True)}

    def expanded(self) -> list[Point]:
        """Return all points, in the file's order."""
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
        """Return all runs, in the file's order."""
        return list(self.made)


def _text(value: Any) -> str:
    """Return a value as part of a name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", json.dumps(value).strip('[]{}"'))
