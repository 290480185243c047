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
# # Evaluation

# %% [markdown]
# **How good is this network on the test split, and how certain is that?**
#
# Every score is computed once over the whole test split, never averaged over batches. Intervals are 95 %,
# by bootstrap over patients, since images of one patient are not independent.

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
from xnn.evaluation import calibration, comparison, curves, groups, intervals, result
from xnn.evaluation.predictions import arrays

given = {"model": model, "training": training, "augmentation": augmentation, "evaluation": evaluation}
given |= {"explanation": explanation, "hardware": hardware, "seed": seed, "note": note, "online": online}
settings = xnn.load_run(study, run, **given)
plots.style()
Markdown(xnn.summary(settings))

# %%
#| tbl-cap: The first predictions.
origin = xnn.stamp(settings)
classes, how = settings.study.classes, settings.evaluation
predictions, validation = xnn.predictions(settings), xnn.predictions(settings, "val")
predictions.head()

# %% [markdown]
# ## Scores
#
# Runs are chosen by validation alone; the test split is read once.

# %%
#| tbl-cap: Scores on the test split and on validation, with 95 % intervals over patients.
sizes = xnn.original_sizes(settings.study)
metrics = xnn.metrics(predictions, classes, "test", how.resamples, settings.seed)
metrics |= result.further(settings, predictions, validation, sizes)
scores = pd.DataFrame(metrics["scores"]).T.astype(float)
pd.DataFrame(
    {
        split: {name: comparison.with_interval(found[name]) for name in metrics["scores"]}
        for split, found in {"test": metrics["scores"], "validation": metrics["validation"]}.items()
    }
)

# %%
#| tbl-cap: Scores of each class against the rest.
labels, probabilities = arrays(predictions, classes)
drawn = intervals.patient_weights(predictions.patient, how.resamples, settings.seed)
intervals.per_class(labels, probabilities, classes).style.format(precision=3)

# %% [markdown]
# ## Worst group
#
# The size of the original goes with the class: most healthy radiographs are larger. A network that reads it
# is wrong on small healthy radiographs and on large ill ones, which are few, so the scores above hide it.
# Accuracy of pneumonia against normal, in quarters of the size among the healthy and among the ill images of
# validation. Runs are chosen by the lowest one on validation. The AUROC below is that of the smallest quarter
# of the healthy images against the largest quarter of the ill ones: no threshold has a part in it.

# %%
#| tbl-cap: Accuracy of pneumonia against normal by size of the original, with 95 % intervals over patients.
tables = {"val": validation, "test": predictions}
by_size = groups.by_size(groups.quartered(settings.study, tables, sizes), how.resamples, settings.seed)
groups.shown(by_size) if len(by_size) else Markdown("The originals have one size, or it is not recorded.")

# %%
found = {"on validation": metrics["validation"]["auroc_misleading"], "on test": metrics["auroc_misleading"]}
told = ", ".join(f"{comparison.with_interval(each)} {where}" for where, each in found.items() if each)
Markdown(f"AUROC of pneumonia where size and class disagree: {told}." if told else "")

# %% [markdown]
# ## Precision and recall
#
# The bands are 95 % at each recall, from the same resamples of patients as the intervals.

# %%
#| fig-alt: Precision-recall curves of each class and of all together, with bands.
#| fig-cap: Precision at each recall, higher is better; bands of 95 % over patients.
curve = curves.precision_recall(labels, probabilities, classes)
plots.precision_recall_curves(curve, curves.precision_recall_bands(labels, probabilities, drawn, classes))

# %% [markdown]
# ## F1 by threshold
#
# The confusion matrices below use the class with the highest probability. These curves show the F1 of each
# class if it were predicted above a threshold. Thresholds are chosen on the validation split, since a
# choice on the test split would be optimistic.

# %%
#| fig-alt: F1 of each class against the rest over the threshold of its probability.
#| fig-cap: F1 of each class by threshold, higher is better; the lines are chosen on validation.
chosen = curves.best_thresholds(curves.f1_by_threshold(*arrays(validation, classes), classes))
by_threshold = curves.f1_by_threshold(labels, probabilities, classes)
plots.f1_by_threshold(by_threshold, chosen)

# %%
#| tbl-cap: F1 at the threshold chosen on validation, and of the highest probability.
pd.DataFrame(
    {
        "threshold, best on validation": chosen,
        "F1 there": curves.f1_at(by_threshold, chosen),
        "F1 of the highest probability": intervals.per_class(labels, probabilities, classes).f1,
    }
).style.format(precision=3)

# %% [markdown]
# ## Confusion

# %%
#| fig-alt: Confusion matrices, as counts and as shares of each true class.
#| fig-cap: "Rows are true classes, columns predicted ones: counts, and shares of each row."
plots.confusion_matrices(metrics["confusion"], classes)

# %%
#| fig-alt: Counts of true and false positives and negatives of each class.
#| fig-cap: Outcomes of each class against the rest.
outcomes = intervals.outcome_counts(metrics["confusion"], classes)
plots.outcome_counts(outcomes)

# %% [markdown]
# ## Tasks of Kermany et al.
#
# Pneumonia against normal, and bacteria against virus among images with pneumonia.

# %%
#| tbl-cap: The tasks of Kermany et al., with 95 % intervals.
two = scores.filter(regex="pneumonia|bacteria_vs_virus", axis=0)
two.style.format("{:.3f}", na_rep="-") if len(two) else Markdown("This study has other classes.")

# %% [markdown]
# ## Calibration
#
# A point below the diagonal means that predictions are correct less often than their confidence suggests.
# One temperature, fitted on the validation split, divides the logits (Guo et al. 2017); it changes
# confidences, not predictions. A bootstrap resample has fewer distinct patients and so noisier bins: limits
# of the calibration error would be biased upwards, so it has none. The log loss (`nll`) and the Brier score
# have no bins.

# %%
#| tbl-cap: Calibration before and after the temperature; lower is better.
calibrated = metrics["calibration"]
pd.DataFrame(
    {(when, name): pd.Series(each) for when in ("before", "after") for name, each in calibrated[when].items()}
).T.style.format("{:.3f}", na_rep="-")

# %%
#| fig-alt: Reliability diagrams before and after the temperature.
#| fig-cap: "Accuracy by confidence: on the diagonal, confidence is right."
after = calibration.tempered(probabilities, calibrated["temperature"])
diagrams = {
    "before": curves.reliability(labels, probabilities, drawn, classes),
    f"after, temperature {calibrated['temperature']:.2f}": curves.reliability(labels, after, drawn, classes),
}
plots.reliability(diagrams)

# %% [markdown]
# ## Risk and coverage

# %%
#| fig-alt: Share of errors over the share of radiographs answered.
#| fig-cap: Errors among the most confident predictions, lower is better.
risk = curves.risk_coverage(labels, probabilities, drawn, classes)
plots.risk_coverage(risk)

# %% [markdown]
# ## Sets of classes
#
# Instead of one class the network can name all classes that are not improbable: a set that contains the true
# class with a probability of 90 % in every class, whatever the network (split conformal, one threshold a
# class, from the patients of validation, each of whom counts once). This holds where new patients resemble
# those of validation; the table says how far it holds on the test split. `bacteria or virus` is pneumonia of
# an unknown cause; `none` fits no class.

# %%
#| tbl-cap: Coverage of the sets and their mean size, with 95 % intervals over patients.
conformal = metrics["conformal"]
measured = {name.replace("_", " "): each for name, each in conformal.items() if isinstance(each, dict)}
named = [name for name in measured if name not in ("thresholds", "sets")]
pd.Series({name: comparison.with_interval(measured[name]) for name in named}, name="sets at 90 %").to_frame()

# %%
#| tbl-cap: Share of the test radiographs that are given each set.
shares = {name: comparison.with_interval(each) for name, each in conformal["sets"].items()}
pd.Series(shares, name="share").to_frame()

# %% [markdown]
# ## The most confident mistakes
#
# The error with the highest probability of each kind (true class, predicted class). [Their
# explanations](5-explain.ipynb#the-most-confident-mistakes).

# %%
#| fig-alt: The radiographs of the most confident mistakes of each kind.
#| fig-cap: "The most confident error of each kind: true class, predicted class, probability."
wrong = curves.mistakes(predictions, classes)
images = xnn.load_images(settings.study)
rows = xnn.load_records(settings.study).set_index("path").row[wrong.path]
titles = wrong.label + " called\n" + wrong.predicted + wrong.probability.map(" {:.2f}".format).astype(str)
plots.image_sheet(images[rows.to_numpy()], titles)

# %%
#| tbl-cap: The most confident errors.
wrong.drop(columns="patient").style.format(precision=3)

# %%
metrics["provenance"] = xnn.timed(origin)
xnn.write_json({"study": study, "run": run, **metrics}, settings.reports / "metrics.json")

# %%
f1, told = scores.loc["f1_weighted"], ""
if "auroc_pneumonia" in scores.index:
    auroc = scores.loc["auroc_pneumonia"]
    told = (
        "Pneumonia is told from normal with an AUROC of "
        f"{auroc.value:.3f} ({auroc.low:.3f} to {auroc.high:.3f}). "
    )

# %%
half = risk.iloc[(risk.coverage - 0.5).abs().argmin()]
worst = scores.filter(like="average_precision", axis=0).drop("average_precision_micro").value
Markdown(
    f"**Answer.** On {metrics['n']} test radiographs of {metrics['patients']} patients the weighted F1 is "
    f"**{f1.value:.3f}** ({f1.low:.3f} to {f1.high:.3f}). {told}The hardest class is "
    f"{worst.idxmin().removeprefix('average_precision_')}, with an average precision of {worst.min():.3f}. "
    f"Where only the more confident half of the answers is given, {half.risk:.1%} of them are wrong "
    f"instead of {risk.risk.iloc[-1]:.1%}. A temperature of {calibrated['temperature']:.2f} takes the "
    f"calibration error from {calibrated['before']['ece']['value']:.3f} to "
    f"{calibrated['after']['ece']['value']:.3f}. Sets of classes cover the true one in "
    f"{conformal['coverage']['value']:.1%} of the cases, with {conformal['mean_size']['value']:.2f} classes "
    "on average."
)

# %%
xnn.Stamp(metrics["provenance"])
