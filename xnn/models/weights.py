"""Starting weights of a backbone: from a file, torchvision, timm or the Hugging Face hub, or random."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from ..config.backbones import TIMM
from ..config.errors import UserError
from ..config.provenance import file_sha256
from ..config.schema import Model, root

HUB = {"convnextv2": "facebook/convnextv2-tiny-1k-224"}  # what "imagenet" means for backbones of the hub


class WeightsError(UserError, ValueError):
    """Weights that are missing or do not fit; the message names what was tried."""


class Weights(NamedTuple):
    """A state dict with the keys of the backbone's library; None for random weights."""

    state: dict | None
    source: str  # in words
    sha256: str  # "" for random weights


def find(spec: Model) -> Weights:
    """Return the weights that ``model.weights`` names; raise WeightsError where they cannot be had.

    ``none``; ``imagenet`` (or the name of one of torchvision's weight enums); a safetensors file, in
    the folder WEIGHTS or by its path; for convnextv2 an id of the hub or a folder laid out like it.
    With WEIGHTS set, ``<backbone>-imagenet1k.safetensors`` there serves for ``imagenet``.
    """
    if spec.weights == "none":
        return Weights(None, "random (no pretrained weights)", "")
    if file := local_file(spec):
        from safetensors.torch import load_file  # imports torch, which takes seconds

        try:
            return Weights(load_file(file), f"{Path(spec.weights).name}: {file.name}", file_sha256(file))
        except Exception as error:  # SafetensorError, which is no OSError
            raise WeightsError(f"{file} is no safetensors file: {str(error)[:200]}") from None
    state = _download(spec)
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(state[name].contiguous().numpy().tobytes())
    folder = root() / spec.weights
    source = f"{folder.name}: a local folder" if folder.is_dir() else f"{spec.weights}: downloaded"
    return Weights(state, source, digest.hexdigest())


def local_file(spec: Model) -> Path | None:
    """Return the safetensors file of ``model.weights`` on this machine, None where there is none.

    It lies in WEIGHTS by its name, ``<backbone>-imagenet1k`` for imagenet, or is given by its path.
    """
    names = [_file(spec) if spec.weights == "imagenet" else spec.weights]
    if folder := os.environ.get("WEIGHTS"):
        place = root() / Path(folder).expanduser()
        if not place.is_dir():
            raise WeightsError(f"WEIGHTS={place}: no such folder")
        names = [place / names[0], *names]
    return next((root() / name for name in names if (root() / name).is_file()), None)


def _file(spec: Model) -> str:
    """Return the name of a file of ImageNet weights."""
    return f"{spec.backbone.removeprefix(TIMM)}-imagenet1k.safetensors"


def _download(spec: Model) -> dict:
    """Return a state dict from torchvision, timm, or the Hugging Face hub (or a folder like it)."""
    source = HUB.get(spec.backbone, "") if spec.weights == "imagenet" else spec.weights
    try:
        if spec.backbone in HUB:
            from transformers import ConvNextV2Model, logging

            logging.set_verbosity_error()  # its report on the weights left out names the folder
            place = root() / source if (root() / source).is_dir() else source
            return ConvNextV2Model.from_pretrained(place, use_safetensors=True).state_dict()
        if spec.backbone.startswith(TIMM):
            if spec.weights != "imagenet":
                raise LookupError("neither a file nor imagenet")
            import timm

            source = f"the hub's {spec.backbone}"
            return timm.create_model(spec.backbone.removeprefix(TIMM), pretrained=True).state_dict()
        import torch
        from torchvision.models import get_model_weights

        known = get_model_weights(spec.backbone).__members__
        name = "DEFAULT" if spec.weights == "imagenet" else spec.weights
        if name not in known:
            raise LookupError(f"neither a file nor one of torchvision's {', '.join(known)}")
        source = known[name].url
        return torch.hub.load_state_dict_from_url(source, check_hash=True, weights_only=True)
    except Exception as error:  # of urllib, the hub, files
        reason = (str(error) or type(error).__name__).splitlines()[0][:160]
        raise WeightsError(
            f"model.weights: {spec.weights} for {spec.backbone} cannot be had: tried WEIGHTS "
            f"({os.environ.get('WEIGHTS') or 'unset'}){f' and {source}' if source else ''} ({reason}); put "
            f"{_file(spec)} in a folder and set WEIGHTS to it, or set weights: none"
        ) from None
