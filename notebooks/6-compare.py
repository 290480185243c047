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
from xnn import plots
from xnn.evaluation import comparison

settings = xnn.load_study(study)
plots.style()
settings

# %%
origin = xnn.stamp(settings)
metrics, training = comparison.load(settings)
missing = [run for run in xnn.runs(study) if run not in metrics]
Markdown(f"{len(metrics)} runs. Not made here: {', '.join(missing) or 'none'}.")

# %% [markdown]
# ## On what test?
#
# Scores are comparable with those of others on a split that shares as many patients, and no others. *shared*:
# patients and images that another split has too, if the bare number names the patient, and if number and
# class together do.

# %%
audit = xnn.audit(xnn.load_records(settings))
audit.drop("example", errors="ignore").T

# %% [markdown]
# ## Scores of every run
#
# On the same test patients, with 95 % intervals by bootstrap over patients. Where no pretrained weights
# were the start, the run's name says so.

# %%
table = comparison.results(metrics, training)
table.to_csv(settings.reports / "results.csv", index=False)
columns = ["run", "regime", "starting weights", "f1 weighted", "auroc pneumonia", "test images"]
short = table[[name for name in columns if name in table]]
(settings.reports / "_results.md").write_text(comparison.markdown(short))
sizes = comparison.sizes(settings, training)
names = comparison.names(sizes)
table.replace(names).set_index("run").T

# %%
#| fig-alt: Weighted F1 of every run with its interval.
f1 = comparison.score(metrics, "f1_weighted")
plots.compare_scores(f1.replace(names), "weighted F1")

# %%
#| fig-alt: Area under the ROC curve of pneumonia (other classes - accuracy) of every run with its interval.
auroc = "auroc_pneumonia" if "auroc pneumonia" in table else "accuracy"
plots.compare_scores(comparison.score(metrics, auroc).replace(names), auroc.replace("_", " "))

# %% [markdown]
# ## Which differences are more than chance?
#
# The highest weighted F1 against every other, on the same patients: an interval that holds 0 is a lead
# that may be chance.

# %%
best = f1.loc[f1.value.idxmax()]
leads = comparison.differences(
    settings, [(best.run, run) for run in f1.run if run != best.run], ["f1_weighted"]
)
shown = leads.replace(names)
shown

# %%
#| fig-alt: Difference in weighted F1 between the best run and every other with its interval.
plots.differences(shown.assign(pair=shown.run + " - " + shown.against), "weighted F1")

# %% [markdown]
# ## Do simpler networks perform better?
#
# Only among runs that started alike could size be the reason: there, the best run of the smallest network
# less the best of each larger one.

# %%
#| fig-alt: Weighted F1 of every run over the size of its network, a colour for each kind of starting weights.
table = f1.merge(sizes, on="run")
plots.score_by_size(table, "weighted F1")

# %%
simple = comparison.differences(settings, comparison.by_size(table), ["f1_weighted"])
simple.replace(names)

# %% [markdown]
# ## What do class weights do?
#
# Runs with class weights less the same runs without.

# %%
pairs = comparison.weighted_pairs(settings, list(metrics))
kinds = [f"{kind}_{name}" for kind in ("recall", "precision") for name in settings.classes]
effect = comparison.differences(settings, pairs, ["f1_weighted", "f1_macro", *kinds])
effect = effect.replace(names)
effect

# %%
#| fig-alt: Differences that class weights make to F1, and to precision and recall of every class.
effect["pair"] = effect.run + ": " + effect.score
plots.differences(effect, "score") if len(effect) else Markdown("No two runs differ in class weights alone.")

# %% [markdown]
# ## How much is luck?
#
# Runs that differ in their seed alone: its spread, beside half the length of the interval, which is what
# another draw of patients would do.

# %%
alike = comparison.seeds(settings, list(metrics))
spreads = {first: comparison.seed_spread(metrics, runs) for first, runs in alike.items()}
pd.concat(spreads).round(4) if spreads else Markdown("No run was made with another seed.")

# %%
luck = [
    f"Over the {len(runs)} seeds of `{first}` the weighted F1 is {each['mean']:.3f} with a standard "
    f"deviation of {each.sd:.3f}, {each.sd / each.half_width:.1f} times the half-width of its interval."
    for first, runs in alike.items()
    for each in [spreads[first].loc["f1_weighted"]]
]
Markdown(" ".join(luck))

# %% [markdown]
# ## What do the explanations support?
#
# Integrated Gradients of every run: how many are complete within their tolerance, what that cost, and
# whether each measure of the card tells them from floors that know nothing of the network.

# %%
explained = comparison.explanations(settings)
shown = explained.style.format(precision=3) if len(explained) else Markdown("No run is explained yet.")
shown

# %% [markdown]
# ## What it took
#
# Training time (what frozen layers took once, and every epoch) and throughput are of the machine named
# below, and of it alone.

# %%
pd.DataFrame(
    {
        run: {
            "epochs": len(record["history"]),
            "best epoch": record["best_epoch"],
            "minutes": comparison.minutes(record),
            "images a second": record["images_per_second"],
            "precision": record["precision"],
            "device": record["provenance"]["device"],
        }
        for run, record in training.items()
    }
).T

# %%
rivals = leads[~leads.real].against.tolist()
Markdown(
    f"**Answer.** On a test of which {audit.share['test']:.0%} of the images share their patient with "
    f"another split ({audit.share_and_class['test']:.0%} if number and class together name the patient), "
    f"`{best.run}` has the highest weighted F1: {best.value:.3f} ({best.low:.3f} to "
    f"{best.high:.3f}), on {metrics[best.run]['n']} images of {metrics[best.run]['patients']} patients. "
    f"Its lead over {len(rivals)} of {len(leads)} other runs may be chance"
    f"{': ' if rivals else ''}{', '.join(rivals)}. Weighted F1 of the smallest network against larger ones "
    f"that started alike: {comparison.verdict(simple)}. Of runs with class weights against the same without: "
    f"{comparison.verdict(effect[effect.score == 'f1_weighted'])}. {' '.join(luck)} The highest of "
    f"{len(metrics)} scores on one test is partly luck."
)

# %%
xnn.timed(origin)
