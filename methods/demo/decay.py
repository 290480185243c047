"""Shrinkage of weights under weight decay and under an L2 penalty, for SGD, Adam and AdamW."""

import numpy as np
import pandas as pd
import torch

OPTIMISERS = {"SGD, L2": torch.optim.SGD, "Adam, L2": torch.optim.Adam, "AdamW": torch.optim.AdamW}


def pulled(scales: list[float], steps: int, rate: float, decay: float, seed: int) -> pd.DataFrame:
    """Return the mean weight after training on noise gradients, so that only the decay moves the weights.

    Parameters
    ----------
    scales : sizes of the noise, with 256 weights each; half of them get the other half's noise with the
        opposite sign, so that its mean is exactly 0.
    steps, rate, decay : for every optimiser; for SGD and Adam the decay is an L2 penalty.

    Returns
    -------
    One row per scale, one column per optimiser, for weights that start at 1; column "decay alone" is
    (1 - rate x decay) ** steps.
    """
    sizes, found = torch.tensor(scales).view(-1, 1), {}
    for name, kind in OPTIMISERS.items():
        rng = torch.Generator().manual_seed(seed)
        weights = torch.nn.Parameter(torch.ones(len(scales), 256))
        optimiser = kind([weights], lr=rate, weight_decay=decay)
        for _ in range(steps):
            noise = torch.randn(len(scales), 128, generator=rng)
            weights.grad = sizes * torch.cat([noise, -noise], dim=1)
            optimiser.step()
        found[name] = weights.detach().mean(1).numpy()
    found["decay alone"] = np.full(len(scales), (1 - rate * decay) ** steps)
    return pd.DataFrame(found, index=pd.Index(scales, name="size of the gradients"))


def first_step(weight: float, gradient: float, rate: float, decay: float) -> pd.DataFrame:
    """Return one step of each optimiser from `weight`: columns change and "of decay", the decay's part."""
    rows = {}
    for name, kind in OPTIMISERS.items():
        steps = []
        for amount in (decay, 0.0):
            parameter = torch.nn.Parameter(torch.tensor([weight], dtype=torch.float64))
            optimiser = kind([parameter], lr=rate, weight_decay=amount)
            parameter.grad = torch.tensor([gradient], dtype=torch.float64)
            optimiser.step()
            steps.append(parameter.item() - weight)
        rows[name] = {"change": steps[0], "of decay": steps[0] - steps[1]}
    return pd.DataFrame(rows).T
