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
from xnn.explain import answers, card, errors, evidence, gallery, sample, scales, target

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
#| tbl-cap: What the network says of each image that attributions could start from, mean probability by class.
origin = xnn.stamp(settings)
how = settings.explanation
drawn = sample.draw(xnn.predictions(settings), settings)
given = sample.load_sample(settings, drawn)
images = 255 * given.images[:, 0].numpy()
explained = target.explained(settings, xnn.load_model(settings))
measured = drawn.index[drawn.measured]
part, n = given.take(measured), len(measured)
evidence.baselines(explained, settings, part).style.format("{:.2f}")

# %% [markdown]
# The blurred copy of the image is used unless a run's parameters say otherwise: it differs from the image in
# details alone, so the change explained is what the details add.
#
# Cases are drawn at random from the test split. *shown*: some correct and some wrong predictions of each
# class, as far as they exist. *measured*: a sample of the test split with its class shares.

# %%
#| tbl-cap: Test radiographs shown below and measured, by class and by whether they are classified correctly.
found = evidence.integrate(explained, settings, given)
maps, zones = scales.smoothed(found.maps), evidence.by_zone(given, found.maps)
drawn.groupby(["label", "right"])[["shown", "measured"]].sum()

# %% [markdown]
# ## Correct predictions
#
# Orange raises the log-odds of the predicted class, purple lowers it; white is the outline of the lungs.
# One of each class; [the gallery](../../../pages/gallery.qmd) has more.
# The map is smoothed by a Gaussian of 8 pixels in 224. The bars add the unsmoothed map up over lung zones,
# the patient's right on the left. At each scale the parts add up to the same change. *Without the lungs*: the
# probability of the class when both lungs are painted over from their surroundings.

# %%
#| fig-alt: Radiographs that the network classifies correctly, each beside its attribution and its zones.
#| fig-cap: "One of each class: where the evidence is, and what each lung zone adds to it."
right, wrong = (drawn.index[drawn.shown & (drawn.right == kind)] for kind in (True, False))
titles = (drawn.label + ", predicted " + drawn.predicted + drawn.probability.map(" {:.2f}".format)).to_numpy()
captions = evidence.captions(found, explained, given)
shown = evidence.shown(images, maps, titles, captions, given, zones)
few = right[~drawn.label[right].duplicated()]
plots.photograph(plots.cases(**shown(few)))

# %% [markdown]
# ## Wrong predictions
#
# One of each class.

# %%
#| fig-alt: Radiographs that are classified wrongly, each beside the attribution of the predicted class.
#| fig-cap: "One of each class: the evidence for the wrong class."
plots.photograph(plots.cases(**shown(wrong[~drawn.label[wrong].duplicated()])))

# %% [markdown]
# ## The most confident mistakes
#
# Not random: of each kind (true class, predicted class) the error with the highest probability, the highest
# first, two at most.

# %%
#| fig-alt: The most confident errors, with the map of the predicted class.
#| fig-cap: The errors with the highest probability, with the evidence for the wrong class.
confident = drawn[drawn.confident_error].nlargest(2, "probability").index
plots.photograph(plots.cases(**shown(confident)))

# %% [markdown]
# ## Another method and a control
#
# One radiograph of each class, classified correctly, with Integrated Gradients, occlusion and a control: the
# edges of the image, which know nothing of the network.

# %%
wanted = drawn.index[drawn.shown]
asked = given.take(wanted), found.maps[wanted], evidence.LANDING
pictures = evidence.explain_all(explained, settings, *asked)
pictures = {name: scales.smoothed(each) for name, each in pictures.items()}
table = drawn.assign(difference=found.difference, gap=found.gap).loc[wanted]
folder = gallery.write(settings, table, images[wanted], pictures)

# %%
#| fig-alt: Radiographs classified correctly, each beside two explanations and a control.
#| fig-cap: Integrated Gradients, occlusion and a control, all smoothed alike; each column has its own scale.
rows = wanted.get_indexer(few)
others = {"maps": {name: each[rows] for name, each in pictures.items()}, "zones": None}
figure = plots.cases(**shown(few, **others))
plots.save_photograph(figure, settings.reports / "explanations.jpg")
plots.photograph(figure)

# %% [markdown]
# ## The card
#
# Controls know nothing of the network: noise, the edges of the image, a blob in the middle, and another
# patient's map of the same class. A method has to beat them. All maps are compared at one grain: they are
# averaged over the same superpixels (about 60 an image). *xrai*: Integrated Gradients by superpixels of four
# sizes, the one with the highest mean first.
#
# *insertion* (higher is better) and *deletion* (lower is better) follow the probability of the class while
# the highest superpixels are put into the blurred image, or taken out of the image and replaced by it.
# On phantoms, where the truth is known, these order a map and degraded copies, and methods and controls,
# as the truth does ([how measures were validated](../../../benchmarks/measures.md)), so these judge. *mean*
# (mean grey as fill) fails for some networks; *removal* (the correlation of what a map gives to random
# quarters of the superpixels with what removing them does) passed with two seeds of each network, but not
# with one. Both are rejected, measured on fewer images, and decide nothing.
#
# *lung share*: share of the smoothed map's magnitude within the lungs. On phantoms, whose lesions are known:
# *pointing game*, *relevance mass* and *rank*, for correctly classified images.

# %%
#| tbl-cap: Mean over n test images, with its 95 % interval by bootstrap over patients.
others = evidence.explain_all(explained, settings, part, found.maps[measured])
values, curves = evidence.measure_all(explained, part, others, evidence.SHARE_MEASURED)
numbers = card.table(values, part.patients)
card.wide(numbers).T

# %%
#| fig-alt: A panel per measure, with a dot and its interval for each method and a band across the controls.
#| fig-cap: Higher insertion and lower deletion are better; grey is the range of the controls.
plots.card(numbers[~numbers.measure.isin(card.REJECTED)])

# %%
#| fig-alt: Probability of the class against the share of the area inserted or deleted, a line per method.
#| fig-cap: A good map raises the probability fast when inserted and lowers it fast when deleted.
plots.insertion_deletion(curves)

# %% [markdown]
# Images differ more than methods do. The next table compares Integrated Gradients with each control on the
# same images. Intervals are by bootstrap over patients and corrected for the number of questions; one
# without 0 exceeds chance.

# %%
#| tbl-cap: "Integrated Gradients minus each control; wins: share of images on which they are better."
against = card.over_controls(values, part.patients)
card.wide(against, 3).T

# %% [markdown]
# ## Which method should I use?

# %%
#| tbl-cap: Mean rank among methods and controls, and how many of four controls each is better and worse than.
chosen, tau = card.choice(numbers, values, part.patients), card.disagreement(numbers)
chosen.style.format({"mean rank": "{:.1f}"})

# %%
advice = card.recommendation(chosen, tau, n)
Markdown(advice)

# %% [markdown]
# ## Do explanations of wrong answers look different?
#
# All test images, by Integrated Gradients of few gradients. AUROC for errors: 0.5 where right and wrong
# answers are alike. The last row is what the traits of the maps add to the probability, out of fold by
# patient.

# %%
#| tbl-cap: How well the probability, and traits of Integrated Gradients, tell wrong answers from right ones.
answered = sample.answered(xnn.predictions(settings), settings.study.classes)
traits = errors.all_traits(explained, settings, answered)
told = errors.telling(answered.right, answered.patient, answered.probability, traits)
told.style.format("{:.2f}", ["value", "low", "high"]) if len(told) else Markdown("")

# %%
coarse = traits.set_index(answered.path).loc[drawn.path[measured]].reset_index(drop=True)
order = coarse.corrwith(errors.traits(found.maps[measured], part), method="spearman").min()
Markdown(
    f"{errors.GRADIENTS} gradients an image are used here. On the {n} measured images they order each trait "
    f"as the complete maps do, with a Spearman's correlation of {order:.2f} at least."
)

# %% [markdown]
# ## Do the maps repeat, and do they depend on what was learnt?
#
# Correlation of smoothed maps after changes that should not matter, and after one that should: random
# parameters. The edges of the image are the control: they know nothing of the network.

# %%
#| tbl-cap: Correlation with the map before the change, mean over test images with its interval.
asked = slice(None, None, evidence.SHARE_MEASURED)
alike = evidence.repeats(explained, settings, part.take(asked), found.maps[measured][asked])
repeated = card.table(alike, part.patients[asked])
card.wide(repeated)

# %%
result = {"study": study, "run": run, "n": n, "methods": card.as_json(numbers), "tau": tau}
result |= {"completeness_passed": float(found.passed.mean()), "integrated_gradients": found.summary()}
result |= {"repeated": card.as_json(repeated), "against": card.as_json(against), "alarm": card.alarm(numbers)}
result |= {"supports": card.verdicts(against), "baseline": how.baseline, "advice": advice}
result |= {"errors": told.to_dict("index"), "provenance": xnn.timed(origin)}
xnn.write_json(result, settings.reports / "explanations.json")

# %% tags=["answer"]
Markdown(f"**Answer.** {answers.explanations(settings)}")

# %%
xnn.Stamp(xnn.timed(origin))
