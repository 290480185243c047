"""The weights that a backbone starts from: of a file, torchvision, the Hugging Face hub, or none."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..config.provenance import file_sha256
from ..config.schema import ROOT, Model

if TYPE_CHECKING:
    import torch  # takes seconds to import, and to look for a file needs none of it

HUB = {"convnextv2": "facebook/convnextv2-tiny-1k-224"}  # what "imagenet" means there


class WeightsError(ValueError):
    """Starting weights that cannot be had or do not fit; the message names what was tried."""


class Weights(NamedTuple):
    """A state dict with the keys of torchvision or transformers; None for random weights."""

    state: dict[str, torch.Tensor] | None
    source: str  # in words, for the reader
    sha256: str  # "" for random weights


def find(spec: Model) -> Weights:
    """Fetch what ``model.weights`` names; raise WeightsError where it cannot be had.

    ``none``; ``imagenet`` (or the name of one of torchvision's weight enums); a safetensors file, in
    the folder WEIGHTS or by its path; for convnextv2 an id of the hub or a folder laid out like it.
    With WEIGHTS set, ``<backbone>-imagenet1k.safetensors`` there serves for ``imagenet``.
    """
    if spec.weights == "none":
        return Weights(None, "random (no pretrained weights)", "")
    if file := local_file(spec):
        from safetensors.torch import load_file

        try:
            return Weights(load_file(file), f"{spec.weights}: {file.name}", file_sha256(file))
        except Exception as error:  # SafetensorError, which is no OSError
            raise WeightsError(f"{file} is no safetensors file: {str(error)[:200]}") from None
    state = _download(spec)
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(state[name].contiguous().numpy().tobytes())
    return Weights(state, f"{spec.weights}: downloaded", digest.hexdigest())


def sizes(state: dict[str, torch.Tensor] | None) -> dict:
    """depths and hidden_sizes of the ConvNeXtV2 whose weights these are; nothing for another network."""
    depths, widths = {}, {}
    for name, tensor in (state or {}).items():
        if found := re.search(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.dwconv\.weight$", name):
            stage, layer = map(int, found.groups())
            depths[stage] = max(depths.get(stage, 0), layer + 1)
            widths[stage] = len(tensor)
    if not depths:
        return {}
    stages = sorted(depths)
    return {"depths": [depths[s] for s in stages], "hidden_sizes": [widths[s] for s in stages]}


def local_file(spec: Model) -> Path | None:
    """Return the safetensors file of ``model.weights`` on this machine, None where there is none.

    It lies in WEIGHTS by its name, ``<backbone>-imagenet1k`` for imagenet, or is given by its path.
    """
    names = [f"{spec.backbone}-imagenet1k.safetensors"] if spec.weights == "imagenet" else [spec.weights]
    folder = os.environ.get("WEIGHTS")
    if folder:
        place = ROOT / Path(folder).expanduser()
        if not place.is_dir():
            raise WeightsError(f"WEIGHTS={place}: no such folder")
        names = [place / name for name in names] + names
    return next((ROOT / name for name in names if (ROOT / name).is_file()), None)


def _download(spec: Model) -> dict[str, torch.Tensor]:
    """A state dict from torchvision or from the Hugging Face hub (or a folder like it)."""
    tried = ""
    try:
        if spec.backbone == "convnextv2":
            from transformers import ConvNextV2Model

            tried = HUB[spec.backbone] if spec.weights == "imagenet" else spec.weights
            return ConvNextV2Model.from_pretrained(tried, use_safetensors=True).state_dict()
        import torch
        from torchvision.models import get_model_weights

        known = get_model_weights(spec.backbone)
        name = "DEFAULT" if spec.weights == "imagenet" else spec.weights
        if name not in known.__members__:
            raise LookupError(f"neither a file nor one of torchvision's {', '.join(known.__members__)}")
        tried = known[name].url
        return torch.hub.load_state_dict_from_url(tried, check_hash=True, weights_only=True)
    except Exception as error:  # of urllib, the hub, files
        raise WeightsError(_cannot_have(spec, tried, error)) from None


def _cannot_have(spec: Model, tried: str, error: Exception) -> str:
    place = os.environ.get("WEIGHTS") or "unset"
    reason = (str(error) or type(error).__name__).splitlines()[0][:160]
    return (
        f"model.weights: {spec.weights} for {spec.backbone} cannot be had: tried WEIGHTS ({place})"
        f"{f' and {tried}' if tried else ''} ({reason}); put {spec.backbone}-imagenet1k.safetensors in a "
        "folder and set WEIGHTS to it, or set weights: none"
    )
