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
# # MobileNetV2

# %% [markdown]
# **Where does MobileNetV2 save computation, and why do its narrow layers have no ReLU?**
#
# A convolution does two things at once: it filters in space, and it mixes channels. MobileNetV2 does one
# after the other, and keeps the tensors between its blocks narrow. Everything on this page is counted on
# networks without trained weights or computed from random numbers; no patient data are used.

# %% tags=["parameters"]
seed = 0  # for the random matrices

# %%
import numpy as np
import pandas as pd
import torchvision
from IPython.display import Markdown
from torch import nn

import xnn
from demo import anatomy, bottleneck, draw
from xnn import plots

origin = xnn.stamp_of_page(seed)
plots.style()

# %% [markdown]
# ## Depthwise separable convolution
#
# A k x k convolution from M to N channels takes k² M N multiply-adds per position. A *depthwise* convolution,
# which filters each channel alone, followed by a 1 x 1 convolution takes k² M + M N, a share of 1 / N + 1 /
# k². The table counts both on real layers, at 14 x 14 positions and without biases.

# %%
#| tbl-cap: Multiply-adds of a full and of a separable convolution, and their ratio.
rows = []
for kernel in (3, 5):
    for channels in (16, 64, 256):
        full = nn.Conv2d(channels, channels, kernel, padding="same", bias=False)
        depthwise = nn.Conv2d(channels, channels, kernel, padding="same", groups=channels, bias=False)
        parts = nn.Sequential(depthwise, nn.Conv2d(channels, channels, 1, bias=False))
        one, two = (anatomy.cost(each, (channels, 14, 14)) for each in (full, parts))
        formula = 1 / channels + 1 / kernel**2
        share = two.multiply_adds / one.multiply_adds
        rows.append([kernel, channels, one.multiply_adds, two.multiply_adds, share, formula])
columns = ["kernel", "channels", "full", "separable", "share", "1 / N + 1 / k²"]
separable = pd.DataFrame(rows, columns=columns)
separable.style.format({"full": "{:,}", "separable": "{:,}", "share": "{:.4f}", "1 / N + 1 / k²": "{:.4f}"})

# %% [markdown]
# It is cheaper because it is less expressive: all filters on one input channel are scaled copies of a single
# spatial filter.
#
# ## Two multipliers
#
# The *width* multiplier scales the channels of every layer, the *resolution* multiplier the side of the
# image. The costs are counted on torchvision's network for each pair.

# %%
#| tbl-cap: Parameters by width multiplier.
widths, sides = (0.35, 0.5, 0.75, 1.0, 1.4), (96, 160, 224)
rows = []
for width in widths:
    network = anatomy.outline(torchvision.models.mobilenet_v2, width_mult=width)
    for side in sides:
        rows.append([width, side, *anatomy.cost(network, (3, side, side))])
grid = pd.DataFrame(rows, columns=["width", "side", "parameters", "multiply_adds"])
work = grid.pivot(index="side", columns="width", values="multiply_adds") / 1e6
parameters = grid.groupby("width").parameters.first()
parameters.rename("width {:g}".format).to_frame().T.style.format("{:,}")

# %%
#| fig-alt: Multiply-adds against the side of the image, one line per width, on logarithmic axes.
#| fig-cap: Work grows with almost the square of the width and of the side of the image.
named = work.rename(columns="width {:g}".format)
draw.lines({"MobileNetV2": named}, "side of the image (pixels)", "multiply-adds (millions)", log="xy")

# %%
by_side = np.polyfit(np.log(sides), np.log(work[1.0]), 1)[0]
by_width = np.polyfit(np.log(widths), np.log(work.loc[224]), 1)[0]
of_size = np.polyfit(np.log(widths), np.log(parameters), 1)[0]
Markdown(
    f"The work grows with the power {by_side:.2f} of the side and {by_width:.2f} of the width, the "
    f"parameters with {of_size:.2f} of the width: less than the square, since some layers scale with the "
    f"width once, the head's width never falls, and channels are rounded to multiples of eight."
)

# %% [markdown]
# ## Inverted residuals
#
# ResNet's bottleneck is wide outside and narrow inside. MobileNetV2 inverts it: the block is narrow outside
# and six times as wide inside, where the depthwise convolution makes width cheap, and the shortcut connects
# the narrow ends. The table lists one block of the network, layer by layer.

# %%
#| tbl-cap: One inverted residual block, layer by layer.
whole = anatomy.outline(torchvision.models.mobilenet_v2)
table = anatomy.layers(whole)
block = table[table.layer.str.startswith("features.5.")]
block.style.format({"values": "{:,}", "parameters": "{:,}", "multiply_adds": "{:,}"}).hide(axis="index")

# %%
values = block[block.kind.str.contains("convolution")]["values"].to_numpy()
work = table.groupby(table.kind.str.endswith("depthwise")).multiply_adds.sum()
Markdown(
    f"Between blocks {values[-1]:,} numbers are passed on, inside one there are {values[0]:,}. Of all "
    f"multiply-adds {work[True] / work.sum():.0%} look around in space (depthwise), the others mix "
    f"channels."
)

# %% [markdown]
# ## What a ReLU destroys
#
# A random matrix maps a spiral from the plane into n dimensions; after a ReLU, the matrix's pseudo-inverse
# maps it back.

# %%
#| fig-alt: A spiral, and the same spiral after a ReLU in 2, 3, 5, 15 and 30 dimensions.
#| fig-cap: "In few dimensions a ReLU folds the spiral; in many, the spiral survives."
spiral = bottleneck.spiral()
panels = {f"n = {n}": bottleneck.through_relu(spiral, n, seed) for n in (2, 3, 5, 15, 30)}
draw.scatters({"before": spiral, **panels})

# %% [markdown]
# Another map might still separate parts that this one folds together. Where fewer than d of the n values pass
# the ReLU, none can: some direction of the d-dimensional space changes none of the values. With random
# matrices each value passes with probability one half, so the share of such points is a binomial probability:
# P(X < d), X ~ B(n, ½). The figure compares counts over random matrices and points with that formula.

# %%
dimensions, factors = (2, 4, 8, 16, 24), (1, 2, 3, 4, 6)
counted = pd.DataFrame(
    {f"d = {d}": {t: bottleneck.lost(d, t * d, seed) for t in factors} for d in dimensions}
)
expected = pd.DataFrame(
    {f"d = {d}": {t: bottleneck.lost_by_formula(d, t * d) for t in factors} for d in dimensions}
)

# %%
#| fig-alt: Share of points at which information is lost against the expansion factor, counted and by formula.
#| fig-cap: The wider the expansion, the fewer points lose a direction; counts agree with the formula.
draw.lines({"Counted": counted, "By formula": expected}, "expansion n / d", "share of points lost")

# %% [markdown]
# So a ReLU on a narrow layer (expansion 1) loses a direction at almost every point, and one in a space six
# times as wide at almost none. This is why MobileNetV2 has ReLUs inside its blocks, and none on their narrow
# outputs: a *linear bottleneck*. Trained weights are not random, and a network may learn to discard what it
# does not need; the paper's own evidence is that accuracy falls if a ReLU is put there.

# %%
total, basic = anatomy.cost(whole), anatomy.cost(anatomy.outline(torchvision.models.resnet18))
least, most = separable[separable.kernel == 3].share.agg(["min", "max"])
Markdown(
    f"**Answer.** A separable 3 x 3 convolution takes {least:.0%} to {most:.0%} of the multiply-adds of a "
    f"full one, and the whole network {total.multiply_adds / 1e6:,.0f} million with {total.parameters:,} "
    f"parameters: {basic.multiply_adds / total.multiply_adds:.1f} times less work than ResNet-18, and "
    f"{basic.parameters / total.parameters:.1f} times fewer parameters. On a layer of 16 dimensions a ReLU "
    f"loses a direction at {counted['d = 16'][1]:.0%} of random points, in a space six times as wide at "
    f"{counted['d = 16'][6]:.1%} (counted differs from the formula by at most "
    f"{(counted - expected).abs().max().max():.3f}): so the block has ReLUs where it is wide, and none "
    f"where it is narrow."
)

# %% [markdown]
# ## References
#
# - Sandler et al., *MobileNetV2: inverted residuals and linear bottlenecks*, 2018: [arXiv
#   1801.04381](https://arxiv.org/abs/1801.04381)
# - Howard et al., *MobileNets: efficient convolutional neural networks for mobile vision applications*, 2017:
#   [arXiv 1704.04861](https://arxiv.org/abs/1704.04861)

# %%
xnn.timed(origin)
