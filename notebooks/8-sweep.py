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
# # Sweep

# %% [markdown]
# **Which setting trains the best network, and does its lead exceed the variation over seeds?**
#
# Settings are chosen on the validation split; the test split plays no part in the choice.

# %% tags=["parameters"]
sweep = "phantom-rates"  # a file of params/sweeps/

# %%
import pandas as pd
from IPython.display import Markdown

import xnn
from xnn import plots
from xnn.evaluation import comparison, seeds

settings = xnn.load_sweep(sweep)
plots.style()
Markdown(xnn.summary(settings))

# %%
study = settings.base_run.study
origin = xnn.stamp(study)
table = seeds.sweep_results(settings)
table.to_csv(settings.reports / "sweep.csv", index=False)
missing = [point.name for point in settings.expanded() if point.name not in set(table.run)]
words = f"Not trained here: {'; '.join(missing)}." if missing else "All configured runs are included."
Markdown(f"{len(table)} runs. {words}")

# %%
#| tbl-cap: Settings of the sweep.
points = {
    name: ", ".join(f"{settings.varied[key].replace('_', ' ')} {value}" for key, value in values.items())
    for name, values in settings.points.items()
}
told = pd.DataFrame({"setting": points.keys(), f"changes to {settings.base}": points.values()})
Markdown(comparison.markdown(told.replace("", "none")) if points else "")

# %% [markdown]
# ## Every run
#
# *Validation*: the score that runs are chosen by, named in the answer. *Test F1*: weighted F1 on the test
# split, with its 95 % interval by bootstrap over patients. *Minutes*: training time.

# %%
#| tbl-cap: Every run, best on validation first.
named = [*settings.varied.values()] if settings.points else ["run"]  # a point's name says its values
shown = table.drop(columns=["setting", "low", "high", *named])
shown["value"] = table[["value", "low", "high"]].apply(comparison.with_interval, axis=1)
shown = shown.rename(columns={"value": "test F1", "validation_f1": "validation F1"})
shown = shown.round({"validation": 3, "validation F1": 3})
Markdown(comparison.markdown(shown))

# %% [markdown]
# ## By value

# %%
#| fig-alt: Validation score of the sweep's settings by the values that they vary, mean over seeds.
#| fig-cap: Mean score on validation; higher is better.
varied = [short for short in settings.varied.values() if short != "seed"]
plots.sweep_scores(table, varied, "validation", "score on validation")

# %% [markdown]
# ## Settings over seeds
#
# Runs of a setting differ only in their seed. Means over seeds, with 95 % intervals over patients and seeds:
# each resample draws patients, the same for all settings, and seeds. With a single seed, the interval covers
# patients only. Differences are paired: each setting minus the first.

# %%
#| tbl-cap: Settings on validation and on the test split, means over seeds.
by_setting = seeds.settings(table)
found = seeds.resampled(study, seeds.grouped(settings, table))
means = seeds.means(found)
cells = means.assign(found=means.apply(comparison.with_interval, axis=1))
cells = cells.pivot(index="setting", columns="score", values="found").loc[by_setting.index]
by_setting[["seeds", "validation", "validation_f1"]].round(3).join(cells)

# %%
#| tbl-cap: Each setting minus the first one on the test split.
first, *others = found
against = pd.DataFrame([*means.difference]).assign(setting=means.setting, score=means.score)
against = against[against.setting != first]
cells = against.assign(found=[comparison.signed(each) for each in against.to_dict("records")])
cells.pivot(index="setting", columns="score", values="found") if others else Markdown("")

# %%
#| fig-alt: Difference in weighted F1 of every setting from the first one, with intervals.
#| fig-cap: "Weighted F1 on the test split minus that of the first setting: right of 0, it is better."
drawn = against[against.score == "f1_weighted"].rename(columns={"setting": "pair"})
plots.differences(drawn, f"weighted F1 from {first}") if others else Markdown("")

# %%
#| fig-alt: Validation F1 and test F1 of every run, a row a setting.
#| fig-cap: "Dots: validation F1 of each run. Diamonds: weighted F1 on the test split, with intervals."
plots.seed_spread(table)

# %% [markdown]
# ## Class weights and simplicity
#
# Weighted F1 on the test split of settings that differ only in class weights, and of the setting with the
# fewest trained parameters against each other one.

# %%
#| tbl-cap: Differences in weighted F1, means over seeds.
pairs = seeds.answers(found, seeds.pairs(settings, table))
comparison.as_read(pairs).rename(columns={"run": "setting"}) if len(pairs) else Markdown("")

# %%
result = {"sweep": sweep, "criterion": table.attrs["criterion"], "settings": means.to_dict("records")}
result |= {"pairs": pairs.to_dict("records"), "provenance": xnn.timed(origin)}
xnn.write_json(result, settings.reports / "sweep.json")

# %%
chosen = by_setting.iloc[0]
score = means.set_index(["setting", "score"]).loc[(chosen.name, "f1_weighted")]
lines = [
    f"On validation, settings range from {by_setting.validation.min():.3f} to "
    f"{by_setting.validation.max():.3f}."
]
if others:
    lines.append(f"Weighted F1 of the other settings against `{first}`: {comparison.verdict(drawn)}.")
seeds_used = f"{chosen.seeds} seed{'' if chosen.seeds == 1 else 's'}"
Markdown(
    f"**Answer.** With {chosen.validation:.3f} (mean of {seeds_used}), `{chosen.name}` is best by "
    f"{table.attrs['criterion']} and reaches a weighted F1 of **{comparison.with_interval(score)}** on the "
    "test split.\n\n" + "".join(f"- {line}\n" for line in lines)
)

# %%
xnn.timed(origin, params_sha256=xnn.sha256(study, settings, *settings.runs()))
