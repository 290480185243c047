"""Evidence of an image and of its mirror image, computed at the same time on a CPU."""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from ..models.classifier import Classifier
from .target import log_odds

HELPERS = ThreadPoolExecutor(thread_name_prefix="half")


class Halves(nn.Module):
    """The log-odds of ``Evidence`` with `flip`, and their gradient; image and mirror image in a thread each.

    Threads within an operation would wait for each other at its end, for long where other work runs. Layers
    of the network are not to be hooked: two threads pass through them.
    """

    def __init__(self, network: Classifier):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        one, other = _Apart.apply(torch.cat([images, images.flip(-1)]), self.network).chunk(2)
        return log_odds((one + other) / 2)


class _Apart(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images, network):
        ctx.images = [each.detach().requires_grad_() for each in images.chunk(2)]
        with torch.enable_grad():  # that of a thread is its own
            ctx.logits = _both(network, ctx.images)
        return torch.cat(ctx.logits).detach()

    @staticmethod
    def backward(ctx, slopes):
        found = _both(torch.autograd.grad, ctx.logits, ctx.images, slopes.chunk(2))
        return torch.cat([gradient for (gradient,) in found]), None


def _both(call, *pairs) -> list:
    """Return the results for the first of each pair and for the second."""
    one, other = zip(*pairs, strict=True)
    later = HELPERS.submit(call, *other)
    return [call(*one), later.result()]
