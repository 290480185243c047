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
names = comparison.titles(settings, metrics, settings.compare_with)

# %% [markdown]
# ## Shortcuts
#
# Width, height and aspect of the original, sharpness (the fine detail in the central half of the image) and
# file size in bytes are not the disease. If they predict it, a network may learn them instead. The table has
# the score of each feature alone, in the direction that is right on the training split, and of boosted trees
# on several. Bytes and sharpness also depend on the lungs, since opacities hide detail; the size does not.

# %%
#| tbl-cap: Scores of each shortcut alone, beside those of the chosen network.
records = xnn.load_records(settings)
features = xnn.shortcut_features(settings, records)
found = shortcuts.shortcuts(settings, records, features)
told = shortcuts.beside(found, metrics[best.run]["scores"], best.run)
told

# %%
#| fig-alt: The score of each feature alone, of trees on several, and of the chosen run, with intervals.
#| fig-cap: Score of each shortcut alone, beside that of the chosen network; higher is better.
by_feature = shortcuts.by_feature(found, metrics[best.run]["scores"], best.run)
plots.compare_scores(by_feature.replace(names), by_feature.attrs["score"])

# %% [markdown]
# Which healthy test radiographs are called pneumonia? AUROC of a *lower* value for a false alarm of the
# chosen network: 0.5 if the feature is unrelated to false alarms.

# %%
#| tbl-cap: AUROC of a lower value of the feature for a false alarm.
alarms = shortcuts.of_false_alarms(xnn.load_run(study, best.run), records, features)
alarms.style.format(precision=3).hide(axis=0)

# %% [markdown]
# Do the publishers' test images differ from their training images? AUROC of a *higher* value for the test
# part, within each class: 0.5 if the two parts do not differ.

# %%
#| tbl-cap: AUROC of a higher value of the feature for the publishers' test part.
parts = shortcuts.between_parts(settings, records, features)
parts.style.format(precision=3).hide(axis=0) if len(parts) else Markdown("")

# %% [markdown]
# ## Networks on parts of the radiograph
#
# AUROC for pneumonia of each network that was tested on parts of the radiograph. The networks in the last
# rows were also trained on a part. Removed parts are filled with the mean grey of the rest.

# %%
#| tbl-cap: AUROC for pneumonia on parts of the radiograph.
grid = shortcuts.region_grid(settings)
grid if len(grid) else Markdown("")

# %% [markdown]
# ## Subgroups
#
# Recall of each class (for the healthy class, the specificity) of the chosen network, in groups by file name
# and by folder.

# %%
#| tbl-cap: Recall in each subgroup.
shortcuts.subgroups(xnn.load_run(study, best.run), records).style.format(precision=3).hide(axis=0)

# %% [markdown]
# ## Averages over batches
#
# The mean of a score over batches is not the score of the split: it depends on the size and order of the
# batches, and is too high if images are sorted by class. The same predictions, scored in three ways:

# %%
#| tbl-cap: Weighted F1 of the same predictions in three ways.
averaged = protocol.batch_average(settings, best.run)
pd.Series(averaged).rename("weighted F1").to_frame().style.format("{:.3f}")

# %% [markdown]
# ## Leakage
#
# The same networks, recipes and seeds on other splits of the same radiographs. A sibling is a training image
# of the same patient. *Patient and class*: number and class in the file name together name the patient, as
# [the images suggest](2-explore.ipynb#what-names-a-patient). *Patient*: the bare number does. *Change* is the
# difference from the score with patients apart. The test images differ, so its interval covers both draws.

# %%
#| tbl-cap: The same networks on other splits of the same radiographs.
leaks = protocol.leakage(settings) if settings.compare_with else pd.DataFrame()
leaks.style.format(precision=3) if len(leaks) else Markdown("")

# %%
#| fig-alt: Weighted F1 of each run on every other split, minus that with patients apart.
#| fig-cap: "F1 on another split minus F1 with patients apart: if the interval contains 0, it may be chance."
others = leaks[leaks.study != study] if len(leaks) else leaks
drawn = pd.DataFrame()
if len(others):
    drawn = others[["change", "change_low", "change_high"]].set_axis(["value", "low", "high"], axis=1)
    drawn["pair"] = others.run.replace(names) + ": " + others.study.replace(names)
plots.differences(drawn, "weighted F1") if len(drawn) else Markdown("")

# %% [markdown]
# ## Another class mix
#
# Probabilities are biased if the class shares of the test split differ from those of training. They are first
# calibrated on validation, with a temperature and a bias per class (Alexandari et al. 2020); their mean there
# is the class mix that the network assumes. The mix of the test split can be estimated without its labels
# (Saerens et al. 2002), and Bayes' rule corrects the probabilities for it. This needs all test images at
# once, so it is no help for a single image, and it only works if images of a class look alike in both splits.

# %%
#| tbl-cap: "Class mix: in training, assumed by the network, estimated for the test split, and true there."
shifted = protocol.for_the_mix_of_test(settings, best.run)
pd.DataFrame(shifted.attrs["mixes"]).style.format("{:.3f}")

# %%
#| tbl-cap: Scores before and after the correction for the class mix.
table = shifted.assign(found=shifted.apply(comparison.with_interval, axis=1))
table.pivot(index="score", columns="way", values="found").loc[shifted.score.unique()]

# %% [markdown]
# ## Published numbers
#
# All on the same test patients; other differences are in the last column. The published results come without
# intervals.

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
    f"Averaged over batches of images sorted by class, the weighted F1 of `{best.run}` would read "
    f"{averaged['sorted']:.3f} instead of {averaged['whole']:.3f}.",
]
lines += [
    f"`{row.study}`: {row.patient_and_class:.0%} of the test images have a sibling in training "
    f"({row.patient:.0%} if the bare number names the patient), and the weighted F1 of `{row.run}` differs "
    f"by {row.change:+.3f} ({row.change_low:+.3f} to {row.change_high:+.3f})."
    for row in others.itertuples()
    if row.run == best.run
]

# %%
if {*comparison.MEASURES} <= {*explained}:
    complete = np.average(explained.complete, weights=explained.explained)
    lines += [
        f"{complete:.0%} of {explained.explained.sum()} explanations are complete within their tolerance, "
        f"which does not make them right. Image by image, they {comparison.against_controls(explained)}."
    ]
(settings.reports / "_findings.md").write_text("".join(f"- {line}\n" for line in lines))

# %%
accuracy = shifted[shifted.score == "accuracy"].set_index("way").value
mixes = pd.DataFrame(shifted.attrs["mixes"])
off = mixes[["estimated", "trained"]].sub(mixes.test, axis=0).abs().max()
lines += [
    f"The class shares of the test split are estimated to within {off.estimated:.1%}; those of training "
    f"differ from them by up to {off.trained:.1%}. The accuracy of `{best.run}` is "
    f"{accuracy['as trained']:.3f} as trained, {accuracy['for the estimated mix']:.3f} for the estimated mix "
    f"and {accuracy['for the true mix']:.3f} for the true one."
]
Markdown(f"**Answer.** {lines[0]}\n\n" + "".join(f"- {line}\n" for line in lines[1:]))

# %%
xnn.Stamp(result["provenance"])
