"""Settings of the app: each has a default and an environment variable XNN_<NAME>."""

import re
import socket
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MODEL, LUNGS = "models/kermany-mobilenetv2-112-robust", "models/lungs"
# what a question may choose; here because the page needs them, and the page works without torch
Method = Literal[
    "integrated_gradients", "saliency", "gradient_x_input", "smoothgrad_ig", "grad_cam", "occlusion"
]
Baseline = Literal["blur", "black", "mean"]
Scale = Literal["smoothed", "pixels", "regions"]


class SettingsError(ValueError):
    """A setting, or the model that it names, cannot be used; the message says why in one line."""


def _split(value):
    return re.findall(r"[^,\s]+", value) if isinstance(value, str) else value


Names = Annotated[list[str], NoDecode, BeforeValidator(_split)]  # separated by commas


class Settings(BaseSettings):
    """Addresses of the API and the page, and limits on what a request may cost."""

    model_config = SettingsConfigDict(env_prefix="XNN_", env_ignore_empty=True, extra="forbid", frozen=True)

    model: str = MODEL  # a folder, or an id on the Hugging Face hub
    lungs: str = LUNGS  # a folder with a lung segmenter
    host: str = "127.0.0.1"  # address of the API; by default only this machine can reach it
    port: int = Field(8000, ge=0, lt=2**16)
    hosts: Names = ["127.0.0.1", "localhost"]  # Host headers that the API accepts
    origins: Names = []  # other origins whose pages may read answers (CORS)
    ui_host: str = "127.0.0.1"  # address of the page
    ui_port: int = Field(8501, ge=0, lt=2**16)
    api: str = "http://127.0.0.1:8000"  # the API that the page calls
    ready_seconds: float = Field(120, gt=0)  # for the model to load, downloaded if need be
    max_bytes: int = Field(10 * 2**20, ge=1)  # per request; radiographs of the public archive have up to 2 MB
    body_seconds: float = Field(20, gt=0)  # for a request to arrive
    seconds: float = Field(30, gt=0)  # for an answer, waiting included
    slots: int = Field(1, ge=1)  # images processed at once; each uses all threads
    waiting: int = Field(31, ge=0)  # further requests admitted, if they can be answered in time; else a 503
    max_gradients: int = Field(200, ge=9)  # per explanation; most need 25
    threads: int = Field(0, ge=0)  # of the network; 0: one per core


def load() -> Settings:
    """Return the settings of this process's environment; raise SettingsError if one is invalid."""
    try:
        return Settings()
    except ValidationError as error:
        problem = error.errors()[0]
        name = f"XNN_{problem['loc'][0]}".upper()
        raise SettingsError(f"{name}={problem['input']}: {problem['msg'].lower()}") from None


def listen(host: str, port: int, prefix: str) -> socket.socket:
    """Return a listening socket; raise SettingsError if there is none. The prefix is that of the settings."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = error.strerror.partition(" (")[0].lower()  # create_server repeats the address there
        raise SettingsError(f"{prefix}PORT={port} on {prefix}HOST={host}: {reason}") from None
