"""``Segmenter``, a small U-Net (Ronneberger et al. 2015) that marks the lungs of a radiograph."""

import itertools
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors.torch import load_model
from torch import nn

from ..config.schema import root
from .weights import WeightsError

SIDE = 112  # of its input in pixels; maps inside have half of it and less
BATCH = 32  # images in one pass
WIDTHS = (16, 32, 48, 64)  # channels, finest first


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(before, after, 3, stride, 1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(after), nn.ReLU())


class Segmenter(nn.Module, PyTorchModelHubMixin, library_name="xnn", license="mit"):
    """A network from grey images (N, SIDE, SIDE), standardised, to logits (N, SIDE, SIDE) of lung."""

    def __init__(self, widths: list[int] = WIDTHS):
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.stem = nn.Sequential(_convolution(1, widths[0], 2), _convolution(widths[0], widths[0]))
        down = [nn.Sequential(_convolution(a, b, 2), _convolution(b, b)) for a, b in pairs]
        self.down = nn.ModuleList(down)
        self.up = nn.ModuleList(_convolution(a + b, a) for a, b in reversed(pairs))
        self.last = nn.Conv2d(widths[0], 1, 1)
        self.register_buffer("usual", torch.zeros(SIDE, SIDE))  # mean of the training masks

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = [self.stem(images.unsqueeze(1))]
        for block in self.down:
            maps.append(block(maps[-1]))
        found = maps.pop()
        for block in self.up:
            found = nn.functional.interpolate(found, scale_factor=2, mode="bilinear")
            found = block(torch.cat([found, maps.pop()], 1))
        return nn.functional.interpolate(self.last(found), scale_factor=2, mode="bilinear").squeeze(1)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, map_location: str = "cpu", **options):
        """Return a saved model in evaluation mode (the mixin's hook, which would load pickles as well)."""
        file = Path(model_id) / "model.safetensors"
        if not file.exists():
            raise WeightsError(f"{model_id}: no model.safetensors")
        model = cls(**{name: value for name, value in options.items() if name == "widths"})
        try:
            load_model(model, file, device=map_location)
        except Exception as error:  # RuntimeError of torch, SafetensorError of a damaged file
            raise WeightsError(f"{file} does not fit its config.json: {str(error)[:300]}") from None
        return model.eval()


def small(images: np.ndarray) -> torch.Tensor:
    """Return grey images (N, H, W) uint8 at the size of a Segmenter (N, SIDE, SIDE), float."""
    grey = torch.as_tensor(np.array(images)).unsqueeze(1)
    parts = [
        nn.functional.interpolate(part.float(), (SIDE, SIDE), mode="bilinear", antialias=True)
        for part in grey.split(64)
    ]
    return torch.cat(parts).squeeze(1)


def standardised(images: np.ndarray) -> torch.Tensor:
    """Return grey images (N, H, W) uint8 as a Segmenter takes them: small, with mean 0 and deviation 1."""
    grey = small(images)
    return (grey - grey.mean((1, 2), keepdim=True)) / (grey.std((1, 2), keepdim=True) + 1)


def overlap(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return the Dice coefficient (N,) of masks or probabilities (N, H, W): 1 where they are the same."""
    both = (one * other).sum((-2, -1))
    return 2 * both / (one.sum((-2, -1)) + other.sum((-2, -1))).clamp(min=1e-6)


def segment(model: Segmenter, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lungs of grey images (N, H, W) uint8, and how usual their place and shape are.

    Masks (N, H, W) bool, and the Dice coefficient (N,) of the probabilities and the mean training mask.
    """
    masks, values = [], []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            batch = np.asarray(images[start : start + BATCH])
            found = model.eval()(standardised(batch).to(model.usual.device)).sigmoid()
            values.append(overlap(found, model.usual).cpu())
            full = nn.functional.interpolate(found.unsqueeze(1), batch.shape[1:], mode="bilinear")
            masks.append((full.squeeze(1) > 0.5).cpu())
    return torch.cat(masks).numpy(), torch.cat(values).numpy()


def shipped_masks(images: np.ndarray) -> np.ndarray | None:
    """Return the lungs that the segmenter in models/ finds, as `segment`; None if there is none."""
    folder = root() / "models/lungs"
    return segment(Segmenter.from_pretrained(folder), images)[0] if folder.is_dir() else None
