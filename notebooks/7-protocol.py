# ---
# title: Protocol
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
# **How much of a score is due to the network, and how much to the protocol?**
#
# Siblings of test images in training, file sizes that differ by class, and a class mix that training and
# test share can all raise a score. Each effect is measured here.

# %% tags=["parameters"]
study = "phantom"  # a folder of params/

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

import xnn
from xnn import plots
from xnn.evaluation import comparison, protocol

settings = xnn.load_study(study)
plots.style()
Markdown(xnn.summary(settings))

# %%
origin = xnn.stamp(settings)
metrics, _ = comparison.load_results(settings)
f1 = comparison.score(metrics, "f1_weighted")
best = f1.loc[f1.value.idxmax()]

# %% [markdown]
# ## The shortcut baseline
#
# Boosted trees that see only width, height, aspect and size of the file and the mean grey level of the
# image. Features that are the same in every file are left out.

# %%
records = xnn.load_records(settings)
features = xnn.file_features(records, xnn.load_images(settings))
baseline = protocol.shortcut_baseline(settings, records, features)
Markdown(f"Used: {', '.join(baseline['features'])}.")

# %%
#| fig-alt: Weighted F1 of every run and of the shortcut baseline, with intervals.
beside = comparison.score({**metrics, "shortcut baseline": baseline}, "f1_weighted")
plots.compare_scores(beside, "weighted F1")

# %%
pd.DataFrame(
    {name: comparison.with_interval(each) for name, each in baseline["scores"].items()}, ["baseline"]
).T

# %% [markdown]
# ## Averages over batches
#
# A mean of scores over batches is not the score of the split: it depends on batch size and order, and it is
# optimistic for images sorted by class. The same predictions, computed in three ways:

# %%
averaged = protocol.batch_average(settings, best.run)
pd.Series(averaged).rename("weighted F1").to_frame().style.format("{:.3f}")

# %% [markdown]
# ## Leakage
#
# The same networks, recipes and seeds on other splits of the same radiographs. A sibling is a training
# image of the same patient, if the bare number in the file name names the patient, and if number and class
# together do. *bought* is the change from the score with patients apart; the test images differ, so it
# includes the chance of both draws.

# %%
leaks = protocol.leakage(settings) if settings.compare_with else pd.DataFrame()
leaks.style.format(precision=3) if len(leaks) else Markdown("This study is compared with no other one.")

# %%
#| fig-alt: How far the weighted F1 of each run lies above that with patients apart, on every other split.
bought = leaks[leaks.study != study] if len(leaks) else leaks
drawn = pd.DataFrame()
if len(bought):
    drawn = bought[["bought", "bought_low", "bought_high"]].set_axis(["value", "low", "high"], axis=1)
    drawn["pair"] = bought.run + ": " + bought.study
plots.differences(drawn, f"weighted F1 from {study}") if len(drawn) else Markdown("")

# %% [markdown]
# ## Another class mix
#
# If the class shares of the test split differ from those of training, probabilities are biased. The mix of
# the test images can be estimated without their labels (Saerens et al. 2002), and Bayes' rule corrects the
# probabilities. This uses all test images at once, so it is not a score for single images; and it can only
# help if images of a class look alike in both splits.

# %%
shifted = protocol.for_the_mix_of_test(settings, best.run)
pd.DataFrame(shifted.attrs["mixes"]).style.format("{:.3f}")

# %%
table = shifted.assign(found=shifted.apply(comparison.with_interval, axis=1))
table.pivot(index="score", columns="way", values="found").loc[shifted.score.unique()]

# %% [markdown]
# ## Published numbers
#
# On the same test images. Only this report has intervals: the others published none.

# %%
published = protocol.beside_published(settings) if settings.published else pd.DataFrame()
shown = published.map(lambda each: comparison.with_interval(each) if isinstance(each, dict) else each)
shown.fillna("") if len(shown) else Markdown("Nobody published numbers on this split.")

# %%
result = {"study": study, "shortcut": baseline, "leakage": leaks.to_dict("records")}
result |= {"mix": {"run": best.run, **shifted.attrs["mixes"], "scores": shifted.to_dict("records")}}
result |= {"provenance": xnn.timed(origin)}
xnn.write_json(result, settings.reports / "protocol.json")

# %%
without, explained = baseline["scores"]["f1_weighted"], comparison.explanations(settings)
lines = [
    f"As a mean over batches sorted by class the weighted F1 of `{best.run}` would read "
    f"{averaged['sorted']:.3f} instead of {averaged['whole']:.3f}.",
    f"File and brightness alone reach a weighted F1 of {comparison.with_interval(without)}; `{best.run}` "
    f"reaches {comparison.with_interval(best)}.",
]
lines += [
    f"On `{row.study}`, where {row.patient:.0%} of the test images have a sibling in training "
    f"({row.patient_and_class:.0%} by number and class), `{row.run}` gains {row.bought:+.3f} "
    f"({row.bought_low:+.3f} to {row.bought_high:+.3f})."
    for row in bought.itertuples()
    if row.run == leaks.loc[leaks[leaks.study == study].value.idxmax(), "run"]  # the best of them
]

# %%
if len(explained):
    complete = np.average(explained.complete, weights=explained.explained)
    measures = [name for name in ("insertion auc", "deletion auc", "relevance mass") if name in explained]
    counts = {
        name: explained[name].value_counts().reindex(["better", "worse"]).fillna(0) for name in measures
    }
    told = ", ".join(f"by {name} in {each.better:.0f} and {each.worse:.0f}" for name, each in counts.items())
    lines += [
        f"Of {explained.explained.sum()} explanations in {len(explained)} runs {complete:.1%} are complete "
        f"within their tolerance. That does not make them good: image by image they are better than both "
        f"floors, which know nothing of the network, and worse than one of them {told} of the runs."
    ]
(settings.reports / "_findings.md").write_text("".join(f"- {line}\n" for line in lines))

# %%
accuracy = shifted[shifted.score == "accuracy"].set_index("way").value
mixes = pd.DataFrame(shifted.attrs["mixes"])
off = mixes[["estimated", "trained"]].sub(mixes.test, axis=0).abs().max()
lines += [
    f"The class mix of the test split is estimated {off.estimated:.0%} off at most, and that of training is "
    f"{off.trained:.0%} off; for the estimated one the accuracy of `{best.run}` goes from "
    f"{accuracy.iloc[0]:.3f} to {accuracy.iloc[1]:.3f}."
]
Markdown("**Answer.** " + " ".join(lines))

# %%
xnn.Stamp(result["provenance"])
