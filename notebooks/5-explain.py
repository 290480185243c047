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
# **Where in the radiograph is the evidence for the prediction, and can that explanation be trusted?**
#
# Integrated Gradients of the predicted class, as maps and by lung zone, beside other methods and controls.

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
from xnn.explain import card, evidence, gallery, sample, scales, target

groups = {"model": model, "training": training, "augmentation": augmentation, "evaluation": evaluation}
groups |= {"explanation": explanation, "hardware": hardware, "seed": seed, "note": note, "online": online}
settings = xnn.load_run(study, run, **groups)
plots.style()
Markdown(xnn.summary(settings))

# %% [markdown]
# ## What is explained, and from where
#
# The *log-odds* of the predicted class: its logit minus the log-sum-exp of the other logits. Attributions
# add up to the change of the log-odds from a *baseline*, an image that should say nothing. What does the
# network say of each candidate? A baseline that is itself called a class cannot explain a call of that
# class.

# %%
origin = xnn.stamp(settings)
how = settings.explanation
drawn = sample.draw(xnn.predictions(settings), settings)
given = sample.load_sample(settings, drawn)
images = 255 * given.images[:, 0].numpy()
explained = target.explained(settings, xnn.load_model(settings))
measured = drawn.index[drawn.measured]
evidence.baselines(explained, settings, given.take(measured)).style.format("{:.2f}")

# %% [markdown]
# ## Cases
#
# Drawn at random from the test split. *shown*: some correct and some wrong predictions of each class, as
# far as they exist. *measured*: a sample of the test split with its class shares. *surest*, which are not
# random: the most confident error of each kind.

# %%
found = evidence.integrate(explained, settings, given)
maps, zones = scales.smoothed(found.maps), evidence.by_zone(given, found.maps)
drawn.groupby(["label", "right"])[["shown", "measured"]].sum()

# %% [markdown]
# ## Correct predictions
#
# Orange raises the log-odds of the predicted class, purple lowers it; white is the outline of the lungs.
# The map is smoothed by a Gaussian of 8 pixels in 224. The bars add the unsmoothed map up over lung zones,
# the patient's right on the left. At each scale the parts add up to the same change.

# %%
#| fig-alt: Radiographs that the network classifies correctly, each beside its attribution and its zones.
right, wrong = (drawn.index[drawn.shown & (drawn.right == kind)] for kind in (True, False))
titles = (drawn.label + ", predicted " + drawn.predicted + drawn.probability.map(" {:.2f}".format)).to_numpy()
captions = evidence.captions(found, explained, given)
shown = evidence.shown(images, maps, titles, captions, given, zones)
plots.photograph(plots.cases(**shown(right)))

# %% [markdown]
# ## Wrong predictions

# %%
#| fig-alt: Radiographs that are classified wrongly, each beside the attribution of the predicted class.
plots.photograph(plots.cases(**shown(wrong)))

# %% [markdown]
# ## The most confident mistakes
#
# The error with the highest probability of each kind (true class, predicted class).

# %%
#| fig-alt: The most confident error of each kind, with the map of the predicted class.
plots.photograph(plots.cases(**shown(drawn.index[drawn.confident_error])))

# %% [markdown]
# ## Other methods and controls
#
# Controls know nothing of the network: noise, the edges of the image, a blob in the middle, and another
# patient's map of the same class. A method has to beat them.

# %%
part = given.take(measured)
others = evidence.explain_all(explained, settings, part, found.maps[measured])

# %%
#| fig-alt: One radiograph of each class in a row, beside the smoothed map of each method and control.
few = drawn.index[drawn.measured & drawn.right & ~drawn[drawn.measured & drawn.right].label.duplicated()]
places = measured.get_indexer(few)
columns = {name: scales.smoothed(each[places]) for name, each in others.items()}
plots.photograph(plots.overlay_table(images[few], columns, titles[few]))

# %% [markdown]
# ## The card
#
# All maps are compared at one grain: they are averaged over the same superpixels (about 60 an image).
# *insertion* (higher is better) and *deletion* (lower is better) follow the probability of the class while
# the highest superpixels are put into the blurred image, or replaced by grey; the columns for the other fill
# are beside them. *removal*: correlation of what a map gives to a random quarter of the superpixels with
# what removing them does. *lung share*: share of the smoothed map's magnitude within the lungs. On phantoms,
# whose lesions are known: *pointing game*, *relevance mass* and *rank*, for correctly classified images.
# [Which measures order maps as the truth does](../../../benchmarks/measures.md) was measured on phantoms.

# %%
values, curves = evidence.measure_all(explained, part, others)
numbers = card.table(values, part.patients)
card.wide(numbers).T

# %%
#| fig-alt: A panel per measure, with a dot and its interval for each method and a band across the controls.
plots.card(numbers)

# %% [markdown]
# Images differ more than methods do. The next table compares Integrated Gradients with each control on the
# same images. Intervals are by bootstrap over patients and corrected for the number of questions; one
# without 0 exceeds chance.

# %%
against = card.over_controls(values, part.patients)
card.wide(against, 3).T

# %%
#| fig-alt: Probability of the class against the share of the area inserted or deleted, a line per method.
plots.insertion_deletion(evidence.rise_curves(curves))

# %% [markdown]
# ## Which method?
#
# The rank of each method and control by each measure that may judge, 1 the best.

# %%
card.ranking(numbers)

# %% [markdown]
# ## Do the maps repeat, and do they depend on what was learnt?
#
# Correlation of smoothed maps after changes that should not matter, and after one that should: random
# parameters.

# %%
asked = slice(None, None, evidence.SHARE_MEASURED)
alike = evidence.repeats(explained, settings, part.take(asked), found.maps[measured][asked])
repeated = card.table(alike, part.patients[asked])
card.wide(repeated)

# %%
result = {"study": study, "run": run, "n": len(measured), "methods": card.as_json(numbers)}
result |= {"completeness_passed": float(found.passed.mean()), "integrated_gradients": found.summary()}
result |= {"repeated": card.as_json(repeated), "against": card.as_json(against), "alarm": card.alarm(numbers)}
result |= {"supports": card.verdicts(against), "tau": card.disagreement(numbers), "baseline": how.baseline}
xnn.write_json(result | {"provenance": xnn.timed(origin)}, settings.reports / "explanations.json")

# %% [markdown]
# ## In the gallery
#
# The cases with every method; below, those classified correctly with two methods and a control.

# %%
wanted = drawn.index[drawn.shown]
pictures = evidence.explain_all(explained, settings, given.take(wanted), found.maps[wanted])
pictures = {name: scales.smoothed(each) for name, each in pictures.items()}
table = drawn.assign(difference=found.difference, gap=found.gap)
folder = gallery.write(settings, table.loc[wanted], images[wanted], pictures)

# %%
#| fig-alt: Radiographs classified correctly, beside two explanations and a control.
rows = wanted.get_indexer(right)
figure = plots.overlay_table(
    images[right], {name: pictures[name][rows] for name in evidence.LANDING}, titles[right]
)
figure.savefig(settings.reports / "explanations.png", bbox_inches="tight", dpi=180)
plots.photograph(figure)

# %%
Markdown(f"**Answer.** {card.sentence(numbers, against, repeated)} Measured on {len(measured)} test images.")

# %%
xnn.Stamp(xnn.timed(origin))
