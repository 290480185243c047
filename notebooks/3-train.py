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
# # Training

# %% [markdown]
# **How was this network trained, and did it learn?**
#
# The run's parameter file decides the result. A model trained from exactly these inputs is kept, and an
# interrupted training continues from its last complete epoch.

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
import pandas as pd
from IPython.display import Markdown

import xnn
from xnn import plots
from xnn.training import batches, fit

groups = {"model": model, "training": training, "augmentation": augmentation, "evaluation": evaluation}
groups |= {"explanation": explanation, "hardware": hardware, "seed": seed, "note": note, "online": online}
settings = xnn.load_run(study, run, **groups)
plots.style()
Markdown(xnn.summary(settings))

# %% [markdown]
# ## Recipe

# %%
#| tbl-cap: The recipe.
pd.DataFrame({name: str(value) for name, value in settings.training}, index=["training"]).T

# %%
weights, counts = fit.initial_state(settings)
Markdown(
    f"{settings.model.backbone}, {settings.model.regime}. Starting weights: **{weights}**. "
    f"{counts['trained']:,} of {counts['total']:,} parameters are trained."
)

# %% [markdown]
# ## Views
#
# The network sees every training radiograph once per epoch, each time as a new random view, or as one of a
# fixed number of views in turn if the recipe says so.

# %%
#| fig-alt: Random views of a few training radiographs.
#| fig-cap: Random views of one training radiograph of each class, as the network sees them.
records = xnn.load_records(settings.study)
data = records[records.split == "train"].groupby("label").head(1)
views = batches.Views(
    data,
    xnn.load_images(settings.study),
    settings.study.classes,
    batches.augmentation(settings.augmentation, settings.study.image_size),
)
plots.image_sheet([views[i, view][0] for i in range(len(data)) for view in range(6)], data.label.repeat(6))

# %% [markdown]
# ## Training
#
# After each epoch, one loss is computed in the same way on the validation images (`val_loss`) and on equally
# many training images (`sample_loss`): without augmentation, dropout, label smoothing and mix-up. The gap
# between the two curves is overfitting. `train_loss` in the table is the loss that was minimised, on random
# views, while the weights changed.

# %%
record = xnn.fit(settings)
xnn.write_json(record, settings.reports / "training.json")
history = pd.DataFrame(record["history"])

# %%
#| fig-alt: Loss on training and on validation images, validation F1 and learning rate by epoch.
#| fig-cap: Loss (lower is better), validation F1 (higher is better) and learning rate after each epoch.
plots.learning_curves(history)

# %%
#| tbl-cap: Every epoch.
rates = history.lr.map("{:.2e}".format)
history.assign(lr=rates, seconds=history.seconds.round()).round(4).set_index("epoch")

# %% [markdown]
# ## Predictions
#
# The predictions of the kept model on the test images are saved for the pages that follow; nothing on this
# page uses them.

# %%
predictions = xnn.predictions(settings)

# %%
best = history.set_index("epoch").loc[record["best_epoch"]]
Markdown(
    f"**Answer.** The best of {len(history)} epochs is number {record['best_epoch']}, with a validation F1 "
    f"(weighted, over the whole split) of {best.val_f1:.3f}; its weights are kept. Training ended because: "
    f"{record['stopped']}. It took {history.seconds.sum() / 60:.1f} minutes at {record['images_per_second']} "
    f"images a second ({record['precision']}) on {record['provenance']['device']}."
)

# %%
xnn.Stamp(record["provenance"])
