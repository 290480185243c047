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
# # Lungs

# %% [markdown]
# **Does this network look at the lungs?**
#
# The same network on the same test radiographs, with a part removed: the lungs, a wider region, the box
# around them, or everything else. A network that reads the lungs should fail without them and not need the
# rest.

# %% tags=["parameters"]
study = "phantom"  # a folder of params/
run = "mobilenet_v2"  # a file of that folder, or a new name for the recipe below
model = {}  # groups of the run's file (xnn/config/schema.py lists their keys); empty: as its file says
training = {}  # epochs, learning_rate, ...
augmentation = {}  # crop, degrees, ...
evaluation = {}  # flip, resamples
explanation = {}  # images, measured, baseline, ...
hardware = {}  # devices, num_nodes, strategy
seed = None  # of all that is random in the run
note = ""  # a sentence for the run's pages
online = None  # whether its weights have to be downloaded

# %%
from IPython.display import Markdown

import xnn
from xnn import plots
from xnn.explain import answers, removal

groups = {"model": model, "training": training, "augmentation": augmentation, "evaluation": evaluation}
groups |= {"explanation": explanation, "hardware": hardware, "seed": seed, "note": note, "online": online}
settings = xnn.load_run(study, run, **groups)
plots.style()
Markdown(xnn.summary(settings))

# %%
origin = xnn.stamp(settings)
tested = removal.load(settings)
n, patients = len(tested.records), tested.records.patient.nunique()
Markdown(f"{n} test radiographs of {patients} patients are used; {tested.missing} have no lung mask.")

# %% [markdown]
# ## What is removed
#
# In the upper row the removed part has the mean grey of the rest; in the lower row it continues the rest.
# Neither fill depends on what was removed. Two fills are needed because a network may react
# to the fill instead of the loss. *Outline only* shows nothing but the shape of the lungs.

# %%
#| fig-alt: One radiograph with each part removed, filled in two ways.
#| fig-cap: One radiograph with each part removed, filled with mean grey (above) or inpainted (below).
plots.image_sheet(*removal.examples(tested), columns=7)

# %% [markdown]
# ## Scores without the part
#
# Intervals are 95 %, by bootstrap over patients. The differences from the whole image are paired: every
# resample draws the same patients for both.

# %%
found = removal.results(settings, tested)
scores = removal.by_fill(found)
removal.table(scores)

# %%
#| fig-alt: AUROC of pneumonia against normal on each input, with intervals, for both fills.
#| fig-cap: "Higher is better: a network that needs the lungs falls to chance without them."
main = removal.main_score(scores)
figure = plots.region_scores(removal.by_score(scores, main), removal.TITLES[main])
figure.savefig(settings.reports / "regions.png", bbox_inches="tight", dpi=180)
figure

# %%
#| fig-alt: Weighted F1 of the three classes on each input, with intervals, for both fills.
#| fig-cap: The same for the three classes; higher is better.
plots.region_scores(removal.by_score(scores, "f1_weighted"), "weighted F1, three classes")

# %% [markdown]
# A removed part takes the image away from what the network was trained on, so a score that falls does not
# prove that the part was used. A score that stays high proves that the part was not needed. The masks were
# drawn by human annotators, not by radiologists; they include most of the heart and the lung behind the
# diaphragm, and a few may belong to another image.
#
# ## Changes that should not move a prediction
#
# Changes that no reader would see or care about. *changed* is the share of radiographs with another
# predicted class; *shift* is the mean absolute change of the log-odds of the class predicted before.
# Markers are bright letters and clips beside the lungs, found by their brightness and size.

# %%
#| tbl-cap: What small changes and markers do to predictions.
removal.shown(found["changes"])

# %%
result = {"study": study, "run": run, "provenance": xnn.timed(origin), **found}  # kept ones have their own
xnn.write_json(result, settings.reports / "regions.json")

# %% tags=["answer"]
Markdown(f"**Answer.** {answers.lungs(settings)}")

# %%
xnn.Stamp(xnn.timed(origin))
