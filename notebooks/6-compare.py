# ---
# title: Results
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
# **Which network does best on this study, and which differences are more than chance?**

# %% tags=["parameters"]
study = "phantom"  # a folder of params/

# %%
import pandas as pd
from IPython.display import Markdown

import xnn
from xnn import comparison, plots

settings = xnn.load_study(study)
plots.style()
settings

# %%
origin = xnn.provenance.stamp(settings)
metrics, training = comparison.load(settings)
missing = [run for run in xnn.params.runs(study) if run not in metrics]
Markdown(f"{len(metrics)} runs. Not made here: {', '.join(missing) or 'none'}.")

# %% [markdown]
# ## Scores of every run
#
# On the same test patients, with 95 % intervals by bootstrap over patients.

# %%
table = comparison.results(metrics, training)
table.to_csv(settings.reports / "results.csv", index=False)
short = table[["run", "regime", "starting weights", "f1 weighted", "auroc pneumonia", "test images"]]
(settings.reports / "_results.md").write_text(comparison.markdown(short))
table.set_index("run").T

# %%
#| fig-alt: Weighted F1 of every run with its interval.
f1 = comparison.score(metrics, "f1_weighted")
plots.compare_scores(f1, "weighted F1")

# %%
#| fig-alt: Area under the ROC curve of pneumonia against normal of every run with its interval.
plots.compare_scores(comparison.score(metrics, "auroc_pneumonia"), "AUROC, pneumonia or normal")

# %% [markdown]
# ## What it took
#
# Training time and throughput are of the machine named below, and of it alone.

# %%
pd.DataFrame(
    {
        run: {
            "epochs": len(record["history"]),
            "best epoch": record["best_epoch"],
            "minutes": round(sum(row["seconds"] for row in record["history"]) / 60, 1),
            "images a second": record["images_per_second"],
            "precision": record["precision"],
            "device": record["provenance"]["device"],
        }
        for run, record in training.items()
    }
).T

# %%
best = f1.loc[f1.value.idxmax()]
rivals = f1[(f1.high >= best.low) & (f1.run != best.run)].run.tolist()
Markdown(
    f"**Answer.** `{best.run}` has the highest weighted F1: {best.value:.3f} ({best.low:.3f} to "
    f"{best.high:.3f}). The intervals of {len(rivals)} of the {len(f1) - 1} other runs overlap with it"
    f"{': ' if rivals else ''}{', '.join(rivals)}; a lead over such a run may be chance. All were tested on "
    f"the same {metrics[best.run]['n']} images of {metrics[best.run]['patients']} patients."
)

# %%
xnn.provenance.timed(origin)
