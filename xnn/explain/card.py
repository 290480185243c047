"""The report card of a run's explanations: every method beside the controls, and the claims that follow.

A measure judges only if it orders maps as the truth does where the truth is known: JUDGES, measured on
phantoms (benchmarks/measures.md). By it a map is better or worse than a control if it is so on the same
images by more than another draw of patients would make it, corrected for the number of questions asked.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..evaluation.intervals import interval, patient_weights
from .evidence import CONTROLS, METHOD

# which way is better: 1 more, -1 less; 0: neither
BETTER = {
    "insertion_auc": 1,
    "deletion_auc": -1,
    "removal": 1,
    "insertion_auc_mean": 1,
    "deletion_auc_mean": -1,
    "removal_mean": 1,
    "lung_share": 0,
    "marker_share": 0,
    "pointing_game": 1,
    "relevance_mass": 1,
    "relevance_rank": 1,
}
JUDGES = ("insertion_auc", "deletion_auc")  # the blurred image stands where regions are not shown
# by the same validation with one seed of each network; with two, removal passes
REJECTED = ("removal", "insertion_auc_mean", "deletion_auc_mean", "removal_mean")
RESAMPLES = 10_000  # of patients: corrected intervals reach far into the tails


def mean_interval(values, patients, questions: int = 1) -> dict:
    """Return the mean of (N,) values, NaN left out, as {"value", "low", "high", "n"}.

    The interval is 95 % by bootstrap over patients, and wider if it is one of several ``questions``
    (Bonferroni).
    """
    values, known = np.asarray(values, float), ~np.isnan(values)
    if not known.any():
        raise ValueError("no image has a value")
    weights = patient_weights(np.asarray(patients)[known], RESAMPLES if questions > 1 else 2000)
    means = weights @ values[known] / weights.sum(axis=1)
    limits = interval(means, 1 - 0.05 / questions)
    return {"value": float(values[known].mean()), **limits, "n": int(known.sum())}


def table(values: Mapping[str, Mapping[str, np.ndarray]], patients, questions: int = 1) -> pd.DataFrame:
    """Return the mean of each measure over images, with its interval, as `mean_interval` has it.

    ``values`` has a method (or what was changed) to a measure to (N,), NaN where it is not defined. Columns
    method, measure, value, low, high and n (images where it is defined), if it is defined anywhere.
    """
    rows = [
        {"method": method, "measure": name, **mean_interval(each, patients, questions)}
        for method, measures in values.items()
        for name, each in measures.items()
        if not np.isnan(each).all()
    ]
    return pd.DataFrame(rows)


def over_controls(values: Mapping[str, Mapping[str, np.ndarray]], patients, method=METHOD) -> pd.DataFrame:
    """Return by how much a method exceeds each control on the same images, as ``table`` has it.

    Images differ more than methods do: two means may have intervals that overlap although one method is
    better on nearly every image. The column wins has the share of images on which the method is better.
    """
    asked = [name for name in values[method] if BETTER[name] and name not in REJECTED]
    gains = {
        control: {name: values[method][name] - values[control][name] for name in asked}
        for control in CONTROLS
    }
    judged = sum(name in JUDGES for name in asked) * len(CONTROLS)
    found = table(gains, patients, judged)
    wins = [
        np.nanmean(BETTER[row.measure] * gains[row.method][row.measure] > 0) for row in found.itertuples()
    ]
    return found.assign(wins=wins)


def verdicts(against: pd.DataFrame) -> dict[str, dict]:
    """Return for each measure how many controls the method is better and worse than, from `over_controls`.

    That is {"better", "worse", "verdict"}; the verdict is better or worse if it is so of every control, else
    mixed.
    """
    sign = against.measure.map(BETTER)
    better = np.where(sign > 0, against.low > 0, against.high < 0)
    worse = np.where(sign > 0, against.high < 0, against.low > 0)
    counts = pd.DataFrame({"measure": against.measure, "better": better, "worse": worse})
    counts = counts.groupby("measure", sort=False).sum().astype(int)
    counts["verdict"] = "mixed"
    for name in ("better", "worse"):
        counts.loc[counts[name] == len(CONTROLS), "verdict"] = name
    return counts.to_dict("index")


def wide(found: pd.DataFrame, decimals: int = 2) -> pd.DataFrame:
    """Return a table for reading: a row per method, a column per measure, cells "value (low to high)".

    Columns are called after the measure and the number of images. The share of images won is added if known.
    """
    numbers = found[["value", "low", "high"]].map(f"{{:.{decimals}f}}".format)
    cells = found.assign(cell=numbers.value + " (" + numbers.low + " to " + numbers.high + ")")
    if "wins" in found:
        cells.cell += found.wins.map(", wins {:.0%}".format)
    order = sorted(found.measure.unique(), key=[*BETTER, *found.measure].index)
    cells = cells.pivot(index="method", columns="measure", values="cell").loc[found.method.unique(), order]
    counts = found.groupby("measure").n.max()
    rejected = dict.fromkeys(REJECTED, ", rejected")
    cells.columns = [
        f"{name}{rejected.get(name, '')}, n = {counts[name]}".replace("_", " ") for name in order
    ]
    return cells.rename(lambda each: each.replace("_", " "))


def as_json(found: pd.DataFrame) -> dict[str, dict]:
    """Return a table as explanations.json has it: {method: {measure: {"value", "low", "high", "n"}}}."""
    return {
        method: part.set_index("measure")[["value", "low", "high", "n"]].to_dict("index")
        for method, part in found.groupby("method", sort=False)
    }


def ranking(found: pd.DataFrame) -> pd.DataFrame:
    """Return the rank of each method and control by each of JUDGES, 1 the best, and the mean rank, sorted."""
    wanted = found[found.measure.isin(JUDGES)]
    values = wanted.pivot(index="method", columns="measure", values="value")
    signs = pd.Series({name: BETTER[name] for name in values})
    ranks = (values * signs).rank(ascending=False).astype(int)
    return ranks.assign(mean=ranks.mean(axis=1)).sort_values("mean", kind="stable")


def disagreement(found: pd.DataFrame) -> float:
    """Return Kendall's tau between two orders of the methods, mean over pairs of JUDGES and REJECTED."""
    wanted = found[found.measure.isin([*JUDGES, *REJECTED])].pivot(
        index="method", columns="measure", values="value"
    )
    tau = (wanted * pd.Series(BETTER)[wanted.columns]).corr("kendall").to_numpy()
    return float(tau[np.triu_indices(len(tau), 1)].mean())


def choice(found: pd.DataFrame, values: Mapping[str, Mapping[str, np.ndarray]], patients) -> pd.DataFrame:
    """Return the methods without the controls, best mean rank by JUDGES first.

    Columns: that rank among methods and controls; and by each of JUDGES how many controls a method is better
    and worse than.
    """
    ranks = ranking(found)["mean"].drop(list(CONTROLS))
    told = {name: verdicts(over_controls(values, patients, name)) for name in ranks.index}
    columns = {"mean rank": ranks}
    for measure in JUDGES:
        for way in ("better", "worse"):
            counts = [each[measure][way] for each in told.values()]
            columns[f"{measure}: {way} than".replace("_auc", "")] = counts
    return pd.DataFrame(columns, index=ranks.index).rename(lambda each: each.replace("_", " "))


def recommendation(chosen: pd.DataFrame, tau: float, n: int) -> str:
    """Return which method to use and how sure that is, given `choice` and `disagreement`."""
    counts = chosen.iloc[0, 1:].astype(int)
    better, worse = counts.filter(like="better than").min(), counts.filter(like="worse than").max()
    return (
        f"Use {chosen.index[0]}: it has the best mean rank by insertion and deletion on {n} images, by each "
        f"of them better than at least {better} of {len(CONTROLS)} controls and worse than at most {worse}. "
        "That is weak evidence for one method over another: orders of the methods by "
        f"{len(JUDGES + REJECTED)} measures agree with a Kendall's tau of {tau:.2f}, and on phantoms no "
        "measure orders methods by where the lesion is."
    )


def alarm(found: pd.DataFrame) -> dict:
    """Return whether more of the attribution lies on the marker than of every control's.

    That is measure, value, controls (the highest of theirs) and fires: whether the interval lies above those
    of all controls. None of it where markers are not known.
    """
    rows = found[found.measure == "marker_share"].set_index("method")
    if not len(rows):
        return {}
    own, controls = rows.loc[METHOD], rows.loc[list(CONTROLS)]
    return {
        "measure": "marker_share",
        "value": float(own.value),
        "controls": float(controls.value.max()),
        "fires": bool(own.low > controls.high.max()),
    }
