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
chosen = comparison.by_validation(metrics)
table = comparison.result_table(metrics, training)
table.to_csv(settings.reports / "results.csv", index=False)
columns = ["run", "regime", "starting weights", "validation worst group", "validation f1"]
columns += ["worst group", "f1 weighted", "auroc pneumonia", "test images"]
short = table[[name for name in columns if name in table]]
(settings.reports / "_results.md").write_text(comparison.markdown(short))
sizes = comparison.networks(settings, training)
names = comparison.titles(settings, metrics)
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
# ## Does validation foresee the test?
#
# Spearman's rank correlation over the runs: 1 if a score on validation (rows) ranks them as a score on the
# test split (columns) does. *Worst group*: the lowest accuracy among quarters of the size of the originals,
# healthy and ill. *Where size misleads*: the smallest quarter of the healthy against the largest of the ill.

# %%
#| tbl-cap: Rank correlation of scores on validation (rows) with scores on the test split (columns).
foresight = comparison.foresight(metrics)
foresight.round(2) if len(foresight) else Markdown("")

# %% [markdown]
# ## Which differences exceed chance?
#
# The run that validation chooses against every other run, on the same test patients: if the interval
# contains 0, the difference may be chance. The test split has no part in the choice.

# %%
#| tbl-cap: Chosen network minus each other one, in weighted F1.
best = f1.set_index("run", drop=False).loc[chosen.index[0]]
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
#| fig-cap: "Shape: network. Colour: starting weights. Networks of one size lie above each other."
table = f1.merge(sizes, on="run").merge(chosen.reset_index(), on="run")
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
# ## With several seeds
#
# One seed decides little. From the sweeps of this study: means over seeds, their difference in weighted F1,
# and an interval over patients and seeds. *Simpler*: the setting with the fewest trained parameters against
# each other one.

# %%
#| tbl-cap: Differences in weighted F1 between settings, means over seeds.
answered = seeds.answered(settings)
answered.round(3) if len(answered) else Markdown("")

# %% [markdown]
# ## Variation over seeds
#
# The spread of runs that differ only in their seed, beside half the length of the interval, which measures
# the variation over patients.

# %%
#| tbl-cap: Spread over seeds, beside half the width of the interval over patients.
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
# Every run whose page removes the lungs, chosen run first: its accuracy, the share of answers that change
# under noise, blur and recompression that no reader would see, and its score with and without the lungs. A
# network that reads the lungs loses its score without them.

# %%
#| fig-alt: Accuracy, share of answers changed by small changes, and score without the lungs, of every run.
#| fig-cap: "Three sides of each network, with 95 % intervals: accuracy, robustness, use of the lungs."
sides = shortcuts.three_sides(settings)
plots.panels_of_runs(sides) if sides else Markdown("")

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
    f"`{best.run}`, chosen by {chosen.attrs['criterion']}, reaches a weighted F1 of {best.value:.3f} "
    f"({best.low:.3f} to {best.high:.3f}) on {metrics[best.run]['n']} images of "
    f"{metrics[best.run]['patients']} patients. {chance} Weighted F1 of the smallest network against larger "
    f"ones that started alike: {comparison.verdict(simple)}. Of runs with class weights against the same "
    f"without: {comparison.verdict(effect[effect.score == 'f1_weighted'])}. {seeds.said(answered)}"
    f"{' '.join(luck)}"
)

# %%
xnn.timed(origin)
