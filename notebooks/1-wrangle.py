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
# # Wrangling

# %% [markdown]
# **Which images are there, which can be used, and is any patient in two splits?**
#
# Every file of the source is read once. Unusable files are listed with the reason; the others are decoded
# into one store of grey images and split so that all images of a patient stay in one split (or as the
# study's protocol says).

# %% tags=["parameters"]
study = "phantom"  # a folder of params/

# %%
import pandas as pd
from IPython.display import Markdown

import xnn

settings = xnn.load_study(study)
origin = xnn.stamp(settings)
Markdown(xnn.summary(settings))

# %% [markdown]
# ## Records

# %%
records, set_aside = xnn.wrangle(settings)
records.head()

# %%
#| tbl-cap: Images of each class, and patients, by split.
records.groupby(["split", "label"]).size().unstack(fill_value=0).assign(
    images=lambda table: table.sum(axis=1),
    patients=records.groupby("split").patient.nunique(),
)

# %% [markdown]
# Images of the split `example` are kept for the app. They come from patients with the fewest images.
#
# ## Set aside
#
# Files that no network sees, with the reason.

# %%
#| tbl-cap: Files set aside, by reason.
set_aside.reason.value_counts().rename("files").to_frame()

# %%
#| tbl-cap: The first files that were set aside.
set_aside.head(50)

# %% [markdown]
# ## Lung masks
#
# White on the lungs, one for each radiograph, from `MASKS` (a zip or folder); phantoms have their own. They
# also carry the true size of the original where the radiographs are smaller copies.

# %%
lungs = xnn.load_lungs(settings, records)
masked = "has no lung masks: set MASKS to a zip or folder of them to see whether a network needs the lungs"
if lungs is not None:
    masked = f"has lung masks for {lungs.known.sum():,} of {len(records):,} radiographs"
Markdown(f"This study {masked}.")

# %%
#| tbl-cap: Radiographs without a lung mask.
without = lungs.table[~lungs.known][["path", "reason"]] if lungs is not None else pd.DataFrame()
without if len(without) else Markdown("")

# %% [markdown]
# ## No patient in two splits
#
# For each split: its classes, the patients and images that it shares with another split, and the images
# whose content is also in another split. In this archive, either the bare number names a patient, or number
# and class together do (`..._and_class`). `xnn.audit` checks any table of paths, labels and splits.

# %%
#| tbl-cap: What each split holds, and what it shares with the others.
audit = xnn.audit(records)
audit.T

# %% [markdown]
# The share of test images with a sibling in the training split, under both readings.

# %%
#| tbl-cap: Share of test images with a sibling in training, under both readings of the number.
siblings = xnn.siblings(records)
xnn.write_json(siblings, settings.reports / "siblings.json")
pd.Series(siblings).to_frame("test split").T

# %%
shared = int(audit.shared_images.sum() + audit.duplicates.sum())
assert shared == 0 or settings.split != "patient", "a patient is in two splits"
verdict = "no patient and no image is in two splits"
if shared:
    verdict = f"{shared} images share their patient or content with another split"
Markdown(
    f"**Answer.** {len(records):,} radiographs of {records.patient.nunique():,} patients can be used, "
    f"{len(set_aside)} files are set aside, and {verdict}."
)

# %%
xnn.timed(origin, records_sha256=xnn.records_sha256(settings))
