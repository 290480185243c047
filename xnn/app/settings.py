"""How the API is run: every setting has a default and an environment variable XNN_<NAME>."""

import os
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

MODEL = "models/kermany-mobilenetv2-full"


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it and the fix in one line."""


def _split(value):
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_split)]  # separated by commas


class Settings(BaseModel):
    """Bytes, seconds and counts that bound what a request may cost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = MODEL  # a folder, or an id of the hub
    host: str = "127.0.0.1"  # nobody but this machine, unless asked for
    port: int = Field(8000, ge=0, lt=2**16)
    hosts: Names = ["127.0.0.1", "localhost"]  # names that the API answers to
    origins: Names = []  # pages of other hosts that may read answers (CORS); none
    max_bytes: int = Field(10 * 2**20, ge=1)  # of a request; a radiograph of the public archive has 2 MB
    body_seconds: float = Field(20, gt=0)  # for a request to arrive
    seconds: float = Field(30, gt=0)  # for it to be answered, waiting included
    slots: int = Field(1, ge=1)  # images worked on side by side; each uses all threads
    waiting: int = Field(15, ge=0)  # requests that may wait or arrive; more are answered 503
    max_gradients: int = Field(200, ge=9)  # of an explanation; most are complete with 25
    threads: int = Field(0, ge=0)  # of the network; 0: as many as there are cores
    dicom: bool = False  # take DICOM files as well; needs the package pydicom


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings of the variables XNN_<NAME>; raise SettingsError where one cannot be used."""
    given = {
        name: environment[f"XNN_{name.upper()}"] for name in Settings.model_fields if _has(environment, name)
    }
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        raise SettingsError(f"XNN_{name.upper()}={given[name]}: {problem['msg'].lower()}") from None


def _has(environment, name):
    return environment.get(f"XNN_{name.upper()}", "") != ""
