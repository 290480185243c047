"""What the axioms of Integrated Gradients mean, on a function small enough to be followed by hand."""

import pandas as pd
import torch
from captum.attr import IntegratedGradients

STEPS = 50  # of the path


def saturating(features: torch.Tensor) -> torch.Tensor:
    """F(a, b) = 1 - relu(1 - a) + b / 2, for (N, 2): once a is above 1, more of it changes nothing.

    The example of Sundararajan et al. 2017, section 2.1, and a second feature that does not saturate.
    """
    return 1 - torch.relu(1 - features[:, 0]) + features[:, 1] / 2


def saturation(a: float = 2.0, b: float = 1.0) -> pd.DataFrame:
    """Gradient, gradient x input and Integrated Gradients (baseline 0) of both features, and their sums.

    Returns
    -------
    Rows a, b and "sum"; columns value, gradient, gradient_x_input, integrated_gradients and difference,
    F(x) - F(0), in the row of the sum.
    """
    point = torch.tensor([[a, b]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(saturating(point).sum(), point)
    integrated = IntegratedGradients(saturating).attribute(point, n_steps=STEPS)
    columns = {
        "value": point,
        "gradient": gradient,
        "gradient_x_input": gradient * point,
        "integrated_gradients": integrated,
    }
    table = pd.DataFrame({name: each[0].detach().numpy() for name, each in columns.items()}, index=["a", "b"])
    table.loc["sum"] = table.sum()
    table.loc["sum", ["value", "gradient"]] = float("nan")  # a sum of these means nothing
    origin = torch.zeros_like(point)
    table.loc["sum", "difference"] = (saturating(point) - saturating(origin)).item()
    return table
