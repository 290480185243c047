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
# # AdamW

# %% [markdown]
# **Is weight decay under AdamW the same as an L2 penalty under Adam?**
#
# An L2 penalty λ w² / 2 adds λ w to the gradient. Plain gradient descent then shrinks every weight by the
# factor 1 − ηλ per step, so penalty and decay are the same. Adam divides the gradient, and the penalty's
# share with it, by its typical size:
#
# - Adam, L2: $w \leftarrow w - \eta \, m(g + \lambda w) / \sqrt{v(g + \lambda w)}$
# - AdamW: $w \leftarrow w - \eta \lambda w - \eta \, m(g) / \sqrt{v(g)}$
#
# Everything on this page is computed from random numbers; no patient data are used.

# %% tags=["parameters"]
seed = 0  # for the noise

# %%
from IPython.display import Markdown

import xnn
from demo import decay, draw
from xnn import plots

origin = xnn.stamp_of_page(seed)
plots.style()

# %% [markdown]
# ## One step
#
# A weight w = 1 has gradient 10, at η = 0.01 and λ = 0.1. The table gives the *change* of w, and the part
# *of decay* in it.

# %%
#| tbl-cap: Change of a weight in the first step, and the part of weight decay in it.
decay.first_step(1.0, 10.0, rate=0.01, decay=0.1).style.format("{:.1e}")

# %% [markdown]
# Adam's first step is η whatever the size of the gradient, so adding λ w to the gradient changes nothing.
#
# ## A thousand steps of noise
#
# Weights start at 1, and their gradients are noise of mean 0, so on average only the decay moves them. The
# table gives the mean weight after 1,000 steps of PyTorch's optimisers with η = 0.001 and λ = 0.1, for noise
# of six sizes.

# %%
#| tbl-cap: Mean weight after 1,000 steps, by the size of the gradients.
steps, rate, amount = 1000, 1e-3, 0.1
pulled = decay.pulled([0.001, 0.01, 0.1, 1.0, 10.0, 100.0], steps, rate, amount, seed)
pulled.style.format("{:.3f}").format_index("{:g}")

# %%
#| fig-alt: Mean weight after a thousand steps against the size of the gradients, one line per optimiser.
#| fig-cap: AdamW shrinks all weights alike; the penalty hardly shrinks weights with large gradients.
draw.lines({"What decay leaves": pulled}, "size of the gradients", "mean weight at the end", log="x")

# %%
off = (pulled.AdamW - pulled["decay alone"]).abs().max()
adam = pulled["Adam, L2"]
Markdown(
    f"**Answer.** No, they differ: under AdamW all weights shrink alike, to (1 − ηλ)<sup>{steps}</sup> = "
    f"{pulled['decay alone'].iloc[0]:.3f} (off by {off:.3f} at most). Under Adam the same λ as a penalty "
    f"leaves {adam.iloc[0]:.3f} of a weight whose gradients are of size {adam.index[0]:g}, and "
    f"{adam.iloc[-1]:.3f} where they are of size {adam.index[-1]:g}: the penalty is least where gradients "
    f"are largest. For SGD, decay and penalty are the same. This project trains with AdamW; this page "
    f"does not show which of them generalises better."
)

# %% [markdown]
# ## References
#
# - Loshchilov, Hutter, *Decoupled weight decay regularization*, 2019: [arXiv
#   1711.05101](https://arxiv.org/abs/1711.05101)
# - Kingma, Ba, *Adam: a method for stochastic optimization*, 2015: [arXiv
#   1412.6980](https://arxiv.org/abs/1412.6980)

# %%
xnn.timed(origin)
