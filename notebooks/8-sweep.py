# ---
# title: Sweep
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
# **Which values train the best network here, and does their lead exceed the variation over seeds?**
#
# Settings are selected on the validation split. The test score of the selected setting is reported
# afterwards.

# %% tags=["parameters"]
sweep = "phantom-rates"  # a file of params/sweeps/

# %%
from IPython.display import Markdown

import xnn
from xnn import plots
from xnn.evaluation import comparison

settings = xnn.load_sweep(sweep)
plots.style()
Markdown(xnn.summary(settings))

# %%
study = settings.base_run.study
origin = xnn.stamp(study)
table = comparison.sweep_results(settings)
table.to_csv(settings.reports / "sweep.csv", index=False)
missing = [point.name for point in settings.expanded() if point.name not in set(table.run)]
words = f"Not made: {', '.join(missing)}." if missing else "All configured runs are included."
Markdown(f"{len(table)} runs. {words}")

# %% [markdown]
# ## Every run
#
# Validation: weighted F1 of the kept epoch. Test: weighted F1 on the test split with its 95 % interval by
# bootstrap over patients. Minutes on the machine named below.

# %%
#| tbl-cap: Every run, best on validation first.
ranked = table.sort_values("validation", ascending=False, kind="stable")
intervals = [comparison.with_interval(score) for score in ranked[["value", "low", "high"]].to_dict("records")]
pages = "[page](" + ranked.run + "/4-evaluate.ipynb)"
shown = ["run"] if settings.points else []
shown = ranked[[*shown, *settings.varied.values()]].assign(validation=ranked.validation.round(3))
Markdown(comparison.markdown(shown.assign(test=intervals, minutes=ranked.minutes, evaluation=pages)))

# %% [markdown]
# ## By value

# %%
#| fig-alt: Validation F1 of the sweep's settings by the values that they vary, mean over seeds.
#| fig-cap: Mean validation F1 by value; higher is better.
varied = [short for short in settings.varied.values() if short != "seed"]
plots.sweep_scores(table, varied, "validation", "validation F1")

# %% [markdown]
# ## Variation over seeds
#
# A setting is everything of a run but its seed. `sd` is the spread of the test score over seeds,
# `half_width` half the length of its interval, which measures the variation over patients.

# %%
#| tbl-cap: Every setting, over its seeds.
settled = comparison.by_setting(table)
one = settled.seeds.max() == 1
Markdown("") if one else settled.style.format(precision=3, na_rep="-")

# %%
#| fig-alt: Validation and test F1 of every run, a row a setting.
#| fig-cap: "Dots: validation F1 of each run. Diamonds: weighted F1 on the test split, with intervals."
plots.seed_spread(table)

# %% [markdown]
# ## Does the lead exceed chance?
#
# The selected setting against every other one on the same test patients, each represented by its best run
# on validation.

# %%
#| tbl-cap: The selected setting against each other one.
runs = ranked.drop_duplicates("setting").set_index("setting").run
chosen = settled.index[0]
paths = [f"sweeps/{sweep}/{runs[name]}" for name in settled.index]
leads = comparison.differences(study, [(paths[0], other) for other in paths[1:]], ["f1_weighted"])
leads = leads.replace(f"sweeps/{sweep}/", "", regex=True)
leads[["against", "value", "low", "high", "real"]].style.format(precision=3).hide(axis="index")

# %%
best, score = settled.loc[chosen], table.set_index("run").loc[runs[chosen]]
seeds = f", the mean of {best.seeds:.0f} seeds (test: sd {best.sd:.3f})" if best.seeds > 1 else ""
Markdown(
    f"**Answer.** By validation, `{chosen}` is chosen: its validation F1 is {best.validation:.3f}{seeds}. "
    f"Its run `{score.name}` has a weighted F1 of **{score.value:.3f}** ({score.low:.3f} to "
    f"{score.high:.3f}) on the test split: {comparison.verdict(leads)} with the other settings. From the "
    f"worst setting to the best, validation F1 goes from {settled.validation.min():.3f} to "
    f"{settled.validation.max():.3f}, test F1 from {settled.test.min():.3f} to {settled.test.max():.3f}."
)

# %%
digest = xnn.sha256(study, settings, *settings.runs())
xnn.timed(origin, params_sha256=digest)
