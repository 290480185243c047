"""The schema of studies and runs: every key, its type and its default.

A study is ``params/<study>/study.yaml``; every other file in that folder is a run. A file holds only what
differs from the defaults here. Fields marked `CONTEXT` follow from the place of the file: no file holds them
and no hash includes them.
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

from .backbones import BACKBONES, TIMM, is_known
from .errors import UserError

__by_value__ = True  # pages depend on the values, not on the code that reads them

CHECKOUT = Path(__file__).resolve().parents[2]  # the folder that this code stands in
FLOAT = re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)$")  # text in YAML 1.1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Fraction = Annotated[float, Field(ge=0, le=1)]
Shares = Annotated[tuple[Fraction, Fraction, Fraction], Field(strict=False)]  # YAML only has lists
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # NumPy's range
CONTEXT = Field(exclude=True)


def root() -> Path:
    """Return the project's folder; tests and tools may use another one with the same layout."""
    return Path(os.environ.get("XNN_ROOT", CHECKOUT))


def short(path: Path) -> str:
    """Return a path relative to the project's folder, if it is inside."""
    return (path.relative_to(root()) if path.is_relative_to(root()) else path).as_posix()


class ParameterError(UserError, ValueError):
    """A parameter file that cannot be used; the message names the file, the key and the fix."""


class Parameters(BaseModel):
    """Unknown keys and silent conversions ("3" for 3) are errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


class Archive(Parameters):
    """Where radiographs are downloaded from if ``ARCHIVE`` is not set, their labels and their patients."""

    url: str | None = None
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    bytes: Count | None = None  # expected size, for publishers that give no sha256
    # a CSV table in the archive or in the project, with columns path and label, maybe patient and split;
    # without it, the deepest folder that is named after a class, or the file name, gives the label
    labels: str | None = None
    # regular expressions; group 1 of the first that is found in the file name, or else in the path, is the
    # patient; without one, every file is a patient
    patient: list[str] = []
    attribution: str = ""

    @field_validator("patient")
    @classmethod
    def _has_a_group(cls, patterns):
        for pattern in patterns:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
            if not groups:
                raise ValueError(f"{pattern!r} has no group (...) for the patient")
        return patterns


class Published(Parameters):
    """A result that others published for this split; scores they do not give are left out."""

    source: str
    link: str  # where it can be read
    task: Literal["three classes", "pneumonia", "bacteria or virus"]
    accuracy: Fraction | None = None
    auroc: Fraction | None = None
    sensitivity: Fraction | None = None
    specificity: Fraction | None = None
    f1_macro: Fraction | None = None
    f1_weighted: Fraction | None = None
    differs: str = ""  # weights, resolution, epochs


class Segmenter(Parameters):
    """How a network that marks the lungs is trained."""

    epochs: Count = 8
    batch_size: Count = 32
    learning_rate: Positive = 5e-3


class Study(Parameters):
    """One data set under one protocol."""

    title: str
    source: Literal["phantom", "archive"]
    classes: list[str] = ["bacteria", "normal", "virus"]
    healthy: str = "normal"  # the class without findings, if there is one
    image_size: Annotated[int, Field(ge=32, le=1024)] = 224  # pixels per side
    split: Literal["patient", "image", "official"] = "patient"
    fractions: Shares = (0.8, 0.1, 0.1)  # train, val, test
    set_aside: Annotated[int, Field(ge=0)] = 1  # images per class kept out, as examples for the app
    seed: Seed = 0
    patients: Count = 400  # phantoms only: how many are drawn
    # phantoms only: the letter beside the chest, in a random corner or in one that gives the class away
    marker: Literal["random", "class"] = "random"
    archive: Archive = Archive()
    compare_with: list[str] = []  # studies of the same radiographs under other protocols
    published: list[Published] = []
    segmenter: Segmenter | None = None  # trained on the study's lung masks, if it has any
    name: Annotated[str, CONTEXT] = ""

    @model_validator(mode="after")
    def _is_consistent(self):
        if abs(sum(self.fractions) - 1) > 1e-6 or min(self.fractions) == 0:
            raise ValueError(f"fractions must be three shares above 0 that sum to 1, not {self.fractions}")
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes must be two or more different names, not {self.classes}")
        if self.source == "phantom" and self.classes != ["bacteria", "normal", "virus"]:
            raise ValueError("phantoms have the classes bacteria, normal, virus only")
        if self.source != "phantom" and self.marker != "random":
            raise ValueError("only phantoms have a marker")
        if self.source == "phantom" and self.split == "official":
            raise ValueError("phantoms have no official split: use patient or image")
        return self

    @property
    def synthetic(self) -> bool:
        return self.source == "phantom"

    @property
    def file(self) -> Path:
        return root() / "params" / self.name / "study.yaml"

    @property
    def artifacts(self) -> Path:
        return root() / "artifacts" / self.name

    @property
    def reports(self) -> Path:
        return root() / "reports" / self.name


class Lora(Parameters):
    """Low-rank updates of frozen layers (Hu et al. 2021): scale alpha / rank."""

    rank: Count = 8
    alpha: Positive = 16.0


class Model(Parameters):
    """A backbone, its starting weights, its head, and which part of it is trained."""

    backbone: str = "mobilenet_v2"  # a name in xnn.BACKBONES, or timm/ and a network of timm
    # imagenet, none, the name of a file in WEIGHTS, or (convnextv2) a hub id or a folder
    weights: str = "imagenet"
    start_from: str | None = None  # a run of the same study, to start from its trained model
    # sizes of a network with random weights: of a convnextv2, width_mult of a mobilenet_v2
    config: dict[str, int | float | list[int]] = {}
    hidden: list[Count] = []  # widths of the head's hidden layers
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    # head: feature extraction; all: full; N: fine-tuning of the backbone's last N parameter tensors
    train: Literal["head", "all"] | Count = "all"
    lora: Lora | None = None  # train low-rank updates of their layers instead of the tensors themselves
    image_size: Annotated[int, Field(ge=32, le=1024)] | None = None  # inside the network; None: the study's
    # what it is given of each radiograph, see xnn/data/regions.py; lungs_box: the lungs' box, enlarged;
    # letterbox: the whole in its true aspect ratio, between black bars
    region: Literal["whole", "lungs_only", "lungs_removed", "lungs_box", "letterbox"] = "whole"

    @field_validator("backbone")
    @classmethod
    def _is_registered(cls, name):
        if not is_known(name):
            raise ValueError(f"no backbone of this name{choice(name, [*BACKBONES, f'{TIMM}<name>'])}")
        return name

    @model_validator(mode="after")
    def _has_layers_for_lora(self):
        if self.lora and self.train == "head":
            raise ValueError("lora updates layers of the backbone: set train to all or a number")
        return self

    @property
    def regime(self) -> str:
        if self.lora:
            return "LoRA"
        return {"head": "feature extraction", "all": "full"}.get(self.train, "fine-tuning")


class Augmentation(Parameters):
    """Random views of a training image; with all values 0 (crop 1), the image itself."""

    crop: Annotated[float, Field(gt=0, le=1)] = 0.75  # smallest fraction of the area that is kept
    # width / height of the crop, log-uniform in 1 / aspect to aspect, of those that fit (at most 1 / crop)
    aspect: Annotated[float, Field(ge=1)] = 1.1
    degrees: Annotated[float, Field(ge=0, le=180)] = 10.0  # rotation in either direction
    jitter: Annotated[float, Field(ge=0, lt=1)] = 0.25  # brightness and contrast, relative
    gamma: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of the grey values, relative
    flip: Fraction = 0.5  # probability of a mirror image
    # probability that fine detail is lost: reduced to a quarter of its side or more, and enlarged again
    low_pass: Fraction = 0.0
    noise: Annotated[float, Field(ge=0)] = 0.0  # largest standard deviation of Gaussian noise, grey levels
    recompress: Fraction = 0.0  # probability of a JPEG of quality 40 to 95
    trivial: bool = False  # one more change of random kind and strength (TrivialAugment, arXiv 2103.10158)


class Training(Parameters):
    """How a model is trained."""

    epochs: Count = 20  # at most: early stopping may end a training
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
    # random views per image, with the activations of frozen layers cached for each of them;
    # 0: a new view every epoch, and nothing is cached
    views: Annotated[int, Field(ge=0)] = 0
    workers: Annotated[int, Field(ge=0)] = 0  # processes that prepare images; no effect on results
    # the same weights again on the same machine. On a CPU they always are, so hashes include only false; a
    # GPU warns of operations that it cannot repeat
    deterministic: Annotated[bool, Field(exclude_if=bool)] = True


class Hardware(Parameters):
    """The devices that a run is trained on; several processes share each batch."""

    devices: Count = 1  # per host; without GPUs, processes
    num_nodes: Count = 1  # hosts
    strategy: Literal["auto", "ddp"] = "auto"  # Lightning's; auto is ddp for several processes

    @property
    def processes(self) -> int:
        return self.devices * self.num_nodes


class Evaluation(Parameters):
    """How a trained model is evaluated."""

    flip: bool = False  # average the logits of an image and its mirror image
    # sigma in pixels of a Gaussian blur of each image before the network; 0: none
    smooth: Annotated[float, Field(ge=0, le=16, exclude_if=lambda sigma: not sigma)] = 0.0
    resamples: Count = 2000  # of the bootstrap over patients
    altered: Count | None = None  # test images, drawn at random, that parts are removed from; None: all


class Explanation(Parameters):
    """How many images are explained, and how precisely."""

    images: Count = 2  # shown per class, as many classified correctly as wrongly
    measured: Count = 150  # test images that the measures on the card are computed on
    explains: Literal["log_odds", "logit"] = "log_odds"  # of the predicted class
    # expected: the mean over several healthy training images (expected gradients)
    baseline: Literal["black", "mean", "blur", "expected"] = "blur"
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01  # relative completeness gap
    max_gradients: Annotated[int, Field(ge=9)] = 1000  # per image; after that the best map is kept


class Run(Parameters):
    """One model trained within a study."""

    model: Model = Model()
    training: Training = Training()
    augmentation: Augmentation = Augmentation()
    evaluation: Evaluation = Evaluation()
    explanation: Explanation = Explanation()
    # in a hash only if several processes train
    hardware: Annotated[Hardware, Field(exclude_if=lambda own: own.processes == 1)] = Hardware()
    seed: Seed = 0
    note: str = ""  # a sentence for the run's pages
    online: bool = False  # its weights are downloaded: it is made with ONLINE=1, or by name with RUNS=...
    name: Annotated[str, CONTEXT] = ""
    study: Annotated[Study | None, CONTEXT] = None

    @model_validator(mode="after")
    def _is_consistent(self):
        size, processes = self.training.batch_size, self.hardware.processes
        if size % processes:
            raise ValueError(
                f"training.batch_size: {size} images cannot be shared by {processes} processes (hardware): "
                f"use a multiple of {processes}"
            )
        if size == processes and self.model.regime == "full":
            raise ValueError(
                "training.batch_size: one image has no batch statistics, which a full training needs: "
                f"use {2 * processes} or more"
            )
        lacks_healthy = self.study and self.study.healthy not in self.study.classes
        if lacks_healthy and self.explanation.baseline == "expected":
            raise ValueError(
                "explanation.baseline: expected needs healthy images, and no class is "
                f"{self.study.healthy!r}: name the healthy one in study.yaml (healthy: ...)"
            )
        return self

    @property
    def file(self) -> Path:
        """The file with its parameters; for a run of a sweep, the sweep's."""
        folder, _, name = self.name.rpartition("/")
        return root() / "params" / f"{folder}.yaml" if folder else self.study.file.with_name(f"{name}.yaml")

    @property
    def artifacts(self) -> Path:
        return self.study.artifacts / self.name

    @property
    def reports(self) -> Path:
        return self.study.reports / self.name


def sha256(*parameters: BaseModel | str | int) -> str:
    """Return a hash of parameter values; comments, key order and explicit defaults do not change it."""
    digest = hashlib.sha256()
    for each in parameters:
        digest.update((each.model_dump_json() if isinstance(each, BaseModel) else json.dumps(each)).encode())
    return digest.hexdigest()


class Leaf(typing.NamedTuple):
    """The value of a parameter and its default, as JSON."""

    value: typing.Any
    default: typing.Any


def leaves(parameters: BaseModel, groups: typing.Container[str] | None = None) -> dict[str, Leaf]:
    """Return parameters by dotted key, in some groups (top-level keys) or in all."""
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
    """Return the model of a file's values and its context.

    Raises ParameterError with one line per problem, each of which begins with `where`.
    """
    hidden = [name for name, field in schema.model_fields.items() if field.exclude]
    problems = [{"type": "extra_forbidden", "loc": (key,)} for key in values if key in hidden]
    try:
        found = schema.model_validate({**values, **context})
    except ValidationError as error:
        problems += error.errors()
    if problems:
        raise ParameterError("\n".join(f"{where}: {_explained(schema, problem)}" for problem in problems))
    return found


def _explained(schema: type[BaseModel], problem: dict) -> str:
    """Return one of pydantic's errors as a line: the key, what is wrong, and what is allowed."""
    path = [str(part) for part in problem["loc"]]
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        for part in path[:-1]:
            schema = _model_of(schema, part)
        allowed = sorted(name for name, field in schema.model_fields.items() if not field.exclude)
        return f"{key}: unknown key{choice(path[-1], allowed)}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message}, not {reprlib.repr(problem['input'])[:100]}" if key else message


def _model_of(schema: type[BaseModel], field: str) -> type[BaseModel]:
    """Return the model in a field, also of an optional one or of a list; an index stays in the same model."""
    if field not in schema.model_fields:
        return schema
    annotation = schema.model_fields[field].annotation
    return next(each for each in (annotation, *typing.get_args(annotation)) if hasattr(each, "model_fields"))


def choice(word: str, known: typing.Iterable[str]) -> str:
    """Return a hint at the known word that is nearest, if any is near, and the known words."""
    near = difflib.get_close_matches(word, known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{hint}; choose from {', '.join(known) or '(there is none)'}"
