"""What is explained: a network's evidence for each class."""

import copy

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse

from ..config.schema import Run
from ..models.classifier import Classifier


class Evidence(nn.Module):
    """A network from radiographs (N, 3, H, W) to the log-odds of each class (N, C).

    The log-odds of a class are its logit minus the log-sum-exp of the others: the logarithm of p / (1 - p),
    so that attributions add up to a change in evidence. With `flip` the logits are means over an image and
    its mirror image, as where a run's answers are. Norm layers are merged into the convolutions before them,
    which is faster and changes results by rounding alone; parameters need no gradients.

    Parameters
    ----------
    network : it is copied.
    explains : log_odds, or logit for the plain logits.
    """

    def __init__(self, network: Classifier, explains: str = "log_odds", flip: bool = False):
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        blocks = self.network.backbone
        for number, block in enumerate(blocks):
            if any(isinstance(part, nn.BatchNorm2d) for part in block.modules()):
                blocks[number] = fuse(block)
        self.explains, self.flip = explains, flip
        self.to(memory_format=torch.channels_last)

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
