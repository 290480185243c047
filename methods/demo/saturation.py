"""A function that saturates, on which the axioms can be checked by hand."""

import pandas as pd
import torch
from captum import attr


def saturation(a: float = 2.0, b: float = 1.0) -> pd.DataFrame:
    """Return three attributions of F(a, b) = 1 - relu(1 - a) + b / 2, which saturates in a, and their sums.

    The column difference has F(a, b) - F(0, 0), which the sum of complete attributions equals (after
    Sundararajan et al. 2017, section 2.1).
    """

    def saturating(features):
        return 1 - torch.relu(1 - features[:, 0]) + features[:, 1] / 2

    point = torch.tensor([[a, b]], dtype=torch.float64, requires_grad=True)
    columns = {
        "value": point,
        "gradient": attr.Saliency(saturating).attribute(point, abs=False),
        "gradient_x_input": attr.InputXGradient(saturating).attribute(point),
        "integrated_gradients": attr.IntegratedGradients(saturating).attribute(point),
    }
    table = pd.DataFrame({name: each[0].detach().numpy() for name, each in columns.items()}, index=["a", "b"])
    table.loc["sum"] = table.sum()
    table.loc["sum", ["value", "gradient"]] = float("nan")  # which have no meaningful sum
    table.loc["sum", "difference"] = (saturating(point) - saturating(0 * point)).item()
    return table
