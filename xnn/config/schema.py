"""The schema of studies and runs: every key, its type and its default.

A study is ``params/<study>/study.yaml``; every other file of that folder is a run. A file holds only what
differs from the defaults written here. Fields marked `CONTEXT` come from the place of the file: files do not
hold them, and no hash includes them.
"""

import difflib
import hashlib
import json
import os
import re
import reprlib
import typing
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import to_jsonable_python

from .backbones import BACKBONES

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
CONTEXT = Field(exclude=True)


class ParameterError(ValueError):
    """A parameter file that cannot be used; the message names file, key and fix."""


class Parameters(BaseModel):
    """Unknown keys and silent conversions ("3" for 3) are errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


class Archive(Parameters):
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


class Published(Parameters):
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


class Study(Parameters):
    """One data set under one protocol."""

    title: str
    source: Literal["phantom", "archive"]
    classes: list[str] = ["bacteria", "normal", "virus"]
    healthy: str = "normal"  # the class without findings, if there is one
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
    name: Annotated[str, CONTEXT] = ""

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


class Lora(Parameters):
    """Low-rank updates of frozen layers (Hu et al. 2021): scale alpha / rank."""

    rank: Count = 8
    alpha: Positive = 16.0


class Model(Parameters):
    """A backbone, its starting weights, its head, and which part of it is trained."""

    backbone: str = "mobilenet_v2"  # a name in xnn.BACKBONES
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

    @field_validator("backbone")
    @classmethod
    def _is_registered(cls, name):
        if name not in BACKBONES:
            hint = did_you_mean(name, BACKBONES)
            raise ValueError(f"must be one of xnn.BACKBONES{hint}: {', '.join(BACKBONES)}")
        return name

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


class Augmentation(Parameters):
    """Random views of a training image; every value 0 (crop 1) gives the image itself."""

    crop: Annotated[float, Field(gt=0, le=1)] = 0.75  # smallest share of the area kept
    degrees: Annotated[float, Field(ge=0, le=180)] = 10.0  # rotation, either way
    jitter: Annotated[float, Field(ge=0, lt=1)] = 0.25  # brightness and contrast, relative
    flip: Fraction = 0.5  # chance of a mirror image
    trivial: bool = False  # one more change, of random kind and strength (TrivialAugment, arXiv 2103.10158)


class Training(Parameters):
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


class Hardware(Parameters):
    """On what a run is trained; more than one process share every batch (module ``distributed``)."""

    devices: Count = 1  # of each host; without GPUs: processes
    num_nodes: Count = 1  # hosts
    strategy: Literal["auto", "ddp"] = "auto"  # Lightning's; auto is ddp where there are several processes

    @property
    def processes(self) -> int:
        return self.devices * self.num_nodes


class Evaluation(Parameters):
    """How a trained model is asked."""

    flip: bool = False  # average the logits of an image and its mirror image
    resamples: Count = 2000  # of the bootstrap over patients


class Explanation(Parameters):
    """How much is explained, and how exactly."""

    images: Count = 2  # radiographs a class that are shown, right and wrong ones each
    measured: Count = 12  # test images that the measures of the card are taken of
    # expected: the mean over several healthy training images (expected gradients)
    baseline: Literal["black", "mean", "blur", "expected"] = "black"
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01  # relative completeness gap
    max_gradients: Annotated[int, Field(ge=9)] = 1000  # an image; the best map is kept where it is spent


class Run(Parameters):
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
    name: Annotated[str, CONTEXT] = ""
    study: Annotated[Study | None, CONTEXT] = None

    @model_validator(mode="after")
    def _batches_can_be_shared(self):
        size, processes = self.training.batch_size, self.hardware.processes
        if size % processes:
            raise ValueError(
                f"training.batch_size: {size} images cannot be shared by {processes} processes (hardware): "
                f"use a multiple of {processes}"
            )
        return self

    @model_validator(mode="after")
    def _has_healthy_images(self):
        if (
            self.explanation.baseline == "expected"
            and self.study
            and self.study.healthy not in self.study.classes
        ):
            raise ValueError(
                "explanation.baseline: expected needs healthy images, and no class is "
                f"{self.study.healthy!r}: name the healthy one in study.yaml (healthy: ...)"
            )
        return self

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
        if field.exclude or (groups is not None and name not in groups):
            continue
        value = getattr(parameters, name)
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if isinstance(value, BaseModel):
            found[name] = Leaf(True, isinstance(default, BaseModel))
            found |= {f"{name}.{key}": leaf for key, leaf in leaves(value).items()}
        else:
            found[name] = Leaf(to_jsonable_python(value), to_jsonable_python(default))
    return found


def validated(schema: type[Parameters], values: dict, where: str, **context) -> Parameters:
    """The model of a file's values and its context; raise ParameterError, one line per problem.

    Each line begins with `where`.
    """
    problems = [{"type": "extra_forbidden", "loc": (key,)} for key in values if key in _context(schema)]
    try:
        found = schema.model_validate({**values, **context})
    except ValidationError as error:
        problems += error.errors()
    if problems:
        raise ParameterError("\n".join(f"{where}: {_explain(schema, problem)}" for problem in problems))
    return found


def _context(schema: type[BaseModel]) -> list[str]:
    return [name for name, field in schema.model_fields.items() if field.exclude]


def _explain(schema: type[BaseModel], problem: dict) -> str:
    """One line for one of pydantic's errors: key, what is wrong, what is allowed."""
    path = [str(part) for part in problem["loc"]]
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        allowed = sorted(_fields(schema, path[:-1]))
        return f"{key}: unknown key{did_you_mean(path[-1], allowed)}; allowed: {', '.join(allowed)}"
    message = problem["msg"].removeprefix("Value error, ")
    if not key:
        return message
    return f"{key}: {message}, not {reprlib.repr(problem['input'])[:100]}"


def _fields(schema: type[BaseModel], path: list[str]) -> list[str]:
    """The keys allowed at a path of nested models."""
    for part in path:
        schema = schema.model_fields[part].annotation
    return [name for name in schema.model_fields if name not in _context(schema)]


def did_you_mean(word: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
