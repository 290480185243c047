# ---
# title: Explanations
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
# **Where in the radiograph does the network's answer come from, and which of its explanations can be
# trusted?**
#
# Integrated Gradients of the logit of the predicted class, beside other methods and two controls that know
# nothing of the network: a random map and the edges of the image. *Green* raises the logit, *red* lowers
# it.

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
from IPython.display import Markdown

import xnn
from xnn import plots
from xnn.explain import card, evidence, gallery, measures, methods, sample

groups = {"model": model, "training": training, "augmentation": augmentation, "evaluation": evaluation}
groups |= {"explanation": explanation, "hardware": hardware, "seed": seed, "note": note, "online": online}
settings = xnn.load_run(study, run, **groups)
plots.style()
settings

# %% [markdown]
# ## What the axioms mean
#
# F(a, b) = 1 - relu(1 - a) + b / 2 at a = 2, b = 1, from the baseline 0. Beyond a = 1, F no longer changes
# with a, so the gradient there is 0 although a has raised F by 1: it violates *sensitivity*. Integrated
# Gradients average the gradient along the path from the baseline and find that 1. Their sum is F(x) - F(0),
# *completeness*: compare the last two columns.

# %%
methods.saturation().style.format(precision=2, na_rep="")

# %% [markdown]
# ## Cases
#
# Drawn at random from the test split, not picked. Those *shown* are, for each class, some that the network
# classifies correctly and some that it does not, if there are any; those *measured* represent the test
# split, each class with its share. A *confident error* is not drawn: it is the most confident of its kind.

# %%
origin = xnn.stamp(settings)
classes, how = settings.study.classes, settings.explanation
drawn = sample.draw(xnn.predictions(settings), settings)
drawn.groupby(["label", "right"])[["shown", "measured"]].sum()

# %%
given = sample.load_sample(settings, drawn)
images = 255 * given.images[:, 0].numpy()
network = xnn.load_model(settings)
found = evidence.integrate(network, settings, given)

# %% [markdown]
# Do the attributions of each image sum to the *difference* of its logit from the baseline's? *gap* is how
# far they are from it, relative to it; in *local_gap* the errors of segments of the path cannot cancel.

# %%
table = drawn.drop(columns=["path", "patient"]).assign(
    difference=found.difference, gap=found.gap, local_gap=found.local_gap, gradients=found.gradients
)
table.assign(passed=found.passed).style.format(precision=3)

# %% [markdown]
# ## Right
#
# All maps, of every method and run, have one scale: a pixel's attribution over the mean magnitude of its map,
# so that colours can be compared although methods have different units. Below each map: the logits that it
# sums to, its gap, and the number of gradients.

# %%
#| fig-alt: Radiographs that the network classifies correctly, each beside its attribution.
right, wrong = (drawn.index[drawn.shown & (drawn.right == kind)] for kind in (True, False))
titles = (drawn.label + ", predicted " + drawn.predicted + drawn.probability.map(" {:.2f}".format)).to_numpy()
captions = plots.captions(table)
figure = plots.overlays(images[right], found.maps[right], titles[right], captions[right])
figure.savefig(settings.reports / "explanations.png", bbox_inches="tight", dpi=180)
plots.photograph(figure)

# %% [markdown]
# ## Wrong
#
# The attribution for the predicted class beside the one for the true class.

# %%
mistaken = drawn.index[(drawn.shown & ~drawn.right) | drawn.confident_error]
true = sample.retarget(settings, given.take(mistaken), drawn.label[mistaken])
true = dict(
    zip(mistaken, evidence.integrate(network, settings, true).maps if len(mistaken) else [], strict=True)
)

# %%
#| fig-alt: Radiographs that are classified wrongly, with the maps of the predicted and of the true class.
pair = {"for the predicted class": (found.maps[wrong], captions[wrong])}
pair |= {"for the true class": [true[row] for row in wrong]}
plots.photograph(plots.overlay_table(images[wrong], pair, titles[wrong]))

# %% [markdown]
# ## The most confident errors
#
# The one with the highest probability for each pair of true and predicted class.

# %%
#| fig-alt: The most confident error of each kind, with the maps of the predicted and of the true class.
confident = drawn.index[drawn.confident_error]
pair = {"for the predicted class": (found.maps[confident], captions[confident])}
pair |= {"for the true class": [true[row] for row in confident]}
plots.photograph(plots.overlay_table(images[confident], pair, titles[confident]))

# %% [markdown]
# ## Other methods
#
# The same images explained by other methods: one correctly classified image of each class.

# %%
maps = evidence.explain_all(network, settings, given, {"integrated_gradients": found.maps})

# %%
#| fig-alt: One radiograph of each class in a row, beside the map of each method.
few = right[~drawn.label[right].duplicated()]
columns = {name: each[few] for name, each in maps.items()}
plots.photograph(plots.overlay_table(images[few], columns, titles[few]))

# %% [markdown]
# ## The card
#
# Every measure is a mean over the measured images (one in four of them for measures that call a method
# again and again), with a 95 % interval by bootstrap over patients. *insertion* (more is better) and
# *deletion* (less is better) follow the probability of the class while the highest pixels are inserted into
# the blurred image or replaced by grey; the variants with the other fill are beside them. *infidelity*: share
# of the logit's response to noise that the map leaves unexplained. *sensitivity*: how far the map moves with
# the image. *randomisation*: rank correlation with the map of a network with random parameters. On phantoms,
# whose lesions are known: *pointing game*, *relevance mass* and *rank*, for correctly classified images.
# *frame*, *corner* and *marker*: share of the attribution outside the lungs.

# %%
measured = drawn.index[drawn.measured]
part = given.take(measured)
own = {name: each[measured] for name, each in maps.items()}
values, curves = evidence.measure_all(network, evidence.explainers(settings), part, own)
numbers = card.table(values, part.patients)
card.wide(numbers).T

# %%
#| fig-alt: A panel per measure, with a dot and its interval for each method and a band across the controls.
plots.card(numbers)

# %% [markdown]
# Images differ more than methods do, so the next table has the difference between Integrated Gradients and
# each control on the same images, with intervals by bootstrap over patients: without 0 in its interval, a
# difference is more than chance.

# %%
against = card.table(card.over_controls(values), part.patients)
card.wide(against, 3).T

# %%
#| fig-alt: Probability of the class against the share of pixels inserted or deleted, a line per method.
plots.insertion_deletion(evidence.rise_curves(curves))

# %% [markdown]
# ## Does it depend on what was learnt?
#
# Blocks of the network are randomised from the head down, and the maps compared with those of the trained
# network. The factor x - x' shows the image whatever the network, hence also maps without it.

# %%
#| fig-alt: Rank correlation with the maps of networks randomised from the head down, a line per kind of map.
asked = part.take(slice(None, None, evidence.SHARE_MEASURED))
start = evidence.mean_image(sample.run_baseline(settings, asked.images))
depths = measures.cascade(network, asked.images, asked.targets, start)
plots.randomisation(depths, measures.DEPTHS)

# %% [markdown]
# ## Does it repeat?
#
# Maps are compared after changes that should not matter much. Two unrelated maps have a rank correlation of
# 0, and share 5 % of their highest 5 % of pixels.

# %%
alike = evidence.agreement(
    network, settings, asked, {name: each[:: evidence.SHARE_MEASURED] for name, each in own.items()}
)
repeated = card.table(alike, asked.patients)
card.wide(repeated)

# %%
result = {"study": study, "run": run, "methods": card.as_json(numbers)}
result["methods"]["integrated_gradients"] |= found.summary()
result |= {"randomisation": {name: each.mean(axis=1).tolist() for name, each in depths.items()}}
result |= {
    "agreement": card.as_json(repeated),
    "alarm": card.alarm(numbers),
    "against_floors": card.as_json(against),
    "supports": card.verdicts(against),
}
result |= {"baseline": how.baseline, "tolerance": how.tolerance, "provenance": xnn.timed(origin)}
xnn.write_json(result, settings.reports / "explanations.json")

# %%
shown = drawn.index[drawn.shown]
pictures = {name: each[shown] for name, each in maps.items() if name != "random"}
folder = gallery.write(settings, table.loc[shown], images[shown], pictures)

# %%
summary = found.summary()
Markdown(
    f"**Answer.** {summary['completeness_passed']:.0%} of {summary['images']} attributions are complete to "
    f"within {how.tolerance:.0%} (baseline {how.baseline}), with a median of {summary['steps_median']:.0f} "
    f"gradients; 95 % of the gaps are at most {summary['relative_completeness_p95']:.1%}. "
    f"{card.sentence(numbers, against)} Measured on {len(measured)} test images."
)

# %%
xnn.Stamp(result["provenance"])
