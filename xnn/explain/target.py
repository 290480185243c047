"""What is explained: a network's evidence for each class."""

import copy
from contextlib import suppress

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError

from ..config.schema import Run
from ..models.classifier import Classifier, bfloat16


def fused(network: Classifier) -> Classifier:
    """Return a copy whose norm layers are merged into the convolutions before them, without gradients.

    It is faster, and its logits differ by rounding alone. Blocks that cannot be traced stay as they are.
    """
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    for number, block in enumerate(copied.backbone):
        if any(isinstance(part, nn.BatchNorm2d) for part in block.modules()):
            with suppress(TraceError, TypeError):
                copied.backbone[number] = fuse(block)
    return copied.to(memory_format=torch.channels_last)


class Rounded(nn.Module):
    """A network that computes in bfloat16, from images (N, 3, H, W) to logits (N, C) float32."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return self.network(images).float()


class Evidence(nn.Module):
    """A network from radiographs (N, 3, H, W) to the log-odds of each class (N, C).

    The log-odds of a class are its logit minus the log-sum-exp of the others: the logarithm of p / (1 - p),
    so that attributions add up to a change in evidence. With `flip` the logits are means over an image and
    its mirror image, as where a run's answers are.

    Parameters
    ----------
    network : it is copied, as `fused` has it.
    explains : log_odds, or logit for the plain logits.
    fast : what `rounded` returns computes in bfloat16.
    """

    def __init__(
        self, network: Classifier, explains: str = "log_odds", flip: bool = False, fast: bool = False
    ):
        super().__init__()
        self.network = fused(network)
        self.explains, self.flip, self.fast = explains, flip, fast
        self.places = 2 if flip else 1  # that an image takes in a batch

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.logits(images)
        return log_odds(logits) if self.explains == "log_odds" else logits

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, C) of the run's answers."""
        if not self.flip:
            return self.network(images)
        one, other = self.network(torch.cat([images, images.flip(-1)])).chunk(2)  # Grad-CAM reads both halves
        return (one + other) / 2

    def rounded(self) -> "Evidence":
        """Return what measures ask, many times and without gradients: the same, in bfloat16 if `fast`.

        That moves no score by more than 0.005 (benchmarks/attribution.md).
        """
        if not self.fast:
            return self
        other = copy.deepcopy(self)
        other.network = Rounded(other.network)
        return other


def log_odds(logits: torch.Tensor) -> torch.Tensor:
    """Return the log-odds (N, C) of the softmax of logits (N, C), C of 2 or more."""
    own = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    return logits - logits.unsqueeze(1).masked_fill(own, -torch.inf).logsumexp(2)


def explained(run: Run, network: Classifier) -> Evidence:
    """Return what a run's pages explain: its answers, averaged over the mirror image if they are."""
    return Evidence(network, run.explanation.explains, run.evaluation.flip, bfloat16(run))
