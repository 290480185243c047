# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Integrated Gradients

# %% [markdown]
# **What do Integrated Gradients promise, and how many steps does it take to keep the promise?**
#
# A *baseline* x′ is an image that stands for "nothing seen". Integrated Gradients divide the difference
# between a network's output F for an image x and for the baseline among the pixels: they follow the straight
# line from x′ to x and credit each pixel with its part of the change.
#
# $$\mathrm{IG}_i(x) = (x_i - x'_i) \int_0^1
# \frac{\partial F}{\partial x_i}(x' + \alpha (x - x')) \, d\alpha$$
#
# Everything on this page is computed from formulas and synthetic phantoms; no patient data are used.

# %% tags=["parameters"]
seed = 0  # for the phantoms, the networks and the random points

# %%
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

import xnn
from demo import draw, fixed, properties, quadrature, saturation, toys
from xnn import plots
from xnn.explain import integrated, localisation, methods

origin = xnn.stamp_of_page(seed)
plots.style()

# %% [markdown]
# ## Why not the gradient alone?
#
# Take F(a, b) = 1 − relu(1 − a) + b / 2 at a = 2, b = 1. Beyond a = 1, F is flat in a, so the gradient is 0
# there although a has raised F by 1. Averaging the gradient along the path from 0 recovers that contribution,
# and the attributions sum to F(x) − F(0).

# %%
saturation.saturation().style.format(precision=2, na_rep="")

# %% [markdown]
# ## The axioms
#
# - *Completeness*: the attributions sum to F(x) − F(x′).
# - *Sensitivity*: a feature that changes F on its own is credited with that change.
# - *Dummy*: a feature that F does not depend on gets zero.
# - *Implementation invariance*: two networks that compute the same function get the same attributions.
# - *Linearity*: the attributions of a weighted sum of functions are the weighted sum of their attributions.
# - *Symmetry*: features with equal values that F treats alike get equal attributions.
#
# Three methods are tested on each axiom at random points of two formulas, exp(a b) and min(a, 1) + b / 2. The
# table gives the largest violation; values near 1e-14 are rounding errors. *One feature after the other*
# integrates along another path: a changes first, and b, which changes second, takes all of their interaction.

# %%
#| tbl-cap: Largest violation of each axiom; 0 is perfect.
violations = properties.deviations(seed)
violations.style.format("{:.1e}")

# %% [markdown]
# The violations of Integrated Gradients come from the bend of min(a, 1), where a rule with a finite number of
# points is not exact. The integral satisfies the axioms; a sum satisfies them only as well as it approximates
# the integral.
#
# ## The path of a real network
#
# Two small networks learn to tell phantoms with a consolidation from healthy ones. They differ only in the
# activation: ReLU, which has a bend, or GELU, which is smooth.

# %%
#| tbl-cap: Accuracy of the two networks.
drawn = toys.phantoms(280, 48, seed)
images, training = xnn.to_input(drawn.images), slice(0, 240)
kinds = {"ReLU": torch.nn.ReLU, "GELU": torch.nn.GELU}
networks = {name: toys.convolutional(kind, 48, seed) for name, kind in kinds.items()}
for network in networks.values():
    toys.fit(network, images[training], drawn.labels[training], 120, seed)
right = {name: toys.right(network, images, drawn.labels) for name, network in networks.items()}
shares = {name: each[240:].float().mean().item() for name, each in right.items()}
pd.Series(shares).to_frame("accuracy on 40 other phantoms").T.style.format("{:.2f}")

# %%
found = (drawn.labels == 1) & right["ReLU"] & right["GELU"]
sick, masks = images[240:][found[240:]][:8], drawn.masks[240:][found[240:].numpy()][:8]
functions = {name: lambda x, network=network: network(x)[:, 1] for name, network in networks.items()}
black, goal = torch.zeros_like(sick[0]), torch.ones(len(sick), dtype=torch.long)

# %%
#| fig-alt: Logit of two networks and its slope along the path from a black image to a phantom.
#| fig-cap: The slope is a staircase with ReLU, a smooth curve with GELU; its area is needed.
places = np.linspace(0, 1, 401)
ways = {name: quadrature.walk(f, sick[0], black, places) for name, f in functions.items()}
draw.path(places, {name: way[0] for name, way in ways.items()}, {name: way[1] for name, way in ways.items()})

# %% [markdown]
# Integrated Gradients need the area under the slope. With ReLU the slope is a staircase: each step is a unit
# that switches on or off. With GELU it is a smooth curve.
#
# ## Error against the number of steps
#
# Four rules choose places on the path and their weights. *Off* is the summed absolute error of the
# attributions, relative to the summed magnitude of the exact ones. For the formulas the exact attributions
# are known; for the networks, 200 Gauss-Legendre points serve as the reference.

# %%
points = torch.rand(6, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5
bends = points + torch.tensor([0.7, 0])
truth = {
    "exp(a b)": ((properties.smooth(points) - 1) / 2)[:, None].expand(-1, 2),
    "min(a, 1) + b / 2": torch.stack([bends[:, 0].clamp(max=1), bends[:, 1] / 2], dim=1),
}
steps, zero = [4, 8, 16, 32, 64], points[0] * 0
tables = {
    "exp(a b)": quadrature.errors(properties.smooth, points, zero, steps, truth["exp(a b)"]),
    "min(a, 1) + b / 2": quadrature.errors(properties.bent, bends, zero, steps, truth["min(a, 1) + b / 2"]),
}

# %%
shown = sick[:4]
for name, function in functions.items():
    exact = [quadrature.attributions(function, one, black, "Gauss-Legendre", 200) for one in shown]
    truth[name] = torch.stack(exact)
    tables[f"{name} network"] = quadrature.errors(function, shown, black, steps, truth[name])
medians = {
    name: each.groupby(["steps", "rule"]).off.median().unstack()[list(quadrature.RULES)]
    for name, each in tables.items()
}

# %%
#| fig-alt: Error of four rules against the number of steps, for two formulas and two networks.
#| fig-cap: "Lower is better: no rule converges quickly where the function has bends."
draw.lines(medians, "steps", "attributions off, relative", log="xy", bottom=1e-7)

# %% [markdown]
# Errors below 1e-7 are not drawn. The table gives the order of convergence, the power of 1 / steps with which
# the error falls (2: twice the steps, a quarter of the error):

# %%
#| tbl-cap: Order of convergence of each rule; higher is better.
powers = pd.DataFrame({name: quadrature.order(each, "off") for name, each in tables.items()})
powers.style.format("{:.1f}")

# %% [markdown]
# ## Steps where they are needed
#
# This project halves the segments of the path whose gradients do not add up to the difference of the logit,
# and stops when the whole path is complete to within 1 %. *Non-uniform* steps are placed where a coarse scan
# shows the logit changing. Each fixed rule is listed with the fewest of the steps tried at which *every*
# image is complete to within 1 %, or the most tried if none suffices.

# %%
rows = {}
for name, network in networks.items():
    asked, exact = (network, shown, goal[: len(shown)], black[None]), truth[name].sum(1).numpy()
    steered = {"adaptive": integrated.integrated_gradients(*asked)}
    steered["non-uniform"] = fixed.non_uniform(*asked, steps=steps[-1])
    for way, each in steered.items():
        away = np.abs(each.maps - exact).sum((1, 2)) / np.abs(exact).sum((1, 2))
        spent = each.gradients.mean(), each.gradients.max()
        rows[name, way] = [*spent, each.gap.max(), np.median(away)]
    for rule, one in quadrature.fewest(tables[f"{name} network"], tolerance=0.01).iterrows():
        rows[name, rule] = [one.steps, one.steps, one.gap, one.off]

# %%
#| tbl-cap: Gradients needed until every image is complete to within 1 %, and the error of the maps.
columns = ["gradients, mean", "most", "largest gap", "maps off, median"]
needed = pd.DataFrame(rows, columns).T
needed.style.format(dict(zip(columns, ["{:.0f}", "{:.0f}", "{:.1%}", "{:.1%}"], strict=True)))

# %% [markdown]
# A small gap does not prove that a map is right: errors of segments can cancel in the sum. A fixed number of
# steps has to be chosen in advance for the worst image; adaptive steps follow each image.
#
# ## Which baseline?
#
# "Nothing seen" is a choice. *Black* treats dark pixels as nothing, *mean* the average of the training
# images, and *blur* the image without its detail; *expected* averages over eight healthy images. *In the
# lesion* is the share of the positive attribution inside the drawn lesion, next to the lesion's share of the
# image. The network is the one with ReLU.

# %%
#| tbl-cap: Attributions from each baseline, means over eight phantoms.
mean, healthy = drawn.images[training].mean(0) / 255, images[:16:2]
starts = {name: methods.baseline(name, sick, mean, healthy) for name in methods.BASELINES}
maps, rows = {}, {}
for name, start in starts.items():
    each = integrated.integrated_gradients(networks["ReLU"], sick, goal, start)
    maps[name] = each.maps[:3]
    inside = localisation.relevance_mass(each.maps, masks).mean()
    rows[name] = [each.difference.mean(), each.gradients.mean(), each.gap.max(), inside, masks.mean()]
columns = ["F(x) − F(x′)", "gradients", "largest gap", "in the lesion", "lesion's area"]
chosen = pd.DataFrame(rows, columns).T
chosen.style.format(dict(zip(columns, ["{:.1f}", "{:.0f}", "{:.1%}", "{:.0%}", "{:.0%}"], strict=True)))

# %%
#| fig-alt: Three phantoms with a consolidation, each next to its attributions from four baselines.
#| fig-cap: "The baseline is part of the answer: attributions of three phantoms from each baseline."
grey = 255 * sick[:3, 0].numpy()
plots.photograph(draw.overlay_table(grey, maps, [f"phantom {i}" for i in (1, 2, 3)]))

# %%
inside = chosen["in the lesion"].sort_values(ascending=False)
gauss, ours = (needed.xs(name, level=1) for name in ("Gauss-Legendre", "adaptive"))

# %%
Markdown(
    f"**Answer.** Integrated Gradients promise that all attributions sum to F(x) − F(x′). The integral keeps "
    f"the promise; a sum in its place keeps it as far as its steps allow. The error of "
    f"Gauss-Legendre falls with the power "
    f"{powers['ReLU network']['Gauss-Legendre']:.1f} of the steps in the network with ReLU and with "
    f"{powers['GELU network']['Gauss-Legendre']:.1f} in that with GELU: where there are bends, no rule "
    f"saves steps. With {gauss['most']['ReLU']:.0f} of them the largest gap on {len(shown)} images is "
    f"{gauss['largest gap']['ReLU']:.1%} with ReLU, and with {gauss['most']['GELU']:.0f} it is "
    f"{gauss['largest gap']['GELU']:.1%} with GELU. Adaptive steps reach 1 % with "
    f"{ours['gradients, mean']['ReLU']:.0f} and {ours['gradients, mean']['GELU']:.0f} gradients an image; "
    f"their maps are {ours['maps off, median']['ReLU']:.1%} and {ours['maps off, median']['GELU']:.1%} "
    f"off. The lesion is {masks.mean():.0%} of the image and gets "
    f"{', '.join(f'{share:.0%} ({name})' for name, share in inside.items())} of the positive attribution: "
    f"the baseline is part of the answer."
)

# %% [markdown]
# ## References
#
# - Sundararajan, Taly, Yan, *Axiomatic attribution for deep networks*, 2017: [arXiv
#   1703.01365](https://arxiv.org/abs/1703.01365)
# - Sturmfels, Lundberg, Lee, *Visualizing the impact of feature attribution baselines*, 2020:
#   [doi:10.23915/distill.00022](https://doi.org/10.23915/distill.00022)
# - Erion et al., *Improving performance of deep learning models with axiomatic attribution priors and
#   expected gradients*, 2021: [arXiv 1906.10670](https://arxiv.org/abs/1906.10670)
# - Bhat, Raychowdhury, *Non-uniform interpolation in Integrated Gradients for low-latency explainable-AI*,
#   2023: [arXiv 2302.11107](https://arxiv.org/abs/2302.11107)

# %%
xnn.timed(origin)
