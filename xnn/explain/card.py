"""The report card of a run's explanations: every method beside the controls, and the claims that follow.

A measure counts for a method if the method differs from both controls on the same images, by more than
another draw of patients would make it.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..evaluation.intervals import interval, patient_weights
from .evidence import CONTROLS

UNLIKE = 0.5  # rank correlation below which maps of a randomised network count as others

# which way is better: 1 more, -1 less; 0: neither
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
ALARMS = {"marker_share": "on the marker", "frame_share": "in the outer frame"}  # the first that is known


def mean_interval(values, patients) -> dict:
    """Return the mean of (N,) values, NaN left out, with its 95 % interval by bootstrap over patients."""
    values, known = np.asarray(values, float), ~np.isnan(values)
    if not known.any():
        raise ValueError("no image has a value")
    weights = patient_weights(np.asarray(patients)[known])
    means = weights @ values[known] / weights.sum(axis=1)
    return {"value": float(values[known].mean()), **interval(means), "images": int(known.sum())}


def table(values: Mapping[str, Mapping[str, np.ndarray]], patients) -> pd.DataFrame:
    """Return the mean of each measure over images, with its 95 % interval by bootstrap over patients.

    ``values`` has a method (or what was changed) to a measure to (N,), NaN where it is not defined. Columns
    method, measure, value, low, high and images (where it is defined), if it is defined anywhere.
    """
    rows = [
        {"method": method, "measure": name, **mean_interval(each, patients)}
        for method, measures in values.items()
        for name, each in measures.items()
        if not np.isnan(each).all()
    ]
    return pd.DataFrame(rows)


def over_controls(values: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
    """Return by how much the method of the card exceeds each control on each image, for ``table``.

    Images differ more than methods do: two means may have intervals that overlap although one method is
    better on nearly every image.
    """
    return {
        control: {name: own - values[control][name] for name, own in values[METHOD].items() if BETTER[name]}
        for control in CONTROLS
    }


def wide(found: pd.DataFrame, decimals: int = 2) -> pd.DataFrame:
    """Return a table for reading: a row per method, a column per measure, cells "value [low, high]"."""
    numbers = found[["value", "low", "high"]].map(f"{{:.{decimals}f}}".format)
    cells = found.assign(cell=numbers.value + " [" + numbers.low + ", " + numbers.high + "]")
    order = sorted(found.measure.unique(), key=[*BETTER, *found.measure].index)
    return cells.pivot(index="method", columns="measure", values="cell").loc[found.method.unique(), order]


def as_json(found: pd.DataFrame) -> dict[str, dict]:
    """Return a table as explanations.json has it: of each method a number per measure, and intervals."""
    return {
        method: {
            **dict(zip(part.measure, part.value, strict=True)),
            "intervals": {row.measure: {"low": row.low, "high": row.high} for row in part.itertuples()},
        }
        for method, part in found.groupby("method", sort=False)
    }


def verdicts(against: pd.DataFrame) -> dict[str, str]:
    """Return for each measure "better", "worse" or "not told apart", from the table of ``over_controls``.

    Better means better than both controls, worse means worse than one of them, each by more than chance.
    """
    found = {}
    for name, sign in BETTER.items():
        gains = sign * against.loc[against.measure == name, ["low", "high"]]
        if len(gains):
            worse = "worse" if (gains.max(axis=1) < 0).any() else "not told apart"
            found[name] = "better" if (gains.min(axis=1) > 0).all() else worse
    return found


def alarm(found: pd.DataFrame) -> dict:
    """Return whether more of the attribution lies on the marker, or in the frame, than for either control.

    That is measure (marker_share where markers are known, else frame_share), value, floors (the higher value
    of the controls) and fires: whether the interval lies above those of both controls. A random map has the
    region's share of the area, the edges what a conspicuous marker has of them.
    """
    rows = found.set_index(["method", "measure"])
    name = next(name for name in ALARMS if (METHOD, name) in rows.index)
    own, controls = rows.loc[(METHOD, name)], [rows.loc[(control, name)] for control in CONTROLS]
    return {
        "measure": name,
        "value": float(own.value),
        "floors": float(max(control.value for control in controls)),
        "fires": bool(own.low > max(control.high for control in controls)),
    }


def sentence(found: pd.DataFrame, against: pd.DataFrame) -> str:
    """Return in words which claims the explanations support, from their table and that over the controls."""
    phrases = {
        "better": "beat both controls on",
        "not told apart": "are no better than a control on",
        "worse": "are worse than a control on",
    }
    verdict_of, parts = verdicts(against), []
    for verdict, phrase in phrases.items():
        names = [name.replace("_", " ") for name, each in verdict_of.items() if each == verdict]
        parts += [f"{phrase} {', '.join(names)}"] if names else []
    ranked = f"Image by image the maps of {METHOD.replace('_', ' ')} {'; they '.join(parts)}."
    return f"{ranked} {_dependence(found)} {_alarm(found)}"


def _dependence(found):
    row = found.set_index(["method", "measure"]).loc[(METHOD, "randomisation_spearman")]
    depend = "depend" if row.high < UNLIKE else "are not shown to depend"
    return (
        f"They {depend} on what was learnt: with every parameter drawn anew, the rank correlation with "
        f"the former maps is {row.value:.2f} [{row.low:.2f}, {row.high:.2f}]."
    )


def _alarm(found):
    state = alarm(found)
    return (
        f"{'Alarm' if state['fires'] else 'No alarm'}: {state['value']:.1%} of the absolute attribution lies "
        f"{ALARMS[state['measure']]}, where the controls have up to {state['floors']:.1%}."
    )
