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
# # ConvNeXtV2

# %% [markdown]
# **What turns a ResNet into a ConvNeXtV2, what does each step cost, and what does the new layer do?**
#
# ConvNeXt modernises ResNet-50 one change at a time, following the design of vision transformers. Version 2
# adds a layer, *global response normalisation* (GRN), and masked pre-training, which hides most of each
# image. The networks are counted without weights, and the images are synthetic phantoms; no patient data are
# used.

# %% tags=["parameters"]
seed = 0  # for the phantom, the masks and the random filters

# %%
import pandas as pd
import torch
import torchvision
from IPython.display import Markdown
from torch import nn

import xnn
from demo import anatomy, draw, masking, modernise, responses, toys
from xnn import plots

origin = xnn.stamp_of_page(seed)
plots.style()

# %% [markdown]
# ## Step by step
#
# Each row includes all changes of the rows above it. Counts are for one 224 x 224 image, in millions;
# *further* is the change from the previous row.

# %%
#| tbl-cap: Parameters and multiply-adds (millions) after each step, and the change from the previous one.
ladder = modernise.ladder().set_index("step")
change = ladder.diff().rename(columns="further {}".format)
(pd.concat([ladder, change], axis=1) / 1e6).style.format("{:,.2f}", na_rep="")

# %%
#| fig-alt: Parameters and multiply-adds of the network after each step from ResNet-50 to ConvNeXtV2-T.
#| fig-cap: Depthwise convolutions save the most multiply-adds, and widening spends the most.
units = {"parameters": (1e6, "parameters (millions)")}
units["multiply_adds"] = (1e9, "multiply-adds (thousand millions)")
draw.bars(ladder, units)

# %% [markdown]
# The two largest changes work against each other: depthwise convolutions halve the work, and widening from 64
# to 96 channels spends more than they save. Activations and norms hardly change the counts, so counting
# cannot show what they are worth. The paper measures that by training every step on ImageNet; this page does
# not. The training recipe changed before the architecture (AdamW, more epochs, stronger augmentation): see
# [the optimiser](optimiser.ipynb). Two steps of the ladder are checked here against torchvision's networks,
# and a test checks the last step against the one in transformers.

# %%
#| tbl-cap: Counts of torchvision's networks, which equal those of the ladder.
known = {"ResNet-50": "resnet50", "LayerScale: ConvNeXt-T": "convnext_tiny"}
others = {
    step: anatomy.cost(anatomy.outline(getattr(torchvision.models, name))) for step, name in known.items()
}
alike = all(tuple(ladder.loc[step]) == tuple(cost) for step, cost in others.items())
assert alike, "the ladder does not end where torchvision's networks are"
pd.DataFrame(others, ["parameters", "multiply-adds"]).T.style.format("{:,}")

# %% [markdown]
# ## Global response normalisation
#
# Inside a block, after the GELU, GRN scales channel i of X by its norm relative to the mean norm of all
# channels:
#
# $$G_i = \lVert X_i \rVert, \quad N_i = \frac{G_i}{\operatorname{mean}_j G_j}, \quad
# Y_i = \gamma_i N_i X_i + \beta_i + X_i$$
#
# γ and β start at 0, so at first the layer is the identity. Below, γ is 1, and X is a phantom after twelve
# random 7 x 7 filters, a group norm and a GELU.

# %%
drawn = toys.phantoms(2, 224, seed)
phantom = xnn.to_input(drawn.images)[1:, :1]
torch.manual_seed(seed)
filters = nn.Sequential(nn.Conv2d(1, 12, 7, stride=4, padding=3), nn.GroupNorm(1, 12), nn.GELU())
grn = responses.Responses(12, gamma=1.0)
with torch.no_grad():
    before = filters(phantom)
    after = grn(before)
loud = pd.DataFrame({"before": responses.norms(before)[0], "after GRN": responses.norms(after)[0]})
loud = (loud / loud.mean()).sort_values("before", ascending=False, ignore_index=True)
loud.index += 1

# %%
#| fig-alt: Norm of twelve channels, relative to their mean, before and after GRN.
#| fig-cap: "GRN spreads the norms: loud channels become louder, and quiet ones quieter."
draw.lines({"Loud channels become louder": loud}, "channel, loudest first", "norm / mean norm")

# %% [markdown]
# ## Feature collapse
#
# The paper found that many channels of these layers were dead or copies of others in a ConvNeXt pre-trained
# with masks: *feature collapse*. *Diversity* is the mean cosine distance over all pairs of channels, (1 −
# cos) / 2, which is 0 if all are alike; *spread of norms* is their standard deviation over their mean.
# The table gives both for three kinds of X, before and after GRN.

# %%
#| tbl-cap: Diversity of channels and spread of their norms before and after GRN.
noise = torch.randn(before.shape, generator=torch.Generator().manual_seed(seed))
copies = before[:, :1] + 0.1 * before.std() * noise
dead = before * torch.tensor([1.0] * 3 + [0.01] * 9).view(12, 1, 1)
kinds = {"random filters": before, "near copies": copies, "nine of twelve silent": dead}
rows = {}
for name, each in kinds.items():
    with torch.no_grad():
        pair = each, grn(each)
    spread = [(responses.norms(x).std() / responses.norms(x).mean()).item() for x in pair]
    rows[name] = [*(responses.diversity(x).item() for x in pair), *spread]
columns = ["diversity before", "diversity after", "spread of norms before", "spread of norms after"]
collapse = pd.DataFrame(rows, columns).T
collapse.style.format("{:.3f}")

# %% [markdown]
# Cosine distance does not depend on scale, and GRN only scales channels, so one pass repairs nothing. What
# GRN changes is the gradient. *Rivalry* is the growth of a channel's norm after the layer (in %) if a norm
# before the layer grows by 1 %: its own, or those of all other channels together. Without GRN these are 1 and
# 0.

# %%
rates = responses.rivalry(grn, before[:, :, ::4, ::4])
own = rates.diagonal().mean().item()
others = (rates.sum(1) - rates.diagonal()).mean().item()
Markdown(
    f"A channel's own norm counts {own:.2f} times, that of all others together {others:+.2f} times: it is "
    f"turned down where the others get louder, so channels compete. That diverse features come of it is "
    f"the paper's finding, after hundreds of epochs; this page shows the mechanism only."
)

# %% [markdown]
# ## Learning from hidden patches
#
# The fully convolutional masked autoencoder (FCMAE) hides 60 % of an image in patches of 32 x 32 pixels and
# trains the network to reconstruct them; no labels are needed. Ordinary convolutions would spread the visible
# content into the hidden patches, layer by layer, until the mask is lost. The encoder's convolutions are
# therefore *sparse*: they compute at visible positions only.

# %%
#| fig-alt: A phantom, the same with 60 % hidden, and that after a plain and after a sparse convolution.
#| fig-cap: A plain convolution spreads visible content into hidden patches; a sparse one does not.
hidden = masking.hide(1, 224, 32, 0.6, seed)
seen = torch.where(hidden[:, None], 0.0, phantom)
smooth = nn.functional.avg_pool2d(seen, 29, 1, 14)
shown = {"phantom": phantom, "seen": seen, "after a plain convolution": smooth}
shown["after a sparse one"] = torch.where(hidden[:, None], 0.0, smooth)
draw.pictures({name: each[0, 0].numpy() for name, each in shown.items()})

# %% [markdown]
# The convolution shown is a mean over 29 x 29 pixels, about the reach of a 7 x 7 kernel in the first stage,
# where each position covers 4 x 4 pixels. The table gives the share of hidden positions of that stage (56 x
# 56) that visible content has reached after each 7 x 7 convolution.

# %%
#| tbl-cap: Share of hidden positions that visible content has reached, by number of convolutions.
masks = masking.hide(64, 56, 8, 0.6, seed)
plain, sparse = (masking.reached(masks, 5, 7, kind) for kind in (False, True))
leaked = pd.DataFrame({"plain": plain, "sparse": sparse}, pd.RangeIndex(6, name="convolutions"))
leaked.T.style.format("{:.0%}")

# %%
first, last = ladder.iloc[0] / 1e6, ladder.iloc[-1] / 1e6
saved, moved = change["further multiply_adds"], collapse["diversity after"] - collapse["diversity before"]
Markdown(
    f"**Answer.** {len(ladder) - 1} steps lead from {first.parameters:.1f} million parameters and "
    f"{first.multiply_adds:,.0f} million multiply-adds to {last.parameters:.1f} and "
    f"{last.multiply_adds:,.0f}; the largest saving is *{saved.idxmin()}* ({saved.min() / 1e6:+,.0f}), the "
    f"largest expense *{saved.idxmax()}* ({saved.max() / 1e6:+,.0f}). GRN has "
    f"{change['further parameters'].iloc[-1]:,.0f} parameters more than LayerScale. In one pass it changes "
    f"the diversity of channels by at most {moved.abs().max():.0e}; it makes them compete: all others "
    f"together count {others:+.2f} times. Of the hidden positions {leaked['plain'][1]:.0%} are reached "
    f"after one plain 7 x 7 convolution and {leaked['plain'][3]:.0%} after three, after sparse ones "
    f"{leaked['sparse'].max():.0%}."
)

# %% [markdown]
# ## References
#
# - Liu et al., *A ConvNet for the 2020s*, 2022: [arXiv 2201.03545](https://arxiv.org/abs/2201.03545)
# - Woo et al., *ConvNeXt V2: co-designing and scaling ConvNets with masked autoencoders*, 2023: [arXiv
#   2301.00808](https://arxiv.org/abs/2301.00808)
# - He et al., *Masked autoencoders are scalable vision learners*, 2022: [arXiv
#   2111.06377](https://arxiv.org/abs/2111.06377)

# %%
xnn.timed(origin)
