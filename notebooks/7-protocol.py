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
# # Protocol

# %% [markdown]
# **How much of a score is due to the network, and how much to the protocol?**
#
# Image sizes that differ by class, siblings of test images in training, and a class mix that training and
# test share can all raise a score. Each effect is measured here.

# %% tags=["parameters"]
study = "phantom"  # a folder of params/

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

import xnn
from xnn import plots
from xnn.evaluation import comparison, protocol, shortcuts

settings = xnn.load_study(study)
plots.style()
Markdown(xnn.summary(settings))

# %%
origin = xnn.stamp(settings)
metrics, _ = comparison.load_results(settings)
f1 = comparison.score(metrics, "f1_weighted")
best = f1.set_index("run", drop=False).loc[comparison.by_validation(metrics).index[0]]

# %% [markdown]
# ## Shortcuts
#
# Width, height and aspect of the original, the sharpness of the image (how much fine detail its central half
# has) and the bytes of the file are not the disease. If they predict it, a network may read them. Each
# feature alone, in the direction that is right on the training split; then boosted trees on all of them.
# Bytes and sharpness do look at the lung, since opacities take detail away; sizes do not.

# %%
#| tbl-cap: What each shortcut alone reaches, beside the chosen network.
records = xnn.load_records(settings)
features = xnn.shortcut_features(settings, records)
found = shortcuts.shortcuts(settings, records, features)
told = shortcuts.beside(found, metrics[best.run]["scores"], best.run)
told

# %%
#| fig-alt: The score of each feature alone, of trees on several, and of the chosen run, with intervals.
#| fig-cap: What each shortcut alone reaches, beside the chosen network; higher is better.
by_feature = shortcuts.by_feature(found, metrics[best.run]["scores"], best.run)
plots.compare_scores(by_feature, by_feature.attrs["score"])

# %% [markdown]
# Which healthy test radiographs are called pneumonia? AUROC of a *lower* value for a false alarm of the
# chosen run: 0.5 if the feature has nothing to do with it.

# %%
#| tbl-cap: AUROC of a lower value of the feature for a false alarm.
alarms = shortcuts.of_false_alarms(xnn.load_run(study, best.run), records, features)
alarms.style.format(precision=3).hide(axis=0)

# %% [markdown]
# Do the publishers' test images differ from their training images? AUROC of a *higher* value for the test
# part, within each class: 0.5 if both parts are alike.

# %%
#| tbl-cap: AUROC of a higher value of the feature for the publishers' test part.
parts = shortcuts.between_parts(settings, records, features)
parts.style.format(precision=3).hide(axis=0) if len(parts) else Markdown("")

# %% [markdown]
# ## Networks on parts of the radiograph
#
# AUROC of pneumonia for each network whose page tests it without the lungs, on each part; in the last rows
# the same recipe was trained on that part alone. Removed parts have the mean grey of the rest.

# %%
#| tbl-cap: AUROC of pneumonia on parts of the radiograph.
grid = shortcuts.region_grid(settings)
grid if len(grid) else Markdown("")

# %% [markdown]
# ## Subgroups
#
# Recall of each class (of the healthy class this is the specificity) in the groups that file names and
# folders give, for the chosen run.

# %%
#| tbl-cap: Recall in each subgroup.
shortcuts.subgroups(xnn.load_run(study, best.run), records).style.format(precision=3).hide(axis=0)

# %% [markdown]
# ## Averages over batches
#
# A mean of scores over batches is not the score of the split: it depends on batch size and order, and it is
# optimistic for images sorted by class. The same predictions, computed in three ways:

# %%
#| tbl-cap: Weighted F1 of the same predictions in three ways.
averaged = protocol.batch_average(settings, best.run)
pd.Series(averaged).rename("weighted F1").to_frame().style.format("{:.3f}")

# %% [markdown]
# ## Leakage
#
# The same networks, recipes and seeds on other splits of the same radiographs. A sibling is a training
# image of the same patient: if number and class in the file name together name the patient, which is what
# [the images say](2-explore.ipynb#what-names-a-patient), and if the bare number does. *change* is the
# difference from the score with patients apart; the test images differ, so it includes the chance of both
# draws.

# %%
#| tbl-cap: The same networks on other splits of the same radiographs.
leaks = protocol.leakage(settings) if settings.compare_with else pd.DataFrame()
leaks.style.format(precision=3) if len(leaks) else Markdown("")

# %%
#| fig-alt: How far the weighted F1 of each run lies above that with patients apart, on every other split.
#| fig-cap: "F1 on another split minus F1 with patients apart: an interval with 0 may be chance."
others = leaks[leaks.study != study] if len(leaks) else leaks
drawn = pd.DataFrame()
if len(others):
    drawn = others[["change", "change_low", "change_high"]].set_axis(["value", "low", "high"], axis=1)
    drawn["pair"] = others.run + ": " + others.study
plots.differences(drawn, f"weighted F1 from {study}") if len(drawn) else Markdown("")

# %% [markdown]
# ## Another class mix
#
# If the class shares of the test split differ from those of training, probabilities are biased. They are
# first calibrated on validation, with a temperature and a bias per class (Alexandari et al. 2020); their mean
# there is the mix that the network assumes. The mix of the test images can be estimated without their labels
# (Saerens et al. 2002), and Bayes' rule corrects the probabilities for it. This uses all test images at once,
# so it is not a score for single images; and it can only help if images of a class look alike in both splits.

# %%
#| tbl-cap: "Class mix: of training, as the network assumes it, as estimated for the test split, and there."
shifted = protocol.for_the_mix_of_test(settings, best.run)
pd.DataFrame(shifted.attrs["mixes"]).style.format("{:.3f}")

# %%
#| tbl-cap: Scores before and after the correction for the class mix.
table = shifted.assign(found=shifted.apply(comparison.with_interval, axis=1))
table.pivot(index="score", columns="way", values="found").loc[shifted.score.unique()]

# %% [markdown]
# ## Published numbers
#
# On the same test patients; what differs otherwise is in the last column. Only this report has intervals: the
# others published none.

# %%
#| tbl-cap: This report beside published results.
published = protocol.beside_published(settings) if settings.published else pd.DataFrame()
shown = published.map(lambda each: comparison.with_interval(each) if isinstance(each, dict) else each)
Markdown(comparison.markdown(shown.fillna("")) if len(shown) else "")

# %%
result = {"study": study, "leakage": leaks.to_dict("records")}
result |= {"mix": {"run": best.run, **shifted.attrs["mixes"], "scores": shifted.to_dict("records")}}
result |= {"provenance": xnn.timed(origin)}
xnn.write_json(result, settings.reports / "protocol.json")
found |= {"false_alarms": alarms.to_dict("records"), "parts": parts.to_dict("records")}
xnn.write_json(found | {"provenance": result["provenance"]}, settings.reports / "shortcuts.json")

# %%
explained = comparison.explanations(settings)
lines = [
    shortcuts.sentence(found, metrics[best.run]["scores"], best.run),
    *shortcuts.trained_on_parts(settings),
    f"As a mean over batches sorted by class the weighted F1 of `{best.run}` would read "
    f"{averaged['sorted']:.3f} instead of {averaged['whole']:.3f}.",
]
lines += [
    f"On `{row.study}`, where {row.patient_and_class:.0%} of the test images have a sibling in training "
    f"(number and class; {row.patient:.0%} by the bare number), the weighted F1 of `{row.run}` changes by "
    f"{row.change:+.3f} ({row.change_low:+.3f} to {row.change_high:+.3f})."
    for row in others.itertuples()
    if row.run == best.run
]

# %%
if len(explained):
    complete = np.average(explained.complete, weights=explained.explained)
    measures = [name for name in ("insertion auc", "deletion auc") if name in explained]
    counts = {
        name: explained[name].value_counts().reindex(["better", "worse"]).fillna(0) for name in measures
    }
    told = ", ".join(f"by {name} in {each.better:.0f} and {each.worse:.0f}" for name, each in counts.items())
    lines += [
        f"Of {explained.explained.sum()} explanations in {len(explained)} runs {complete:.1%} are complete "
        f"within their tolerance. That does not make them good: image by image they are better than every "
        f"control, which know nothing of the network, and worse than every one {told} of the runs."
    ]
(settings.reports / "_findings.md").write_text("".join(f"- {line}\n" for line in lines))

# %%
accuracy = shifted[shifted.score == "accuracy"].set_index("way").value
mixes = pd.DataFrame(shifted.attrs["mixes"])
off = mixes[["estimated", "trained"]].sub(mixes.test, axis=0).abs().max()
lines += [
    f"The class mix of the test split is estimated {off.estimated:.1%} off at most, and that of training is "
    f"{off.trained:.1%} off. The accuracy of `{best.run}` is {accuracy['as trained']:.3f} as trained, "
    f"{accuracy['for the estimated mix']:.3f} for the estimated mix and {accuracy['for the true mix']:.3f} "
    "for the true one."
]
Markdown(f"**Answer.** {lines[0]}\n\n" + "".join(f"- {line}\n" for line in lines[1:]))

# %%
xnn.Stamp(result["provenance"])
