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
# # Results

# %% [markdown]
# **Which network performs best on this study, and which differences exceed chance?**

# %% tags=["parameters"]
study = "phantom"  # a folder of params/

# %%
import pandas as pd
from IPython.display import Markdown

import xnn
from xnn import plots
from xnn.evaluation import comparison, seeds, shortcuts

settings = xnn.load_study(study)
plots.style()
Markdown(xnn.summary(settings))

# %%
origin = xnn.stamp(settings)
metrics, training = comparison.load_results(settings)
missing = [f"`{run}`" for run in xnn.runs(study) if not (settings.reports / run / "metrics.json").exists()]
words = f"Not trained here: {'; '.join(missing)}." if missing else "All configured runs are included."
Markdown(f"{len(metrics)} networks given whole radiographs. {words}")

# %% [markdown]
# ## The test split
#
# A score is only comparable with scores on splits that share as many patients. *Shared*: patients, and their
# images, that are also in another split, if the bare number names the patient; then if number and class do.

# %%
#| tbl-cap: What each split holds, and what it shares with the others.
audit = xnn.audit(xnn.load_records(settings))
audit.drop("example", errors="ignore").T

# %% [markdown]
# ## Scores of every run
#
# All on the same test patients, with 95 % intervals by bootstrap over patients. A *random start* means no
# pretrained weights.

# %%
#| tbl-cap: "Every network, best on validation first. Higher is better in every column."
chosen = comparison.by_validation(metrics)
table = comparison.result_table(metrics, training)
table.to_csv(settings.reports / "results.csv", index=False)
columns = ["run", "validation worst group", "validation f1", "worst group", "f1 weighted", "auroc pneumonia"]
short = table[[name for name in columns if name in table]]
sizes = comparison.networks(settings, training)
names = comparison.titles(settings, metrics)
short

# %%
#| tbl-cap: Further scores and calibration error (lower is better), in the same order.
hidden = ["regime", "starting weights", "test images", "parameters trained", "minutes"]
table.drop(columns=[*short.columns.drop("run"), *hidden])

# %%
#| fig-alt: Weighted F1 of every run with its interval.
#| fig-cap: Weighted F1 of every network on the test split; higher is better.
f1 = comparison.score(metrics, "f1_weighted")
plots.compare_scores(f1.replace(names), "weighted F1")

# %%
#| fig-alt: AUROC for pneumonia (for studies of other classes, accuracy) of every run with its interval.
#| fig-cap: "AUROC for pneumonia (accuracy in studies of other classes); higher is better."
auroc = "auroc_pneumonia" if "auroc pneumonia" in table else "accuracy"
plots.compare_scores(comparison.score(metrics, auroc).replace(names), xnn.in_words(auroc))

# %% [markdown]
# ## Does validation predict the test?
#
# Spearman's rank correlation over the runs: 1 if a score on validation (rows) ranks them as a score on the
# test split (columns) does. *Worst group*: the lowest accuracy among the quarters of healthy and of ill
# images by original size. *Where size misleads*: the smallest quarter of the healthy images against the
# largest quarter of the ill ones.

# %%
#| tbl-cap: Rank correlation of scores on validation (rows) with scores on the test split (columns).
foresight = comparison.foresight(metrics)
foresight.round(2) if len(foresight) else Markdown("")

# %% [markdown]
# ## Which differences exceed chance?
#
# The network chosen on validation against every other one, on the same test patients. If the interval
# contains 0, the difference may be chance. The test split plays no part in the choice.

# %%
#| tbl-cap: Weighted F1 of the chosen network minus that of each other one.
best = f1.set_index("run", drop=False).loc[chosen.index[0]]
leads = comparison.differences(
    settings, [(best.run, run) for run in f1.run if run != best.run], ["f1_weighted"]
)
comparison.as_read(leads).drop(columns=["run", "score"]).rename(columns={"against": "other network"})

# %%
#| fig-alt: Difference in weighted F1 between the chosen run and every other with its interval.
#| fig-cap: "Chosen network minus each other one, in weighted F1: right of 0, the chosen one is better."
plots.differences(leads.assign(pair=leads.against.replace(names)), "weighted F1")

# %% [markdown]
# ## Do simpler networks perform better?
#
# Size can explain a difference only between runs with the same kind of starting weights. In each such
# group, the best run of the smallest network on validation is compared with that of each larger network.

# %%
#| fig-alt: Weighted F1 of every run over the size of its network, a colour for each kind of starting weights.
#| fig-cap: "Weighted F1 by size, with 95 % intervals. Shape: network. Colour: starting weights."
table = f1.merge(sizes, on="run").merge(chosen.reset_index(), on="run")
plots.score_by_size(table, "weighted F1")

# %%
#| tbl-cap: Weighted F1 of the smallest network minus that of a larger one.
simple = comparison.differences(settings, comparison.by_size(table), ["f1_weighted"])
comparison.as_read(simple).drop(columns="score") if len(simple) else Markdown("")

# %% [markdown]
# ## Effect of class weights
#
# Runs with class weights against the same runs without.

# %%
#| tbl-cap: Scores with class weights minus scores without.
pairs = comparison.weighted_pairs(settings, list(metrics))
kinds = [f"{kind}_{name}" for kind in ("recall", "precision") for name in settings.classes]
effect = comparison.differences(settings, pairs, ["f1_weighted", "f1_macro", *kinds])
comparison.as_read(effect) if len(effect) else Markdown("")

# %%
#| fig-alt: Differences that class weights make to F1, and to precision and recall of every class.
#| fig-cap: "Scores with class weights minus scores without: right of 0, the weights help."
drawn = effect.assign(pair=effect.run.replace(names) + ": " + effect.score.map(xnn.in_words))
plots.differences(drawn, "score") if len(effect) else Markdown("")

# %% [markdown]
# ## With several seeds
#
# A single seed is weak evidence. The sweeps of this study compare means over seeds, with intervals over
# patients and seeds: class weights against none, and the setting with the fewest trained parameters against
# each other one.

# %%
#| tbl-cap: Differences in weighted F1 between settings, means over seeds.
answered = seeds.answered(settings)
comparison.as_read(answered).rename(columns={"run": "setting"}) if len(answered) else Markdown("")

# %% [markdown]
# ## Variation over seeds
#
# The spread of runs that differ only in their seed, beside the half-width of the interval, which measures the
# variation over patients.

# %%
#| tbl-cap: Spread over seeds, beside the half-width of the interval over patients.
alike = seeds.alike(settings, metrics)
spreads = {first: seeds.spread(metrics, runs) for first, runs in alike.items()}
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
# ## Accuracy, robustness and lungs
#
# For every run that was tested without the lungs, the chosen run first: its accuracy, the share of answers
# that change under noise, blur and recompression too slight to see, and its score with and without the
# lungs. A network that relies on the lungs loses its score without them.

# %%
#| fig-alt: Accuracy, share of answers changed by small changes, and score without the lungs, of every run.
#| fig-cap: "Three sides of each network, with 95 % intervals: accuracy, robustness, use of the lungs."
sides = shortcuts.three_sides(settings)
drawn = {title: each.replace(names) for title, each in sides.items()}
plots.panels_of_runs(drawn) if sides else Markdown("")

# %% [markdown]
# ## What do the explanations support?
#
# Integrated Gradients of every run: the share that is complete within the tolerance, the number of gradients
# that this takes, whether they are better or worse than every control by each measure, and the share of their
# magnitude within the lungs. A recipe that makes a network use the lungs more would raise that share.

# %%
#| tbl-cap: Integrated Gradients of every network against the controls.
explained = comparison.explanations(settings)
explained.round(3) if len(explained) else Markdown("")

# %% [markdown]
# ## Cost
#
# Training time, including one pass through frozen layers, and throughput, on the device named in the table.

# %%
#| tbl-cap: What the trainings took.
pd.DataFrame(
    {
        run: {
            "parameters trained": record["parameters"]["trained"],
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
rivals = [f"`{run}`" for run in leads[~leads.real].against]
lines = [
    f"{audit.share['test']:.0%} of the test images share their patient with another split "
    f"({audit.share_and_class['test']:.0%} if number and class together name the patient).",
    f"The difference from {len(rivals)} of {len(leads)} other networks may be chance"
    f"{': ' if rivals else ''}{'; '.join(rivals)}.",
]
if len(simple):
    lines.append(
        "Weighted F1 of the smallest network against larger ones with the same starting weights: "
        f"{comparison.verdict(simple)}."
    )

# %%
if len(effect):
    weighted = effect[effect.score == "f1_weighted"]
    lines.append(f"Weighted F1 with class weights against without: {comparison.verdict(weighted)}.")
lines += [*seeds.said(answered), *luck]
Markdown(
    f"**Answer.** `{best.run}`, chosen by {chosen.attrs['criterion']}, reaches a weighted F1 of "
    f"{comparison.with_interval(best)} on {metrics[best.run]['n']} test images of "
    f"{metrics[best.run]['patients']} patients.\n\n" + "".join(f"- {line}\n" for line in lines)
)

# %%
xnn.timed(origin)
