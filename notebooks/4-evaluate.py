# ---
# title: Evaluation
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
# **How good is this network on radiographs of patients it has never seen, and how sure can we be?**
#
# Every number is computed once over the whole test split, never averaged over batches. Intervals are
# 95 %, by bootstrap over patients: images of one patient are not independent.

# %% tags=["parameters"]
study = "phantom"  # a folder of params/
run = "mobilenet_v2"  # a file of that folder

# %%
import pandas as pd
from IPython.display import Markdown

import xnn
from xnn import evaluation, plots

settings = xnn.load_run(study, run)
plots.style()
settings

# %%
origin = xnn.provenance.stamp(settings)
classes = settings.study.classes
predictions = xnn.predictions(settings)
predictions.head()

# %% [markdown]
# ## Scores

# %%
metrics = xnn.metrics(predictions, classes, "test", settings.evaluation.resamples, settings.seed)
scores = pd.DataFrame(metrics["scores"]).T
scores.style.format("{:.3f}")

# %%
labels = predictions.label.map(classes.index).to_numpy()
probabilities = predictions[classes].to_numpy()
evaluation.per_class(labels, probabilities, classes).style.format(precision=3)

# %% [markdown]
# ## Precision and recall

# %%
#| fig-alt: Precision-recall curves of each class and of all together.
plots.precision_recall_curves(evaluation.precision_recall(labels, probabilities, classes))

# %% [markdown]
# ## Confusion

# %%
#| fig-alt: Confusion matrices, as counts and as shares of each true class.
plots.confusion_matrices(metrics["confusion"], classes)

# %%
#| fig-alt: Counts of true positives, false positives and false negatives of each class.
outcomes = evaluation.outcome_counts(metrics["confusion"], classes)
plots.outcome_counts(outcomes)

# %%
outcomes

# %%
result = {"study": study, "run": run, **metrics, "provenance": xnn.provenance.timed(origin)}
xnn.provenance.write_json(result, settings.reports / "metrics.json")

# %%
f1, auroc = scores.loc["f1_weighted"], scores.loc["auroc_pneumonia"]
worst = scores.filter(like="average_precision", axis=0).drop("average_precision_micro").value
Markdown(
    f"**Answer.** On {metrics['n']} test radiographs of {metrics['patients']} patients the weighted F1 is "
    f"**{f1.value:.3f}** ({f1.low:.3f} to {f1.high:.3f}). Pneumonia is told from normal with an AUROC of "
    f"{auroc.value:.3f} ({auroc.low:.3f} to {auroc.high:.3f}). The hardest class is "
    f"{worst.idxmin().removeprefix('average_precision_')}, with an average precision of {worst.min():.3f}."
)

# %%
xnn.provenance.Stamp(result["provenance"])
