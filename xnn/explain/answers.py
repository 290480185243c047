"""Answers of the pages on lungs and explanations: sentences from a run's result files."""

import pandas as pd

from ..config.names import in_words
from ..config.provenance import read_json
from ..config.schema import Run
from ..data.regions import FILLS
from ..evaluation.comparison import with_interval
from ..evaluation.regions import SCORES
from .card import JUDGES, REJECTED, ranking
from .evidence import CONTROLS, METHOD

__by_value__ = True  # words and no number: a page's answer is updated without executing the page

INPUTS = {"lungs_only": "the lungs alone", "lungs_removed": "everything but the lungs"}
FILLED = {"mean": "mean grey", "inpainted": "inpainted"}


# ---- lungs ---------------------------------------------------------------------------------------


def lungs(run: Run) -> str:
    """Return what the region test says of a run's network, by all scores in its regions.json."""
    result = read_json(run.reports / "regions.json")
    fills = [result["inputs"], result["inpainted"]]
    whole = fills[0]["whole"]
    main = next(name for name in SCORES if name in whole)
    without, alone = ([fill[name][main] for fill in fills] for name in ("lungs_removed", "lungs_only"))
    lost = {name: [fill["lungs_removed"][name]["difference"] for fill in fills] for name in whole}
    worst = max(result["changes"], key=lambda each: each["changed"]["value"])
    points = [
        f"On whole radiographs the {in_words(main)} is {with_interval(whole[main])}, without the lungs "
        f"{_by_fill(without)}, with the lungs alone {_by_fill(alone)}."
    ]
    if trained_on := INPUTS.get(run.model.region):
        lead = f"This network was trained on {trained_on}; other inputs are foreign to it."
    else:
        lead = _needed(whole[main], without)
        points.append(_changes(lost))
    points.append(
        f"Of the small changes, “{worst['change']}” moves most predictions: {worst['changed']['value']:.1%} "
        f"of {worst['n']} radiographs get another class."
    )
    return _itemised(lead, points)


def _itemised(lead: str, points: list[str]) -> str:
    return f"{lead}\n\n" + "".join(f"- {point}\n" for point in points)


def _by_fill(scores: list[dict]) -> str:
    each = zip(FILLS, scores, strict=True)
    return " or ".join(f"{with_interval(score)} ({FILLED[fill]})" for fill, score in each)


def _changes(lost: dict[str, list[dict]]) -> str:
    """Return which scores fall without the lungs by more than chance, given the differences by fill."""
    words = []
    for score, both in lost.items():
        name = in_words(score)
        falls = [(each["high"] or 0) < 0 for each in both]
        if all(falls):
            least = max(both, key=lambda each: each["value"])
            limits = f"{-least['high']:.3f} to {-least['low']:.3f}"
            words.append(f"the {name} falls by at least {-least['value']:.3f} ({limits})")
        elif any(falls):
            words.append(f"the {name} falls with one fill only ({FILLED[FILLS[falls.index(True)]]})")
        else:
            words.append(f"no fall of the {name} exceeds chance")
    caution = (
        " A fall does not prove that the lungs were used: the network never saw such images in training."
    )
    return f"Without the lungs, {_listed(words)}.{caution * any('falls' in each for each in words)}"


def _needed(whole: dict, without: list[dict]) -> str:
    """Return whether the network needs the lungs: how much of its lead over chance is left without them."""
    lead = (whole["value"] or 0) - 0.5  # undefined where only one class was tested
    if lead <= 0:
        return "On whole radiographs this network is no better than chance, so nothing can be missing."
    left = min(each["value"] - 0.5 for each in without) / lead
    if left < 0.5:
        rest = f"{left:.0%}" if left > 0 else "nothing"
        return f"This network needs the lungs: without them {rest} of its lead over chance is left."
    return (
        "This network does not need the lungs to tell pneumonia from normal: without them "
        f"{left:.0%} of its lead over chance is left."
    )


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


# ---- explanations --------------------------------------------------------------------------------


def explanations(run: Run) -> str:
    """Return which claims a run's explanations support, from its explanations.json."""
    result = read_json(run.reports / "explanations.json")
    points = [_dependence(result["repeated"])]
    if share := result["methods"][METHOD].get("lung_share"):
        others = [result["methods"][name]["lung_share"]["value"] for name in CONTROLS]
        points.append(
            f"{share['value']:.0%} ({share['low']:.0%} to {share['high']:.0%}) of the attribution lies in "
            f"the lungs; for the controls it is {min(others):.0%} to {max(others):.0%}."
        )
    if result["alarm"] and result["alarm"]["fires"]:
        points.append(f"Alarm: {result['alarm']['value']:.0%} of the attribution lies on the marker.")
    points += [_errors(result["errors"]), _method_to_use(result["methods"], result["tau"])]
    return _itemised(
        f"{_against_controls(result['supports'])} Measured on {result['n']} test images.", points
    )


def _against_controls(supports: dict[str, dict]) -> str:
    """Return how Integrated Gradients compare with the controls, by each measure that judges."""
    found = {name.removesuffix("_auc"): _verdict(**supports[name]) for name in JUDGES}
    if len(set(found.values())) == 1:
        return f"By {' and by '.join(found)}, Integrated Gradients {next(iter(found.values()))}."
    told = [f"by {name} they {verdict}" for name, verdict in found.items()]
    return f"Integrated Gradients against {len(CONTROLS)} controls: {_listed(told)}."


def _verdict(better: int, worse: int, verdict: str) -> str:
    count = len(CONTROLS)
    if verdict != "mixed":
        return f"are {verdict} than all {count} controls"
    parts = [f"{word} than {number}" for word, number in (("better", better), ("worse", worse)) if number]
    if rest := count - better - worse:
        parts.append(f"not shown to differ from {rest}")
    return f"are {_listed(parts)} of {count} controls"


def _dependence(repeated: dict[str, dict]) -> str:
    """Return whether maps depend on the learnt weights: more alike under noise than under random weights."""
    same, random = (repeated[name]["correlation"] for name in ("noise of 3 grey levels", "nothing learnt"))
    depend = "depend" if same["low"] > random["high"] else "are not shown to depend"
    return (
        f"The maps {depend} on the learnt weights: their correlation with the maps of the same network under "
        f"invisible noise is {same['value']:.2f}, with those of a network with random weights "
        f"{random['value']:.2f}."
    )


def _method_to_use(methods: dict[str, dict], tau: float) -> str:
    """Return the method with the best mean rank by the measures that judge, and how sure that is."""
    rows = [
        {"method": method, "measure": name, **score}
        for method, scores in methods.items()
        for name, score in scores.items()
    ]
    best = ranking(pd.DataFrame(rows)).index.drop(list(CONTROLS))[0]
    return (
        f"Of the methods, {best.replace('_', ' ')} has the best mean rank by insertion and deletion. That is "
        f"weak evidence for one method over another: their orders by {len(JUDGES + REJECTED)} measures agree "
        f"with a Kendall's tau of {tau:.2f}, and on phantoms no measure orders methods by where the lesion "
        "is."
    )


def _errors(told: dict[str, dict]) -> str:
    """Return whether explanations of wrong predictions differ, and whether they help to find errors."""
    if not told:
        return "Too few predictions are wrong to compare their explanations with the others."
    names = [name for name in told if "probability" not in name and name != "gain by the traits"]
    apart = [name for name in names if not told[name]["low"] <= 0.5 <= told[name]["high"]]
    differ = f"differ in the {_listed(apart)}" if apart else "are not shown to differ"
    gain = told["gain by the traits"]
    count = f"; {gain['n']} test images, {gain['wrong']} of them wrong" if "n" in gain else ""
    helps = "They improve" if gain["low"] > 0 else "They do not measurably improve"
    return (
        f"Explanations of wrong and of correct predictions {differ}. {helps} the detection of errors by the "
        f"probability alone (AUROC {gain['value']:+.3f}, {gain['low']:+.3f} to {gain['high']:+.3f}{count})."
    )
