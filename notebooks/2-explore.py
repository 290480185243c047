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
# # Exploring

# %% [markdown]
# **What do the radiographs look like, how are they distributed over classes and patients, and what could a
# network learn from them that it should not?**
#
# Counts, duplicates and likely label errors cover all splits and change nothing. Random images, means and
# intensities come from training images only, so that no decision depends on the test split.

# %% tags=["parameters"]
study = "phantom"  # a folder of params/
shown = 18  # radiographs on the sheet
sampled = 600  # training radiographs for intensities and means
doubtful = 8  # labels, or pairs of images, that are shown of each kind

# %%
import pandas as pd
from IPython.display import Markdown

import xnn
from xnn import plots
from xnn.explore import audit, fiftyone, siblings

settings = xnn.load_study(study)
plots.style()
Markdown(xnn.summary(settings))

# %%
origin = xnn.stamp(settings)
records, images = xnn.load_records(settings), xnn.load_images(settings)
train = records[records.split == "train"]

# %% [markdown]
# ## Classes and splits

# %%
#| fig-alt: Bar chart of the number of radiographs of each class in each split.
#| fig-cap: Radiographs of each class in each split.
plots.class_counts(records)

# %%
#| tbl-cap: Images and patients of each class by split.
composition = audit.composition(records)
composition

# %%
#| tbl-cap: Share of each class by split.
shares = pd.crosstab(records.split, records.label, normalize="index")
shares.style.format("{:.1%}")

# %% [markdown]
# ## Patients
#
# A few patients have many images. Intervals therefore resample patients, not images, and a split by image
# tests on patients seen in training.

# %%
#| fig-alt: Histogram of the number of images a patient has, with a heavy tail.
#| fig-cap: "Images per patient: a few patients have many."
plots.images_per_patient(records)

# %%
#| tbl-cap: Images per patient by class.
per_patient = records.groupby("label").patient.value_counts().groupby("label")
per_patient.agg(["size", "mean", "median", "max"]).round(2).rename(columns={"size": "patients"})

# %% [markdown]
# ## Radiographs
#
# Drawn at random from the training split, the same number from each class.

# %%
#| fig-alt: A sheet of randomly drawn training radiographs of every class.
#| fig-cap: Training radiographs, drawn at random, the same number of each class.
sheet = train.groupby("label").sample(shown // len(settings.classes), random_state=settings.seed)
plots.image_sheet(images[sheet.row.to_numpy()], sheet.label)

# %% [markdown]
# ## Mean and standard deviation
#
# A network can use any difference between classes (position, exposure, collimation), whether or not it is
# related to disease.

# %%
sample = train.sample(min(sampled, len(train)), random_state=settings.seed)
pixels = images[sample.row.to_numpy()]

# %%
#| fig-alt: Mean image and standard deviation image of each class.
#| fig-cap: Mean and standard deviation of the training images of each class.
plots.class_means(pixels, sample.label)

# %%
#| fig-alt: Histograms of grey levels by class.
#| fig-cap: Grey levels of training radiographs by class.
plots.intensity_histograms(pixels, sample.label)

# %% [markdown]
# ## File sizes
#
# If file size predicts the class, a network may learn how the images were made. (Bytes also depend on the
# image: detail takes more of them.) Below, the scores of boosted trees that see only sizes, on patients
# they were not trained on.

# %%
#| fig-alt: Histograms of the files' width, height, aspect and bytes by class, of those that differ.
#| fig-cap: Width, height, aspect and bytes of the files by class, where they differ.
plots.sizes(xnn.file_features(records), records.label)

# %%
#| tbl-cap: Scores of trees that see file sizes alone.
sizes = audit.size_scores(records, settings)
sizes.to_frame("sizes alone").T if sizes is not None else Markdown(
    "All files have the same size, so it predicts nothing."
)

# %% [markdown]
# ## Duplicate images
#
# *Exact*: the files hold the same bytes. *Near*: perceptual hashes (pHash) differ in at most 10 of 64 bits
# and small copies correlate by at least 0.98, as recompressed, resized or brighter copies do; hashes alone
# would match different children. Cropped, shifted and mirrored copies are not found. Pairs across classes,
# patients or splits come first.

# %%
#| tbl-cap: Duplicate images by kind.
found = audit.explore(settings)
names = records.label + " " + records.split + "\n" + records.patient
same = ["same_label", "same_patient", "same_split"]
kinds = found.pairs.groupby(["kind", *same]).size().rename("pairs").reset_index()
kinds if len(kinds) else Markdown("No image appears twice.")

# %%
#| fig-alt: Pairs of radiographs with one content or one picture, side by side.
#| fig-cap: Duplicates, with class, split and patient; pairs across classes or patients come first.
order = found.pairs.sort_values(same, kind="stable")[["first", "second"]].head(doubtful)
sheet = records.iloc[order.to_numpy().ravel()]
plots.image_sheet(images[sheet.row.to_numpy()], names[sheet.index], columns=8)

# %% [markdown]
# ## Similar images of different classes
#
# The pairs of different classes that are closest in an embedding of the images.

# %%
#| fig-alt: The pairs of radiographs of two classes that are nearest in the embedding, side by side.
#| fig-cap: The nearest pairs of different classes in the embedding.
sheet = records.iloc[found.alike[["first", "second"]].head(doubtful).to_numpy().ravel()]
plots.image_sheet(images[sheet.row.to_numpy()], names[sheet.index], columns=8)

# %%
Markdown(
    f"The embedding: {found.embedding.source}. Cosine of these pairs: {found.alike.cosine.iloc[0]:.2f} to "
    f"{found.alike.cosine.iloc[:doubtful].iloc[-1]:.2f}; exact duplicates have 1."
)

# %%
#| fig-alt: Two maps of the radiographs in the plane of the embedding, coloured by class and by split.
#| fig-cap: The radiographs in the plane of the embedding, by class and by split.
plots.embedding_map(found.table[["x", "y"]], records.label, records.split)

# %% [markdown]
# ## What names a patient?
#
# If bacteria and virus share a number, are these images of one patient? Siblings (one number, one class) are
# alike in the embedding beyond their class. Images that share only the number should be as alike if they are
# siblings too, and no more alike than chance if they are not. Means over numbers, with 95 % intervals.

# %%
#| tbl-cap: Likeness of images that share a number, beyond their class.
alike = siblings.likeness(records, found.embedding.values, settings.seed)
alike.style.format(precision=3).hide(axis=0)

# %% [markdown]
# ## What siblings in training are worth
#
# The same images are predicted twice, out of fold: with folds that separate patients, and with folds that do
# not. Only siblings in training differ, so the gain is what leakage is worth to a head on these features.
# Weighted F1, 95 % intervals over patients; the gain is paired.

# %%
#| tbl-cap: Weighted F1 with and without siblings in training.
worth = siblings.worth(settings, records, found.embedding.values)
siblings.shown(worth)

# %% [markdown]
# ## Likely label errors
#
# A logistic regression on the embedding of other patients' images predicts each image; cleanlab flags a
# label if another class is more likely than that class is on average for its own images. A flag is a
# question for a radiologist, not a proof: the labels of phantoms are all correct, and some are flagged.

# %%
#| tbl-cap: Likely label errors by class.
table = found.table.assign(label=records.label)
table.groupby("label").suspect.agg(["sum", "mean"]).set_axis(["likely label errors", "share"], axis=1).join(
    pd.crosstab(table.label[table.suspect], table.guess[table.suspect]).add_prefix("likelier: ")
)

# %%
#| fig-alt: The radiographs whose label is the least likely, each with its label and the likelier class.
#| fig-cap: "The least likely labels: a question for a radiologist, not a proof."
worst = table.sort_values("label_quality").head(doubtful)
titles = worst.label + ", likelier\n" + worst.guess + worst.confidence.map(" {:.2f}".format)
plots.image_sheet(images[records.row[worst.index].to_numpy()], titles, columns=8)

# %% [markdown]
# ## Split tables
#
# What is known of every image, by file name: patient, split under each protocol, duplicate group, likelier
# class and likely label error, true size of the original and id of its lung mask. If this study is compared
# with others, the table is written to `splits.csv` beside this page.

# %%
#| tbl-cap: The first rows of the table of splits.
splits = audit.split_table(settings, found.table)
if settings.compare_with:
    splits.to_csv(settings.reports / "splits.csv", index=False)
splits.head()

# %% [markdown]
# The summary for the site's data card is written to `_data.md`.

# %%
verdict = audit.verdict(settings, records, found, sizes)
card = f"{xnn.markdown(composition.reset_index())}\n{verdict}\n"
(settings.reports / "_data.md").write_text(card)

# %% [markdown]
# ## Browse the images

# %%
Markdown(fiftyone.build(settings))

# %%
brightness = pd.Series(pixels.mean(axis=(1, 2)), sample.label.to_numpy())
means, most = brightness.groupby(level=0).mean(), records.patient.value_counts()
Markdown(
    f"**Answer.** {len(records):,} radiographs of {most.size:,} patients; one class has from "
    f"{shares.min().min():.0%} to {shares.max().max():.0%} of a split, one patient {most.iloc[0]} images. "
    f"Mean grey levels: {', '.join(f'{label} {value:.0f}' for label, value in means.items())} of 255; "
    f"classes differ by up to {means.max() - means.min():.0f}, single radiographs by {brightness.std():.0f} "
    f"(standard deviation). {verdict}"
)

# %%
xnn.timed(origin)
