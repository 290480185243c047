# ---
# title: Explanations
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
# **Where in the radiograph does the network's answer come from, and do the attributions add up?**
#
# Integrated Gradients of the logit of the class that the network names. Completeness is checked for
# each image: the attributions have to sum to the difference between the logit of the image and that
# of the baseline. *Green* raises the logit, *red* lowers it.

# %% tags=["parameters"]
study = "phantom"  # a folder of params/
run = "mobilenet_v2"  # a file of that folder

# %%
import torch
from IPython.display import Markdown

import xnn
from xnn import attribution, plots

settings = xnn.load_run(study, run)
plots.style()
settings

# %% [markdown]
# ## Cases
#
# Drawn at random from the test split, not picked: for each class some that the network gets right and
# some that it gets wrong, as far as there are any.

# %%
origin = xnn.provenance.stamp(settings)
classes, how = settings.study.classes, settings.explanation
cases = attribution.cases(xnn.predictions(settings), classes, how.images, settings.seed)
cases.groupby(["label", "right"]).size().unstack(fill_value=0)

# %% [markdown]
# ## Attributions

# %%
records = xnn.load_records(settings.study)
rows = records.set_index("path").row
images = xnn.load_images(settings.study)[rows[cases.path].to_numpy()]
train = rows[records[records.split == "train"].path][:200].to_numpy()
mean = xnn.load_images(settings.study)[train].mean(axis=0) / 255
healthy = xnn.load_images(settings.study)[
    records.query("split == 'train' and label == 'normal'").row[:8].to_numpy()
]

# %%
inputs = xnn.to_input(images)
found = xnn.integrated_gradients(
    xnn.load_model(settings),
    inputs,
    torch.tensor(cases.predicted.map(classes.index).to_numpy()),
    xnn.baseline(how.baseline, inputs, mean, xnn.to_input(healthy)),
    how.tolerance,
    how.max_gradients,
)

# %%
evidence = cases[["label", "predicted", "probability"]].assign(
    difference=found.difference, gap=found.gap, gradients=found.gradients, passed=found.passed
)
evidence.style.format(precision=3)

# %% [markdown]
# ## Right

# %%
#| fig-alt: Radiographs that the network names rightly, each beside its attribution.
right = cases.right.to_numpy()
titles = (cases.label + " called " + cases.predicted + cases.probability.map(" {:.2f}".format)).to_numpy()
figure = plots.overlays(images[right], found.maps[right], titles[right])
figure.savefig(settings.reports / "explanations.png", bbox_inches="tight")
figure

# %% [markdown]
# ## Wrong

# %%
#| fig-alt: Radiographs that the network names wrongly, each beside its attribution.
plots.overlays(images[~right], found.maps[~right], titles[~right])

# %%
figures = attribution.summary(found)
result = {"study": study, "run": run, "methods": {"integrated_gradients": figures}}
result |= {"baseline": how.baseline, "tolerance": how.tolerance, "provenance": xnn.provenance.timed(origin)}
xnn.provenance.write_json(result, settings.reports / "explanations.json")

# %%
Markdown(
    f"**Answer.** {figures['completeness_passed']:.0%} of {figures['images']} attributions are complete to "
    f"within {how.tolerance:.0%} (baseline {how.baseline}), with a median of {figures['steps_median']:.0f} "
    f"gradients; 95 % of the gaps are at most {figures['relative_completeness_p95']:.1%}. Completeness says "
    "that the sums are right. It does not say that the places are."
)

# %%
xnn.provenance.Stamp(result["provenance"])
