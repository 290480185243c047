"""Parameters of studies and runs: one schema, and errors that name the file, the key and the fix.

A study is ``params/<study>/study.yaml``; every other file of that folder is a run. A file holds only
what differs from the defaults written here. Runs of a sweep (module ``sweep``) have no file of their own:
their names are ``sweeps/<sweep>/<point>``.
"""

import ast
import copy
import difflib
import functools
import hashlib
import json
import os
import re
import reprlib
import sys
import typing
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import to_jsonable_python

__by_value__ = True  # pages depend on the values, not on the code that reads them

# Tests and tools may point to another project folder with the same layout.
ROOT = Path(os.environ.get("XNN_ROOT", Path(__file__).resolve().parents[2]))

FLOAT = re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)$")  # what YAML 1.1 takes for text
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Fraction = Annotated[float, Field(ge=0, le=1)]
Shares = Annotated[tuple[Fraction, Fraction, Fraction], Field(strict=False)]  # YAML has lists only
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy takes


class ParameterError(ValueError):
    """A parameter file that cannot be used; the message names file, key and fix."""


class _Strict(BaseModel):
    """Unknown keys and silent conversions ("3" for 3) are errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


class Archive(_Strict):
    """Where real radiographs come from when no ``ARCHIVE`` is given, and how its names read."""

    url: str | None = None
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    bytes: Count | None = None  # expected size; checked where the publisher gives no sha256
    patient: list[str] = []  # regular expressions; group 1 of the first that matches is the patient
    attribution: str = ""

    @field_validator("patient")
    @classmethod
    def _has_a_group(cls, patterns):
        for pattern in patterns:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
            if not groups:
                raise ValueError(f"{pattern!r} has no group (...) that holds the patient")
        return patterns


class Published(_Strict):
    """A result that others published on this very split; what they did not give is left out."""

    source: str
    task: Literal["three classes", "pneumonia", "bacteria or virus"]
    accuracy: Fraction | None = None
    auroc: Fraction | None = None
    sensitivity: Fraction | None = None
    specificity: Fraction | None = None
    f1_macro: Fraction | None = None
    f1_weighted: Fraction | None = None
    differs: str = ""  # weights, resolution, epochs


class Study(_Strict):
    """One data set under one protocol."""

    title: str
    source: Literal["phantom", "archive"]
    classes: list[str] = ["bacteria", "normal", "virus"]
    image_size: Annotated[int, Field(ge=32, le=1024)] = 224  # pixels a side
    split: Literal["patient", "image", "official"] = "patient"
    fractions: Shares = (0.8, 0.1, 0.1)  # train, val, test
    set_aside: Annotated[int, Field(ge=0)] = 1  # images a class kept out, for the app's examples
    seed: Seed = 0
    patients: Count = 400  # phantom only: how many are drawn
    # phantom only: the letter beside the chest, anywhere by chance, or in a place that tells the class
    marker: Literal["random", "class"] = "random"
    archive: Archive = Archive()
    compare_with: list[str] = []  # studies of the same radiographs under another protocol
    published: list[Published] = []
    _name: str = PrivateAttr("")

    @model_validator(mode="after")
    def _possible(self):
        if abs(sum(self.fractions) - 1) > 1e-6 or min(self.fractions) == 0:
            raise ValueError(f"fractions must be three shares above 0 that sum to 1, not {self.fractions}")
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes must be two or more different names, not {self.classes}")
        if self.source == "phantom" and self.classes != ["bacteria", "normal", "virus"]:
            raise ValueError("phantoms are drawn for the classes bacteria, normal, virus only")
        if self.source != "phantom" and self.marker != "random":
            raise ValueError("marker is of drawn phantoms only")
        if self.source == "phantom" and self.split == "official":
            raise ValueError("phantoms have no official split: use patient or image")
        return self

    @property
    def name(self) -> str:
        return self._name

    @property
    def synthetic(self) -> bool:
        return self.source == "phantom"

    @property
    def file(self) -> Path:
        return ROOT / "params" / self.name / "study.yaml"

    @property
    def artifacts(self) -> Path:
        return ROOT / "artifacts" / self.name

    @property
    def reports(self) -> Path:
        return ROOT / "reports" / self.name

    def _repr_markdown_(self) -> str:
        """What every page shows of its data: first of all whether it is real."""
        if self.synthetic:
            kind = "**Synthetic data.** Every radiograph of this study is a drawn phantom, not a patient."
        else:
            kind = f"**Real radiographs.** {self.archive.attribution}".strip()
        return (
            f"{kind} Study `{self.name}`: {self.title}; split by {self.split}, "
            f"{self.image_size} x {self.image_size} pixels, seed {self.seed}."
        )


class Lora(_Strict):
    """Low-rank updates of frozen layers (Hu et al. 2021): scale alpha / rank."""

    rank: Count = 8
    alpha: Positive = 16.0


class Model(_Strict):
    """A backbone, its starting weights, its head, and which part of it is trained."""

    backbone: Literal["mobilenet_v2", "resnet18", "resnet50", "convnextv2"] = "mobilenet_v2"
    # imagenet, none, the name of a file in WEIGHTS, or (convnextv2) a hub id or folder
    weights: str = "imagenet"
    start_from: str | None = None  # a run of the same study whose trained model is the start
    config: dict[str, int | float | list[int]] = {}  # convnextv2: sizes of a network made here
    hidden: list[Count] = []  # widths of the head's hidden layers
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    # head: feature extraction; all: full; N: fine-tuning of the backbone's last N parameter tensors
    train: Literal["head", "all"] | Count = "all"
    lora: Lora | None = None  # train low-rank updates of those tensors' layers instead of the tensors
    image_size: Annotated[int, Field(ge=32, le=1024)] | None = None  # inside the network; the study's

    @model_validator(mode="after")
    def _has_what_lora_updates(self):
        if self.lora and self.train == "head":
            raise ValueError("lora updates layers of the backbone: set train to all or a number")
        return self

    @property
    def regime(self) -> str:
        if self.lora:
            return "LoRA"
        return {"head": "feature extraction", "all": "full"}.get(self.train, "fine-tuning")


class Augmentation(_Strict):
    """Random views of a training image; every value 0 (crop 1) gives the image itself."""

    crop: Annotated[float, Field(gt=0, le=1)] = 0.75  # smallest share of the area kept
    degrees: Annotated[float, Field(ge=0, le=180)] = 10.0  # rotation, either way
    jitter: Annotated[float, Field(ge=0, lt=1)] = 0.25  # brightness and contrast, relative
    flip: Fraction = 0.5  # chance of a mirror image
    trivial: bool = False  # one more change, of random kind and strength (TrivialAugment, arXiv 2103.10158)


class Training(_Strict):
    """The recipe."""

    epochs: Count = 20  # at most; early stopping may end sooner
    batch_size: Count = 32
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    schedule: Literal["plateau", "cosine", "one_cycle"] = "plateau"
    early_stopping: Annotated[int, Field(ge=0)] = 3  # epochs without a better val F1; 0: never
    class_weights: bool = False  # computed from the training split
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mixup: Annotated[float, Field(ge=0)] = 0.0  # alpha of mix-up (arXiv 1710.09412); 0: none
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0  # decay of the weights' moving average; 0: none
    precision: Literal["auto", "32", "bf16"] = "auto"  # auto: bf16 where the device is fast at it
    # random views an image; what is frozen of the network is asked about each of them once and kept;
    # 0: a new view every epoch, and the frozen part is asked every time
    views: Annotated[int, Field(ge=0)] = 0
    workers: Annotated[int, Field(ge=0)] = 0  # processes that prepare images; no effect on results
    # the same weights again on the same machine; on a processor they are anyway, so that only false is in
    # a hash. What a GPU cannot compute so is named in a warning
    deterministic: Annotated[bool, Field(exclude_if=bool)] = True


class Hardware(_Strict):
    """On what a run is trained; more than one process share every batch (module ``distributed``)."""

    devices: Count = 1  # of each host; without GPUs: processes
    num_nodes: Count = 1  # hosts
    strategy: Literal["auto", "ddp"] = "auto"  # Lightning's; auto is ddp where there are several processes

    @property
    def processes(self) -> int:
        return self.devices * self.num_nodes


class Evaluation(_Strict):
    """How a trained model is asked."""

    flip: bool = False  # average the logits of an image and its mirror image
    resamples: Count = 2000  # of the bootstrap over patients


class Explanation(_Strict):
    """How much is explained, and how exactly."""

    images: Count = 2  # radiographs a class that are shown, right and wrong ones each
    measured: Count = 12  # test images that the measures of the card are taken of
    # expected: the mean over several healthy training images (expected gradients)
    baseline: Literal["black", "mean", "blur", "expected"] = "black"
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01  # relative completeness gap
    max_gradients: Annotated[int, Field(ge=9)] = 1000  # an image; the best map is kept where it is spent


class Run(_Strict):
    """One model trained within a study."""

    model: Model = Model()
    training: Training = Training()
    augmentation: Augmentation = Augmentation()
    evaluation: Evaluation = Evaluation()
    explanation: Explanation = Explanation()
    # left out of every hash where one process trains, which is all that most runs ever do
    hardware: Annotated[Hardware, Field(exclude_if=lambda own: own.processes == 1)] = Hardware()
    seed: Seed = 0
    note: str = ""  # a sentence shown on the run's pages
    online: bool = False  # its weights have to be downloaded: made with ONLINE=1 or by name, RUNS=...
    _name: str = PrivateAttr("")
    _study: Study = PrivateAttr(None)

    @model_validator(mode="after")
    def _batches_can_be_shared(self):
        size, processes = self.training.batch_size, self.hardware.processes
        if size % processes:
            raise ValueError(
                f"training.batch_size: {size} images cannot be shared by {processes} processes (hardware): "
                f"use a multiple of {processes}"
            )
        return self

    @property
    def name(self) -> str:
        return self._name

    @property
    def study(self) -> Study:
        return self._study

    @property
    def file(self) -> Path:
        """Where its values stand: of a run of a sweep in the sweep's file."""
        folder, _, name = self.name.rpartition("/")
        return ROOT / "params" / f"{folder}.yaml" if folder else self.study.file.with_name(f"{name}.yaml")

    @property
    def artifacts(self) -> Path:
        return self.study.artifacts / self.name

    @property
    def reports(self) -> Path:
        return self.study.reports / self.name

    def _repr_markdown_(self) -> str:
        """The study's line, then the run's."""
        note = f" {self.note}" if self.note else ""
        line = f"Run `{self.name}`: {self.model.backbone}, {self.model.regime}.{note}"
        return f"{self.study._repr_markdown_()}\n\n{line}"


def load_study(study: str) -> Study:
    """Read ``params/<study>/study.yaml``; raise ParameterError if it is missing or wrong."""
    _check_name("study", study, studies())
    loaded = _load(Study, ROOT / "params" / study / "study.yaml")
    loaded._name = study
    for other in loaded.compare_with:
        if other == study or other not in studies():
            known = [each for each in studies() if each != study]
            hint = _did_you_mean(other, known)
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
        from .sweep import load_point

        return same(load_point(study, run), given)
    parent = load_study(study)
    if given and NAME.fullmatch(run) and run not in runs(study):
        return placed(validated(Run, given, f"parameters of run {run}"), parent, run, _before)
    _check_name("run", run, runs(study))
    file = parent.file.with_name(f"{run}.yaml")
    return same(placed(validated(Run, recipe(file), _short(file)), parent, run, _before), given)


def recipe(file: Path) -> dict:
    """Return what a run's file says; raise ParameterError where it names another place."""
    values = dict(_read(file))
    for key, wanted in (("study", file.parent.name), ("run", file.stem)):
        if (named := values.pop(key, wanted)) != wanted:
            raise ParameterError(f"{_short(file)}: {key}: {named!r}, but the file's place says {wanted!r}")
    return values


def given_to_notebook(given: dict) -> dict:
    """The groups of a run that a notebook's parameters cell holds, without empty ones.

    Raises ParameterError where papermill has put a name beside them that no run has: it only warns of one.
    """
    if given and (unknown := sorted(_injected() - {"study", "run", *Run.model_fields})):
        values = dict.fromkeys(unknown)
        validated(Run, values, "parameters given to papermill")  # raises: the schema's own words
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


def placed(loaded: Run, parent: Study, run: str, _before: tuple[str, ...] = ()) -> Run:
    """A run as part of its study; raise ParameterError where what it starts from does not fit."""
    study = parent.name
    loaded._name, loaded._study = run, parent
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


def studies() -> list[str]:
    """Names of the studies that have a parameter folder."""
    return sorted(p.parent.name for p in (ROOT / "params").glob("*/study.yaml"))


def runs(study: str) -> list[str]:
    """Names of a study's runs."""
    return sorted(p.stem for p in (ROOT / "params" / study).glob("*.yaml") if p.stem != "study")


def sha256(*parameters: BaseModel | str | int) -> str:
    """Hash of parameter values: comments, key order and defaults written out do not change it."""
    digest = hashlib.sha256()
    for each in parameters:
        digest.update((each.model_dump_json() if isinstance(each, BaseModel) else json.dumps(each)).encode())
    return digest.hexdigest()


class Leaf(typing.NamedTuple):
    """One parameter: its value, as JSON has it, and what it would be if nothing were said."""

    value: typing.Any
    default: typing.Any


def leaves(parameters: BaseModel, groups: typing.Container[str] | None = None) -> dict[str, Leaf]:
    """Parameters by their dotted keys, of some groups (top-level keys) or of all."""
    found = {}
    for name, field in type(parameters).model_fields.items():
        if groups is not None and name not in groups:
            continue
        value = getattr(parameters, name)
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if isinstance(value, BaseModel):
            found[name] = Leaf(True, isinstance(default, BaseModel))
            found |= {f"{name}.{key}": leaf for key, leaf in leaves(value).items()}
        else:
            found[name] = Leaf(to_jsonable_python(value), to_jsonable_python(default))
    return found


def _check_name(kind: str, name: str, known: list[str]) -> None:
    """A name becomes a folder, so only plain ones that exist are let through."""
    if not NAME.fullmatch(str(name)) or name not in known:
        hint = _did_you_mean(str(name), known)
        raise ParameterError(f"no {kind} {name!r} under params/{hint}; there is: {', '.join(known)}")


def _load(schema: type[BaseModel], file: Path) -> BaseModel:
    return validated(schema, _read(file), _short(file))


def _read(file: Path) -> dict:
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


def validated(schema: type[BaseModel], values: dict, where: str) -> BaseModel:
    """The model of some values; raise ParameterError, a line for each problem, that begins with `where`."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        lines = (_explain(schema, problem) for problem in error.errors())
        raise ParameterError("\n".join(f"{where}: {line}" for line in lines)) from None


def _explain(schema: type[BaseModel], problem: dict) -> str:
    """One line for one of pydantic's errors: key, what is wrong, what is allowed."""
    path = [str(part) for part in problem["loc"]]
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        allowed = sorted(_fields(schema, path[:-1]))
        return f"{key}: unknown key{_did_you_mean(path[-1], allowed)}; allowed: {', '.join(allowed)}"
    message = problem["msg"].removeprefix("Value error, ")
    if not key:
        return message
    return f"{key}: {message}, not {reprlib.repr(problem['input'])[:100]}"


def _fields(schema: type[BaseModel], path: list[str]) -> list[str]:
    """The keys allowed at a path of nested models."""
    for part in path:
        schema = schema.model_fields[part].annotation
    return list(schema.model_fields)


def _did_you_mean(word: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


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
