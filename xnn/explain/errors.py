"""Whether explanations of right and wrong answers differ, and tell errors beyond the probability."""

import numpy as np
import pandas as pd
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from ..config.schema import Run
from ..evaluation.intervals import all_and_resampled, summary
from ..evaluation.scoring import auroc
from . import evidence, localisation, scales
from .sample import Sample, load_sample
from .target import Evidence

FEWEST = 10  # patients with errors, and with right answers: with fewer an area under a curve says nothing
TOP = 0.1  # of the area: where the map is strongest
FOLDS = 5
PART = 64  # images loaded and explained together: all maps of a test split would fill the memory
GRADIENTS = 5  # an image: enough for the traits of a smoothed map, as the page shows


def traits(maps, sample: Sample) -> pd.DataFrame:
    """Return what smoothed maps (N, H, W) look like, one row per image.

    Columns: the share of the magnitude that speaks for the class, of that in the strongest tenth of the
    area, and of that in the lungs where they are known.
    """
    smooth = scales.smoothed(maps)
    flat = np.sort(np.abs(smooth).reshape(len(smooth), -1), axis=1)
    total = np.maximum(flat.sum(1), np.finfo(float).tiny)
    found = {
        "share that raises the log-odds": np.clip(smooth, 0, None).sum((1, 2)) / total,
        "share in the strongest tenth": flat[:, -round(TOP * flat.shape[1]) :].sum(1) / total,
    }
    if sample.lungs is not None:
        found["share in the lungs"] = localisation.share_within(smooth, sample.lungs)
    return pd.DataFrame(found)


def all_traits(model: Evidence, run: Run, answered: pd.DataFrame) -> pd.DataFrame:
    """Return the `traits` of the answered images, a row each, by Integrated Gradients of GRADIENTS each.

    ``answered`` is as `sample.answered` gives it; the images are explained for the predicted class.
    """
    explain, parts = evidence.quick(run, gradients=GRADIENTS), []
    for first in tqdm(range(0, len(answered), PART), "traits", leave=False):
        given = load_sample(run, answered.iloc[first : first + PART])
        parts.append(traits(explain(model, given.images, given.targets), given))
    return pd.concat(parts, ignore_index=True)


def telling(right, patients, probability, traits: pd.DataFrame) -> pd.DataFrame:
    """Return how well each trait, the probability, and both tell errors: AUROC with its interval, a row each.

    1 minus the probability; each trait (0.5: alike in right and wrong answers; below it, lower in wrong
    ones); logistic regressions on the probability alone and with all traits, out of fold by patient; and
    what the traits add. Columns value, low and high, 95 % by bootstrap over patients; n (images) and wrong.
    Empty if fewer than FEWEST patients have right or wrong answers. Images with an unknown trait are left
    out.
    """
    known = traits.notna().all(axis=1).to_numpy()
    wrong, patients = ~np.asarray(right)[known], np.asarray(patients)[known]
    if min(len(np.unique(patients[kind])) for kind in (wrong, ~wrong)) < FEWEST:
        return pd.DataFrame(columns=["value", "low", "high", "n", "wrong"])
    chance = logit(np.clip(np.asarray(probability, float)[known], 1e-6, 1 - 1e-6))[:, None]
    both = np.column_stack([chance, traits[known]])
    scores = {"1 - probability": -chance[:, 0], **traits[known].to_dict("series")}
    scores["probability, fitted"] = _out_of_fold(chance, wrong, patients)
    scores["probability and traits, fitted"] = _out_of_fold(both, wrong, patients)
    weights = all_and_resampled(patients)
    found = {name: auroc(wrong, np.asarray(each), weights) for name, each in scores.items()}
    with_traits, without = found["probability and traits, fitted"], found["probability, fitted"]
    found["gain by the traits"] = with_traits - without
    table = pd.DataFrame({name: summary(each) for name, each in found.items()}).T
    return table.assign(n=len(wrong), wrong=int(wrong.sum()))


def _out_of_fold(features, wrong, patients):
    model = make_pipeline(StandardScaler(), LogisticRegression())
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    return cross_val_predict(model, features, wrong, groups=patients, cv=folds, method="predict_proba")[:, 1]
