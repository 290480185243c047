# ---
# title: Integrated Gradients
# description: what they promise, and how many steps it takes to keep it
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
# **What do Integrated Gradients promise, and how many steps does it take to keep the promise?**
#
# They share out the difference between a network's output F for an image x and for a *baseline* x′ that
# stands for "nothing seen". Walk from x′ to x in a straight line, and credit every pixel with its part of the
# climb:
#
# IG<sub>i</sub>(x) = (x<sub>i</sub> − x′<sub>i</sub>) · ∫<sub>0</sub><sup>1</sup> ∂F / ∂x<sub>i</sub> (x′ + α
# (x − x′)) dα
#
# Everything on this page is computed from formulas and drawn phantoms: synthetic, no patient.

# %% tags=["parameters"]
seed = 0  # of the phantoms, the networks and the random points

# %%
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

import xnn
from demo import figures, fixed, properties, quadrature, toys
from xnn import plots
from xnn.explain import integrated, localisation, methods

origin = xnn.stamp_of_page(seed)
plots.style()

# %% [markdown]
# ## Why not the gradient alone?
#
# F(a, b) = 1 − relu(1 − a) + b / 2 at a = 2, b = 1. Beyond a = 1 more of a changes nothing, so the gradient
# by a is 0 there, although a has raised F by 1. The average over the way from 0 finds it, and the column adds
# up.

# %%
methods.saturation().style.format(precision=2, na_rep="")

# %% [markdown]
# ## The axioms
#
# - *Completeness*: the attributions sum to F(x) − F(x′).
# - *Sensitivity*: a feature that alone makes a difference gets it.
# - *Dummy*: a feature that F does not read gets nothing.
# - *Implementation invariance*: two networks that compute the same get the same.
# - *Linearity*: a sum of functions gets the sum of their attributions.
# - *Symmetry*: features that F treats alike, and that are alike, get alike.
#
# Each is asked of three methods at random points of two formulas, exp(a b) and min(a, 1) + b / 2, and the
# largest violation is told; what is of the order of 1e-14 is rounding. *One feature after the other* follows
# another path: a goes first, and takes what the two do together.

# %%
violations = properties.deviations(seed)
violations.style.format("{:.1e}")

# %% [markdown]
# All that Integrated Gradients miss is at the bend of min(a, 1), where a rule with a number of points is not
# exact: the integral keeps the axioms, a sum in its place does so as far as it is near.
#
# ## The path of a real network
#
# Two small networks learn to tell phantoms with a consolidation from healthy ones. They differ in one thing:
# ReLU, which has a bend, or GELU, which has none.

# %%
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
#| fig-alt: The logit of two networks and its slope on the way from a black image to a phantom.
places = np.linspace(0, 1, 401)
ways = {name: quadrature.walk(f, sick[0], black, places) for name, f in functions.items()}
figures.path(
    places, {name: way[0] for name, way in ways.items()}, {name: way[1] for name, way in ways.items()}
)

# %% [markdown]
# The area under the slope is what has to be found. With ReLU the slope is a staircase: every step is a unit
# that goes on or off. With GELU it is a smooth curve.
#
# ## How wrong are how many steps?
#
# Four rules choose places on the path and their weights. *Off* is the summed magnitude of what is wrong with
# the attributions, relative to that of the true ones: those of the formulas are known, and 200 Gauss-Legendre
# points stand for those of the networks.

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
figures.lines(medians, "steps", "attributions off, relative", log="xy", bottom=1e-7)

# %% [markdown]
# Errors below 1e-7 are not drawn. The power of 1 / steps that the error falls with (2: twice the steps, a
# quarter of the error):

# %%
powers = pd.DataFrame({name: quadrature.order(each, "off") for name, each in tables.items()})
powers.style.format("{:.1f}")

# %% [markdown]
# ## Steps where they are needed
#
# This project halves those segments of the path on which the gradients do not add up to the logit's
# difference, and stops when the whole does to within 1 %; *non-uniform* steps go where a coarse scan sees the
# logit change. Beside it the rules, with the fewest of the steps tried at which *every* image is complete to
# 1 %, or the most tried where none suffice.

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
columns = ["gradients, mean", "most", "largest gap", "maps off, median"]
needed = pd.DataFrame(rows, columns).T
needed.style.format(dict(zip(columns, ["{:.0f}", "{:.0f}", "{:.1%}", "{:.1%}"], strict=True)))

# %% [markdown]
# A small gap is no proof of a right map: errors of segments cancel in the sum. A fixed number of steps has to
# be chosen for the worst image before any is seen; the adaptive ones follow the image.
#
# ## Which baseline?
#
# "Nothing seen" is a choice. *Black* calls every dark pixel nothing; *mean* the average of the training
# images; *blur* the image without its details; *expected* averages over eight healthy images. *In the
# lesion*: the share of the positive attribution that lies in the drawn lesion, beside the lesion's share of
# the image. The network is that with ReLU.

# %%
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
#| fig-alt: Three phantoms with a consolidation, each beside its attributions from four baselines.
grey = 255 * sick[:3, 0].numpy()
plots.photograph(plots.overlay_table(grey, maps, [f"phantom {i}" for i in (1, 2, 3)]))

# %%
inside = chosen["in the lesion"].sort_values(ascending=False)
gauss, ours = (needed.xs(name, level=1) for name in ("Gauss-Legendre", "adaptive"))

# %%
Markdown(
    f"**Answer.** They promise that all attributions sum to F(x) − F(x′), and the integral keeps it; a sum "
    f"in its place keeps it as far as its steps allow. The error of Gauss-Legendre falls with the power "
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
