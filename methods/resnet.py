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
# # ResNet

# %% [markdown]
# **Why does a deeper plain network train worse, and what does adding the input back change?**
#
# A deeper network can compute everything that a shallower one can: its extra layers need only pass their
# input on. Yet after training by gradient descent its error is larger *on the training data*. This is
# called *degradation*. A residual block computes
#
# $$y = \operatorname{relu}(x + F(x))$$
#
# so it passes its input on when F is 0, and only the difference has to be learned.
#
# The small networks here are trained on scikit-learn's handwritten digits, of 8 x 8 pixels; no patient data
# are used.

# %% tags=["parameters"]
seed = 0  # for the networks; seed + 1 is used as well

# %%
import pandas as pd
import torchvision
from IPython.display import Markdown
from torchvision.models.resnet import BasicBlock, Bottleneck

import xnn
from demo import anatomy, draw, toys
from xnn import plots

origin = xnn.stamp_of_page(seed)
plots.style()

# %% [markdown]
# ## Degradation
#
# Chains of fully connected layers, 32 wide, all with batch norm and ReLU. The residual ones add the input of
# each pair of layers to its output and have the same parameters. The table gives the loss at the end of 100
# steps of the same recipe (mean of the last 20 steps), as a range over two seeds.

# %%
#| tbl-cap: Training loss after 100 steps, range over two seeds; lower is better.
depths, seeds = [8, 20, 44], [seed, seed + 1]
trained = pd.DataFrame(toys.degradation(depths, seeds, steps=100))
trained["loss"] = trained.losses.map(lambda each: sum(each[-20:]) / 20)
trained["kind"] = trained.residual.map({True: "residual", False: "plain"})
spread = trained.groupby(["kind", "depth"]).loss.agg(["min", "max"]).map("{:.2f}".format)
spread.agg(" to ".join, axis=1).unstack().rename(columns="{} layers".format)

# %%
#| fig-alt: Training loss against steps for plain and residual networks of three depths.
#| fig-cap: "Lower is better: deeper plain networks learn more slowly, deeper residual ones do not."
first = trained[trained.seed == seed]
curves = {
    kind: pd.DataFrame({f"{row.depth} layers": row.losses for row in each.itertuples()})
    for kind, each in first.groupby("kind")
}
curves = {kind: each.rolling(10).mean() for kind, each in curves.items()}
draw.lines(curves, "step", "training loss (nats, mean of 10 steps)")

# %% [markdown]
# So few steps show how fast a network learns, not where it would end; the paper shows the same after full
# training, with convolutions.
#
# ## Before the first step
#
# What signal reaches the layers of an untrained network? The first figure shows the gradient of the loss with
# respect to each layer's output, relative to the last layer. Batch norm keeps the activations bounded, but
# the gradients grow from layer to layer on their way back. The second figure compares the gradient of one
# output with respect to the input at a digit and at points on the way to another digit (cosine). Where a
# small step turns the gradient completely, the gradient holds nowhere else.

# %%
inputs, targets = toys.digits()
inputs, targets = inputs[:256], targets[:256]
kinds, shares = {"plain": False, "residual": True}, [0.01, 0.03, 0.1, 0.3, 1.0]
norms, alike = {kind: {} for kind in kinds}, {kind: {} for kind in kinds}
for depth in depths:
    for kind, residual in kinds.items():
        network, name = toys.chain(depth, residual, seed), f"{depth} layers"
        sizes = toys.gradient_norms(network, inputs, targets)
        norms[kind][name] = pd.Series(sizes, [2 * i + 1 for i in range(len(sizes))])
        alike[kind][name] = pd.Series(toys.likeness(network, inputs, shares), shares)
norms, alike = ({kind: pd.DataFrame(each) for kind, each in both.items()} for both in (norms, alike))

# %%
#| fig-alt: Norm of the gradient by layer, for plain and residual networks at initialisation.
#| fig-cap: "In deep plain networks, gradients grow by orders of magnitude towards the first layer."
draw.lines(norms, "layer", "gradient, relative to the last", log="y")

# %%
#| fig-alt: Cosine of the gradients at two inputs against their distance, for plain and residual networks.
#| fig-cap: "Higher is better: in deep plain networks, a small step turns the gradient completely."
draw.lines(alike, "share of the way to another digit", "cosine of the gradients", log="x")

# %% [markdown]
# ## Leaving out one block
#
# In a trained residual network every pair of layers only adds to its input, so one can be left out. Accuracy
# on the training digits is given for the whole network, and with each of its pairs left out in turn.

# %%
#| tbl-cap: Accuracy with every pair of layers, and with one pair left out.
middle = trained[(trained.depth == depths[1]) & (trained.seed == seed)]
parts = {row.kind: toys.without_each(row.network, *toys.digits()) for row in middle.itertuples()}
left_out = pd.DataFrame(
    {
        kind: {"whole": each[0], "median": pd.Series(each[1:]).median(), "worst": min(each[1:])}
        for kind, each in parts.items()
    }
)
left_out.T.style.format("{:.2f}")

# %% [markdown]
# ## Two kinds of block
#
# The *basic* block has two 3 x 3 convolutions. The *bottleneck* reduces the channels to a quarter, convolves
# there, and expands them again. The costs are counted at 14 x 14 positions.

# %%
#| tbl-cap: Parameters and multiply-adds of three blocks.
blocks = {
    "basic, 64 channels": (anatomy.outline(BasicBlock, 64, 64), 64),
    "basic, 256 channels": (anatomy.outline(BasicBlock, 256, 256), 256),
    "bottleneck, 256 channels": (anatomy.outline(Bottleneck, 256, 64), 256),
}
counted = {name: anatomy.cost(block, (width, 14, 14)) for name, (block, width) in blocks.items()}
counted = pd.DataFrame(counted, anatomy.Cost._fields).T
counted.style.format("{:,.0f}")

# %%
#| tbl-cap: The bottleneck, layer by layer.
anatomy.layers(blocks["bottleneck, 256 channels"][0], (256, 14, 14))

# %% [markdown]
# ## The family
#
# The costs are counted on torchvision's networks, for one 224 x 224 image. Their bottlenecks
# downsample in the 3 x 3 convolution, not in the 1 x 1 convolution before it as in the paper, which costs
# slightly more.

# %%
#| tbl-cap: Parameters, multiply-adds and blocks of five ResNets.
names = [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)]
family = {name: anatomy.outline(getattr(torchvision.models, name)) for name in names}
sizes = pd.DataFrame([anatomy.cost(network) for network in family.values()], names)
sizes["blocks"] = [
    sum(isinstance(m, BasicBlock | Bottleneck) for m in each.modules()) for each in family.values()
]
sizes.style.format("{:,.0f}")

# %%
#| fig-alt: Parameters and multiply-adds of five ResNets.
#| fig-cap: Bottlenecks let depth grow without much more work from ResNet-34 to ResNet-50.
units = {"parameters": (1e6, "parameters (millions)")}
units["multiply_adds"] = (1e9, "multiply-adds (thousand millions)")
draw.bars(sizes, units)

# %%
deep = trained[trained.depth == depths[-1]].groupby("kind").loss.mean()
last = f"{depths[-1]} layers"
grown = {kind: each[last].iloc[0] for kind, each in norms.items()}
near = {kind: each[last].iloc[0] for kind, each in alike.items()}
basic, wide, narrowed = counted.multiply_adds / 1e6

# %%
Markdown(
    f"**Answer.** A deeper plain network is harder to train, although it could compute the same: with {last} "
    f"the training loss after {len(first.losses.iloc[0])} steps is {deep.plain:.2f} plain and "
    f"{deep.residual:.2f} residual (mean of {len(seeds)} seeds). Before training the gradient at the first "
    f"layer is {grown['plain']:,.0f} times that at the last in the plain network and "
    f"{grown['residual']:,.0f} times in the residual one, and at {shares[0]:.0%} of the way to another digit "
    f"its cosine is {near['plain']:.2f} and {near['residual']:.2f}. Without one of its pairs the residual "
    f"network of {depths[1]} layers still classifies {left_out.residual['median']:.0%} of the digits "
    f"correctly (median), the plain one {left_out.plain['median']:.0%}. A bottleneck of 256 channels takes "
    f"{narrowed:.1f} million multiply-adds, a basic block of 64 takes {basic:.1f} and one of 256 "
    f"{wide:.1f}: so ResNet-50 has bottlenecks where ResNet-34 has as many basic blocks, for "
    f"{sizes.multiply_adds['resnet50'] / sizes.multiply_adds['resnet34']:.2f} times the work."
)

# %% [markdown]
# ## References
#
# - He, Zhang, Ren, Sun, *Deep residual learning for image recognition*, 2016: [arXiv
#   1512.03385](https://arxiv.org/abs/1512.03385)
# - Balduzzi et al., *The shattered gradients problem*, 2017: [arXiv
#   1702.08591](https://arxiv.org/abs/1702.08591)
# - Veit, Wilber, Belongie, *Residual networks behave like ensembles of relatively shallow networks*, 2016:
#   [arXiv 1605.06431](https://arxiv.org/abs/1605.06431)
# - Yang et al., *A mean field theory of batch normalization*, 2019: [arXiv
#   1902.08129](https://arxiv.org/abs/1902.08129)

# %%
xnn.timed(origin)
