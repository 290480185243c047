"""The report card of a model's explanations: every method beside floors that know nothing, and what follows.

The floors are a random map and the edges of the image. A measure counts for a method where it differs from
those of both on the same images, by more than another draw of patients would make it.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..evaluation.intervals import patient_weights
from .evidence import FLOORS, Measured

UNLIKE = 0.5  # rank correlation below which maps of a randomised network count as others

# what is better: 1 more, -1 less; 0: neither, but to be looked at
BETTER = {
    "insertion_auc": 1,
    "deletion_auc": -1,
    "insertion_auc_mean": 1,
    "deletion_auc_blur": -1,
    "infidelity": -1,
    "sensitivity_max": 0,
    "randomisation_spearman": 0,
    "pointing_game": 1,
    "relevance_mass": 1,
    "relevance_rank": 1,
    "frame_share": 0,
    "corner_share": 0,
    "marker_share": 0,
}
METHOD = "integrated_gradients"  # whose card it is
ALARMS = ("marker_share", "frame_share")  # the first that is known: a marker's own place says more


# ---- the table ----------------------------------------------------------------------------------


def table(measured: Mapping[str, Measured], patients, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Mean of each measure over images with its 95 % interval, by bootstrap over patients.

    Returns
    -------
    Columns method, measure, value, low, high and images (those where it is defined); a measure that is
    defined of no image is left out.
    """
    rows = [
        {"method": method, "measure": name, **interval(values, patients, resamples, seed)}
        for method, each in measured.items()
        for name, values in each.values.items()
        if not np.isnan(values).all()
    ]
    return pd.DataFrame(rows)


def interval(values, patients, resamples: int = 2000, seed: int = 0, level: float = 0.95) -> dict:
    """Mean of (N,) values, NaN left out, with its percentile interval by bootstrap over patients.

    Raises
    ------
    ValueError : no value at all.
    """
    values, known = np.asarray(values, float), ~np.isnan(values)
    if not known.any():
        raise ValueError("no image has a value")
    weights = patient_weights(np.asarray(patients)[known], resamples, seed)
    means = weights @ values[known] / weights.sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return {
        "value": float(values[known].mean()),
        "low": float(low),
        "high": float(high),
        "images": int(known.sum()),
    }


def against_floors(
    measured: Mapping[str, Measured],
    patients,
    method: str = METHOD,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean of each measure of a method less that of each floor on the same image, with its 95 % interval.

    Images differ more than methods do, so that two means may have intervals that overlap although one
    method is better on nearly every image. Columns as in ``table``, with the floor as the method.
    """
    own = measured[method].values
    pairs = {
        (floor, name): values - measured[floor].values[name]
        for floor in FLOORS
        for name, values in own.items()
        if BETTER[name]
    }
    rows = [
        {"method": floor, "measure": name, **interval(values, patients, resamples, seed)}
        for (floor, name), values in pairs.items()
        if not np.isnan(values).all()
    ]
    return pd.DataFrame(rows)


def wide(found: pd.DataFrame, decimals: int = 2) -> pd.DataFrame:
    """The table for reading: a row a method, a column a measure, cells "value [low, high]"."""
    numbers = found[["value", "low", "high"]].map(f"{{:.{decimals}f}}".format)
    cells = found.assign(cell=numbers.value + " [" + numbers.low + ", " + numbers.high + "]")
    order = [name for name in (*BETTER, *found.measure.unique()) if name in set(found.measure)]
    return cells.pivot(index="method", columns="measure", values="cell").loc[
        list(dict.fromkeys(found.method)), list(dict.fromkeys(order))
    ]


def agreement(alike: Mapping[str, Mapping[str, np.ndarray]], patients) -> pd.DataFrame:
    """What ``evidence.agreement`` found, a row a change, with its intervals; columns as in ``table``."""
    rows = [
        {"method": changed, "measure": name, **interval(values, patients)}
        for changed, each in alike.items()
        for name, values in each.items()
    ]
    return pd.DataFrame(rows)


def results(found: pd.DataFrame) -> dict[str, dict]:
    """What explanations.json says of each method: a number a measure, and their intervals."""
    return {
        method: {
            **dict(zip(part.measure, part.value, strict=True)),
            "intervals": {row.measure: {"low": row.low, "high": row.high} for row in part.itertuples()},
        }
        for method, part in found.groupby("method", sort=False)
    }


# ---- what it supports ---------------------------------------------------------------------------


def verdicts(against: pd.DataFrame) -> dict[str, str]:
    """Measure to "better", "worse" or "not told apart", from what ``against_floors`` found.

    Better means better than both floors, worse means worse than one of them, each by more than chance.
    """
    return {
        name: _verdict(part if sign > 0 else part.assign(low=-part.high, high=-part.low))
        for name, sign in BETTER.items()
        if sign and len(part := against[against.measure == name])
    }


def _verdict(gains: pd.DataFrame) -> str:
    """Of what a method has more than each floor, turned so that more is better."""
    if (gains.low > 0).all():
        return "better"
    return "worse" if (gains.high < 0).any() else "not told apart"


def alarm(found: pd.DataFrame, method: str = METHOD) -> dict:
    """Whether more of the attribution lies on the marker, or in the frame, than on either floor.

    Returns
    -------
    measure (marker_share where markers are known, else frame_share), value, floors (their higher
    value) and fires: whether the interval lies above those of both floors. A random map has the
    region's share of the area, the edges what a conspicuous marker has of them.
    """
    rows = found.set_index(["method", "measure"])
    name = next(name for name in ALARMS if (method, name) in rows.index)
    own, floors = rows.loc[(method, name)], [rows.loc[(floor, name)] for floor in FLOORS]
    return {
        "measure": name,
        "value": float(own.value),
        "floors": float(max(floor.value for floor in floors)),
        "fires": bool(own.low > max(floor.high for floor in floors)),
    }


def sentence(found: pd.DataFrame, against: pd.DataFrame, method: str = METHOD) -> str:
    """Which claims the explanations of a method support, in words computed from its two tables."""
    said = verdicts(against)
    phrases = {
        "better": "beat both floors on",
        "not told apart": "cannot be told from a floor on",
        "worse": "are worse than a floor on",
    }
    parts = []
    for verdict, phrase in phrases.items():
        names = [name.replace("_", " ") for name, each in said.items() if each == verdict]
        parts += [f"{phrase} {', '.join(names)}"] if names else []
    ranked = f"Image by image the maps of {method.replace('_', ' ')} {'; they '.join(parts)}."
    return f"{ranked} {_dependence(found, method)} {_alarm(found, method)}"


def _dependence(found, method):
    row = found.set_index(["method", "measure"]).loc[(method, "randomisation_spearman")]
    number = f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"
    told = "They depend" if row.high < UNLIKE else "They are not shown to depend"
    return (
        f"{told} on what was learnt: with every parameter drawn anew, the maps' rank correlation with "
        f"the former ones is {number}."
    )


def _alarm(found, method):
    told = alarm(found, method)
    where = {"marker_share": "on the marker", "frame_share": "in the outer frame"}[told["measure"]]
    kind = "Alarm" if told["fires"] else "No alarm"
    return (
        f"{kind}: {told['value']:.1%} of the absolute attribution lies {where}, where the floors have "
        f"up to {told['floors']:.1%}."
    )
