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
# **Which network performs best on this study, and which differences exceed chance?**

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
Markdown(xnn.summary(settings))

# %%
origin = xnn.stamp(settings)
metrics, training = comparison.load_results(settings)
missing = [run for run in xnn.runs(study) if not (settings.reports / run / "metrics.json").exists()]
words = f"Not made: {', '.join(missing)}." if missing else "All configured runs are included."
Markdown(f"{len(metrics)} networks that are given whole radiographs. {words}")

# %% [markdown]
# ## The test split
#
# Scores are comparable only between splits that share equally many patients. *shared*: patients and images
# that are also in another split, if the bare number names the patient, and if number and class together do.

# %%
#| tbl-cap: What each split holds, and what it shares with the others.
audit = xnn.audit(xnn.load_records(settings))
audit.drop("example", errors="ignore").T

# %% [markdown]
# ## Scores of every run
#
# On the same test patients, with 95 % intervals by bootstrap over patients. The names of runs without
# pretrained weights say so.

# %%
#| tbl-cap: Every network, best on validation first.
validation = comparison.validation_f1(settings, metrics)
table = comparison.result_table(metrics, training, validation)
table.to_csv(settings.reports / "results.csv", index=False)
columns = ["run", "regime", "starting weights", "validation f1"]
columns += ["f1 weighted", "auroc pneumonia", "test images"]
short = table[[name for name in columns if name in table]]
(settings.reports / "_results.md").write_text(comparison.markdown(short))
sizes = comparison.networks(settings, training)
names = comparison.titles(sizes)
short

# %%
#| tbl-cap: Average precision of each class, calibration error and cost, in the same order.
table.drop(columns=short.columns.drop("run"))

# %%
#| fig-alt: Weighted F1 of every run with its interval.
#| fig-cap: Weighted F1 of every network on the test split; higher is better.
f1 = comparison.score(metrics, "f1_weighted")
plots.compare_scores(f1.replace(names), "weighted F1")

# %%
#| fig-alt: Area under the ROC curve of pneumonia (other classes - accuracy) of every run with its interval.
#| fig-cap: The same for the distinction of pneumonia from normal; higher is better.
auroc = "auroc_pneumonia" if "auroc pneumonia" in table else "accuracy"
plots.compare_scores(comparison.score(metrics, auroc).replace(names), auroc.replace("_", " "))

# %% [markdown]
# ## Which differences exceed chance?
#
# The run with the highest weighted F1 on the validation split against every other run, on the same test
# patients: if the interval contains 0, the difference may be chance. The test split has no part in the
# choice.

# %%
#| tbl-cap: Chosen network minus each other one, in weighted F1.
best = f1.set_index("run", drop=False).loc[validation.index[0]]
leads = comparison.differences(
    settings, [(best.run, run) for run in f1.run if run != best.run], ["f1_weighted"]
)
shown = leads.replace(names)
shown

# %%
#| fig-alt: Difference in weighted F1 between the chosen run and every other with its interval.
#| fig-cap: "Chosen network minus each other one: an interval with 0 may be chance."
plots.differences(shown.assign(pair=shown.run + " - " + shown.against), "weighted F1")

# %% [markdown]
# ## Do simpler networks perform better?
#
# Size can explain a difference only between runs with the same kind of starting weights. For each such
# group: the run of the smallest network that validation prefers minus that of each larger one.

# %%
#| fig-alt: Weighted F1 of every run over the size of its network, a colour for each kind of starting weights.
#| fig-cap: The best of each size is named; the intervals of a size overlap.
table = f1.merge(sizes, on="run").merge(validation, left_on="run", right_index=True)
plots.score_by_size(table, "weighted F1")

# %%
#| tbl-cap: Smallest network minus a larger one, in weighted F1.
simple = comparison.differences(settings, comparison.by_size(table), ["f1_weighted"])
simple.replace(names) if len(simple) else Markdown("")

# %% [markdown]
# ## Effect of class weights
#
# Runs with class weights minus the same runs without.

# %%
#| tbl-cap: With class weights minus without.
pairs = comparison.weighted_pairs(settings, list(metrics))
kinds = [f"{kind}_{name}" for kind in ("recall", "precision") for name in settings.classes]
effect = comparison.differences(settings, pairs, ["f1_weighted", "f1_macro", *kinds])
effect = effect.replace(names)
effect if len(effect) else Markdown("")

# %%
#| fig-alt: Differences that class weights make to F1, and to precision and recall of every class.
#| fig-cap: "With class weights minus without: above 0, the weights help."
effect["pair"] = effect.run + ": " + effect.score
plots.differences(effect, "score") if len(effect) else Markdown("")

# %% [markdown]
# ## Variation over seeds
#
# The spread of runs that differ only in their seed, beside half the length of the interval, which measures
# the variation over patients.

# %%
#| tbl-cap: Spread over seeds, beside half the width of the interval over patients.
alike = comparison.seeds(settings, list(metrics))
spreads = {first: comparison.seed_spread(metrics, runs) for first, runs in alike.items()}
pd.concat(spreads).round(4) if spreads else Markdown("")

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
# Integrated Gradients of every run: how many are complete within the tolerance, their cost, and whether
# each measure of the card separates them from the controls.

# %%
#| tbl-cap: Integrated Gradients of every network against the controls.
explained = comparison.explanations(settings)
shown = explained.style.format(precision=3) if len(explained) else Markdown("")
shown

# %% [markdown]
# ## Cost
#
# Training time (once for frozen layers, and per epoch) and throughput, on the machine named below.

# %%
#| tbl-cap: What the trainings took.
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
chance = (
    f"The difference from {len(rivals)} of {len(leads)} other runs may be chance"
    f"{': ' if rivals else ''}{', '.join(f'`{run}`' for run in rivals)}."
)

# %%
Markdown(
    f"**Answer.** On a test of which {audit.share['test']:.0%} of the images share their patient with "
    f"another split ({audit.share_and_class['test']:.0%} if number and class together name the patient), "
    f"`{best.run}`, which has the highest F1 on validation, reaches a weighted F1 of {best.value:.3f} "
    f"({best.low:.3f} to {best.high:.3f}) on {metrics[best.run]['n']} images of "
    f"{metrics[best.run]['patients']} patients. {chance} Weighted F1 of the smallest network against larger "
    f"ones that started alike: {comparison.verdict(simple)}. Of runs with class weights against the same "
    f"without: {comparison.verdict(effect[effect.score == 'f1_weighted'])}. {' '.join(luck)}"
)

# %%
xnn.timed(origin)
