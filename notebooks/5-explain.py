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
# # Explanations

# %% [markdown]
# **Where in the radiograph is the evidence for the prediction, and which explanations can be trusted?**
#
# Integrated Gradients of the logit of the predicted class, beside other methods and two controls: a random
# map and the edges of the image. *Green* raises the logit, *red* lowers it.

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
Markdown(xnn.summary(settings))

# %% [markdown]
# ## What the axioms mean
#
# F(a, b) = 1 - relu(1 - a) + b / 2 at a = 2, b = 1, from the baseline 0. Beyond a = 1, F is flat in a, so
# the gradient is 0 although a has raised F by 1: the gradient violates *sensitivity*. Integrated Gradients
# average the gradient along the path from the baseline and recover it. They sum to F(x) - F(0), which is
# *completeness*: add up the column and compare.

# %%
methods.saturation().style.format(precision=2, na_rep="")

# %% [markdown]
# ## Cases
#
# Drawn at random from the test split. *shown*: some correct and some wrong predictions of each class, as
# far as they exist. *measured*: a sample of the test split with its class shares. *surest*, which are not
# random: the most confident error of each kind.

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
# Do the attributions of each image sum to the difference between its logit and the baseline's? *gap* is the
# missing part relative to that *difference*; *local_gap* is the same without cancellation along the path.

# %%
table = drawn.drop(columns=["path", "patient"]).assign(
    difference=found.difference, gap=found.gap, local_gap=found.local_gap, gradients=found.gradients
)
table.assign(passed=found.passed).style.format(precision=3)

# %% [markdown]
# ## Correct predictions
#
# All maps share one scale: a pixel's attribution over the mean magnitude of its map, so that colours are
# comparable across methods with different units. Below each map: the sum of its attributions in logits, the
# gap, and the number of gradients.

# %%
#| fig-alt: Radiographs that the network classifies correctly, each beside its attribution.
right, wrong = (drawn.index[drawn.shown & (drawn.right == kind)] for kind in (True, False))
titles = (drawn.label + ", predicted " + drawn.predicted + drawn.probability.map(" {:.2f}".format)).to_numpy()
captions = plots.captions(table)
figure = plots.overlays(images[right], found.maps[right], titles[right], captions[right])
figure.savefig(settings.reports / "explanations.png", bbox_inches="tight", dpi=180)
plots.photograph(figure)

# %% [markdown]
# ## Wrong predictions
#
# The attribution for the predicted class beside that for the true class.

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
# ## The most confident mistakes
#
# The error with the highest probability of each kind (true class, predicted class).

# %%
#| fig-alt: The most confident error of each kind, with the maps of the predicted and of the true class.
confident = drawn.index[drawn.confident_error]
pair = {"for the predicted class": (found.maps[confident], captions[confident])}
pair |= {"for the true class": [true[row] for row in confident]}
plots.photograph(plots.overlay_table(images[confident], pair, titles[confident]))

# %% [markdown]
# ## Other methods
#
# Other explanations of the same images, for one correct prediction of each class.

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
# Every measure uses all measured images (measures that call a method repeatedly use one in four), with 95 %
# intervals by bootstrap over patients. *insertion* (higher is better) and *deletion* (lower is better)
# follow the probability of the class while the highest-ranked pixels are inserted into the blurred image or
# replaced by grey; the columns for the other fill are beside them. *infidelity*: share of the logit's
# response to noise that the map does not explain. *sensitivity*: change of the map under small changes of
# the image. *randomisation*: rank correlation with the map of a network with random parameters. On
# phantoms, whose lesions are known: *pointing game*, *relevance mass* and *rank*, for correctly classified
# images. *frame*, *corner* and *marker*: share of the attribution outside the chest.

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
# Images differ more than methods do. The next table therefore compares Integrated Gradients with each
# control on the same images, with intervals by bootstrap over patients; an interval without 0 exceeds
# chance.

# %%
against = card.table(card.over_controls(values), part.patients)
card.wide(against, 3).T

# %%
#| fig-alt: Probability of the class against the share of pixels inserted or deleted, a line per method.
plots.insertion_deletion(evidence.rise_curves(curves))

# %% [markdown]
# ## Do the maps depend on what the network learned?
#
# Blocks of the network are randomised from the head down, and its maps are compared with those of the
# trained network. The factor x - x' shows the image for any network, so maps without that factor are
# compared as well.

# %%
#| fig-alt: Rank correlation with the maps of networks randomised from the head down, a line per kind of map.
asked = part.take(slice(None, None, evidence.SHARE_MEASURED))
start = evidence.mean_image(sample.run_baseline(settings, asked.images))
depths = measures.cascade(network, asked.images, asked.targets, start)
plots.randomisation(depths, measures.DEPTHS)

# %% [markdown]
# ## Repeatability
#
# Maps compared after changes that should not matter much. Two unrelated maps have a rank correlation of 0
# and share 5 % of their top 5 % of pixels.

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
folder = gallery.write(settings, table.loc[shown].assign(path=drawn.path), images[shown], pictures)

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
