"""What is explained: a network's evidence for each class."""

import copy
from contextlib import suppress

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError

from ..config.schema import Run
from ..models.classifier import Classifier


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


class Evidence(nn.Module):
    """A network from radiographs (N, 3, H, W) to the log-odds of each class (N, C).

    The log-odds of a class are its logit minus the log-sum-exp of the others: the logarithm of p / (1 - p),
    so that attributions add up to a change in evidence. With `flip` the logits are means over an image and
    its mirror image, as where a run's answers are.

    Parameters
    ----------
    network : it is copied, as `fused` has it.
    explains : log_odds, or logit for the plain logits.
    """

    def __init__(self, network: Classifier, explains: str = "log_odds", flip: bool = False):
        super().__init__()
        self.network = fused(network)
        self.explains, self.flip = explains, flip
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


def log_odds(logits: torch.Tensor) -> torch.Tensor:
    """Return the log-odds (N, C) of the softmax of logits (N, C), C of 2 or more."""
    own = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    return logits - logits.unsqueeze(1).masked_fill(own, -torch.inf).logsumexp(2)


def explained(run: Run, network: Classifier) -> Evidence:
    """Return what a run's pages explain: its answers, averaged over the mirror image if they are."""
    return Evidence(network, run.explanation.explains, run.evaluation.flip)
