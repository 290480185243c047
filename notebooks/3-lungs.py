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
# # Lung segmenter

# %% [markdown]
# **Can a small network find the lungs, so that the app can say when an image shows none?**
#
# A U-Net of under a megabyte, trained on the lung masks of the training patients. The app runs it before
# every answer: on an image without lungs the class means nothing.

# %% tags=["parameters"]
study = "phantom"  # a folder of params/

# %%
import pandas as pd
from IPython.display import Markdown

import xnn
from xnn import plots
from xnn.training import segmentation

settings = xnn.load_study(study)
plots.style()
Markdown(f"Study {study}: {settings.title}.")

# %% [markdown]
# ## Training
#
# Random views of each radiograph at 112 x 112 pixels. A quarter of every batch shows no upright chest
# (turned, inverted or scrambled radiographs, and noise) and has an empty mask.

# %%
#| tbl-cap: Every epoch; Dice (higher is better) on validation patients.
origin = xnn.stamp(settings)
record = segmentation.fit(settings)
pd.DataFrame(record["history"]).set_index("epoch").round(3)

# %% [markdown]
# ## How well does it find the lungs?
#
# The Dice coefficient of the found lungs and the annotators' masks, at the study's resolution, on patients
# that the training has not seen. Intervals are 95 %, by bootstrap over patients.

# %%
#| tbl-cap: Mean Dice coefficient on the test split (higher is better).
tested, validation = segmentation.assess(settings, "test"), segmentation.assess(settings, "val")
found = segmentation.dice(settings, tested)
found.round(3)

# %%
#| fig-alt: Radiographs with the annotators' outline of the lungs and the one that was found.
#| fig-cap: The three worst of the test split and three near the median; annotators blue, found orange.
order = tested.table.dice.argsort().to_numpy()
chosen = tested.take([*order[:3], *order[len(order) // 2 :][:3]])
outlines = {"#56B4E9": chosen.truth, "#E69F00": chosen.found}
plots.image_sheet(chosen.images, chosen.table.dice.map("Dice {:.2f}".format), outlines=outlines)

# %% [markdown]
# ## When are there no lungs?
#
# The found lungs are compared with the mean mask of the training patients. Below the limit, which 1 % of the
# validation images fall below, the app says that it found no lungs.

# %%
#| tbl-cap: Share of test images said to show no lungs; turned and inverted images were part of the training.
least = segmentation.limit(validation)
alarms = segmentation.alarms(settings, tested.images, least)
alarms.map("{:.1%}".format).to_frame("no lungs found")

# %%
result = {"study": study, "n": len(tested.table), "patients": tested.table.patient.nunique()}
result |= {"dice": found.to_dict("index"), "limit": least, "alarms": alarms.to_dict()}
result |= {"attribution": settings.archive.attribution, "key": record["key"]}
xnn.write_json(result | {"provenance": xnn.timed(origin)}, settings.reports / "lungs.json")

# %%
value, low, high, n = found.loc["all"]
Markdown(
    f"**Answer.** Dice {value:.3f} ({low:.3f} to {high:.3f}) on {n:.0f} images of unseen patients. "
    f"{alarms.iloc[0]:.1%} of them are said to show no lungs, {alarms.iloc[1:].min():.0%} or more of "
    "turned and inverted ones."
)

# %%
xnn.Stamp(xnn.timed(origin))
