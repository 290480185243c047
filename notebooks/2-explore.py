# ---
# title: Exploring
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
# **What do the radiographs look like, how are they spread over classes and patients, and what could a
# network learn from them that it should not?**
#
# Counts are of all splits; pictures and intensities are of training images only, so that nothing is
# decided by looking at the test.

# %% tags=["parameters"]
study = "phantom"  # a folder of params/
shown = 18  # radiographs on the sheet
sampled = 600  # training radiographs for intensities and means

# %%
import pandas as pd
from IPython.display import Markdown

import xnn
from xnn import plots

settings = xnn.load_study(study)
plots.style()
settings

# %%
origin = xnn.provenance.stamp(settings)
records, images = xnn.load_records(settings), xnn.load_images(settings)
train = records[records.split == "train"]

# %% [markdown]
# ## Classes and splits

# %%
#| fig-alt: Bar chart of the number of radiographs of each class in each split.
plots.class_counts(records)

# %%
shares = pd.crosstab(records.split, records.label, normalize="index")
shares.style.format("{:.1%}")

# %% [markdown]
# ## Patients
#
# A few patients have many images: intervals have to resample patients, not images, and a split that
# tears patients apart tests on faces it has seen.

# %%
#| fig-alt: Histogram of the number of images a patient has, with a heavy tail.
plots.images_per_patient(records)

# %%
per_patient = records.groupby("label").patient.value_counts().groupby("label")
per_patient.agg(["size", "mean", "median", "max"]).round(2).rename(columns={"size": "patients"})

# %% [markdown]
# ## Radiographs
#
# Drawn at random from the training split, the same number from each class.

# %%
#| fig-alt: A sheet of randomly drawn training radiographs of every class.
sheet = train.groupby("label").sample(shown // len(settings.classes), random_state=settings.seed)
plots.image_sheet(images[sheet.row.to_numpy()], sheet.label)

# %% [markdown]
# ## Mean and spread
#
# What differs here between classes (position, exposure, collimation) is there for a network to use,
# whether or not it has to do with disease.

# %%
sample = train.sample(min(sampled, len(train)), random_state=settings.seed)
pixels = images[sample.row.to_numpy()]

# %%
#| fig-alt: Mean image and standard deviation image of each class.
plots.class_means(pixels, sample.label)

# %%
#| fig-alt: Histograms of grey levels by class.
plots.intensity_histograms(pixels, sample.label)

# %%
brightness = pd.Series(pixels.mean(axis=(1, 2)), sample.label.to_numpy())
means, most = brightness.groupby(level=0).mean(), records.patient.value_counts()
Markdown(
    f"**Answer.** {len(records):,} radiographs of {most.size:,} patients; one class has from "
    f"{shares.min().min():.0%} to {shares.max().max():.0%} of a split, one patient {most.iloc[0]} images. "
    f"Mean grey levels: {', '.join(f'{label} {value:.0f}' for label, value in means.items())} of 255; "
    f"classes differ by up to {means.max() - means.min():.0f}, single radiographs by {brightness.std():.0f} "
    "(standard deviation)."
)

# %%
xnn.provenance.timed(origin)
