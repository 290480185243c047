"""Answers of pages: each sentence follows from the numbers of a result file, and from all of them."""

import json
from types import SimpleNamespace

import pytest

from xnn.explain import answers
from xnn.explain.evidence import CONTROLS, METHOD

WHOLE = {"auroc_pneumonia": 0.99, "auroc_bacteria_vs_virus": 0.9, "f1_weighted": 0.8}


@pytest.fixture
def run(tmp_path):
    return SimpleNamespace(reports=tmp_path, model=SimpleNamespace(region="whole"))


def score(value, change=0.0, spread=0.01):
    difference = {"value": change, "low": change - spread, "high": change + spread}
    return {"value": value, "low": value - 0.02, "high": value + 0.02, "difference": difference}


def regions(run, **falls):
    """Write the regions.json of a network whose scores fall as said, by fill, when the lungs are removed."""
    fills = []
    for fill in (0, 1):
        without = {}
        for name, value in WHOLE.items():
            fall = falls.get(name, (0, 0))[fill]
            without[name] = score(value - fall, -fall)
        whole = {name: score(value) for name, value in WHOLE.items()}
        fills.append({"whole": whole, "lungs_removed": without, "lungs_only": whole})
    changes = [
        {"change": name, "n": 500, "changed": {"value": v}} for name, v in (("noise", 0.01), ("blur", 0.03))
    ]
    content = {"inputs": fills[0], "inpainted": fills[1], "changes": changes}
    (run.reports / "regions.json").write_text(json.dumps(content))
    return answers.lungs(run)


def test_a_score_that_falls_is_named_although_the_first_score_does_not(run):
    said = regions(run, f1_weighted=(0.17, 0.12))
    assert "the weighted F1 falls by at least 0.120 (0.110 to 0.130)" in said
    assert "no fall of the AUROC for pneumonia exceeds chance" in said
    assert said.startswith(
        "This network does not need the lungs to tell pneumonia from normal: without them 100%"
    )
    assert "A fall does not prove that the lungs were used" in said
    assert "“blur” moves most predictions: 3.0% of 500" in said


def test_fills_that_disagree_are_said_to(run):
    said = regions(run, auroc_pneumonia=(0, 0.05))
    assert "the AUROC for pneumonia falls with one fill only (inpainted)" in said
    assert "0.990 (0.970 to 1.010) (mean grey) or 0.940 (0.920 to 0.960) (inpainted)" in said


def test_a_network_that_loses_most_needs_the_lungs(run):
    needs = "This network needs the lungs: without them {} of its lead over chance is left"
    assert regions(run, auroc_pneumonia=(0.4, 0.3)).startswith(needs.format("18%"))
    assert regions(run, auroc_pneumonia=(0.6, 0.5)).startswith(needs.format("nothing"))


def test_a_network_that_knows_nothing_is_not_judged(run, monkeypatch):
    monkeypatch.setitem(WHOLE, "auroc_pneumonia", 0.5)
    assert "no better than chance" in regions(run)


def test_a_network_that_loses_nothing_has_no_score_that_falls(run):
    said = regions(run)
    assert said.count("no fall of the") == 3
    assert "A fall" not in said


def test_a_network_that_was_trained_on_a_part_is_not_judged_by_the_whole(run):
    run.model.region = "lungs_only"
    said = regions(run, auroc_pneumonia=(0.4, 0.4))
    assert said.startswith("This network was trained on the lungs alone")
    assert "need the lungs" not in said
    assert "Without the lungs" not in said


def measured(share, rank):
    scores = {"lung_share": share, "insertion_auc": rank, "deletion_auc": -rank}
    return {name: score(value) for name, value in scores.items()}


def explanations(
    run, insertion=(4, 0, "better"), deletion=(4, 0, "better"), random=0.1, gain=(0.1, -0.1), **more
):
    names = ("better", "worse", "verdict")
    repeated = {"noise of 3 grey levels": 0.9, "nothing learnt": random}
    shares = {METHOD: 0.5} | dict(zip(CONTROLS, (0.2, 0.3, 0.4, 0.6), strict=True))
    errors = {
        "1 - probability": {"value": 0.7, "low": 0.6, "high": 0.8},
        "share in the lungs": {"value": 0.4, "low": 0.3, "high": 0.45},
        "probability, fitted": {"value": 0.7, "low": 0.6, "high": 0.8},
        "gain by the traits": {"value": gain[0], "low": gain[1], "high": 0.2, "n": 585, "wrong": 104},
    }
    content = {
        "n": 150,
        "supports": {
            "insertion_auc": dict(zip(names, insertion, strict=True)),
            "deletion_auc": dict(zip(names, deletion, strict=True)),
        },
        "repeated": {name: {"correlation": score(value)} for name, value in repeated.items()},
        "methods": {name: measured(share, -share) for name, share in shares.items()},
        "tau": 0.5,
        "alarm": {},
        "errors": errors,
    }
    (run.reports / "explanations.json").write_text(json.dumps(content | more))
    return answers.explanations(run)


def test_explanations_better_than_all_controls_are_said_to_be(run):
    said = explanations(run)
    assert said.startswith("By insertion and by deletion, Integrated Gradients are better than all 4")
    assert "The maps depend on the learnt weights" in said
    assert "50% (48% to 52%) of the attribution lies in the lungs; for the controls it is 20% to 60%" in said
    assert "differ in the share in the lungs. They do not measurably improve" in said
    assert "Alarm" not in said
    assert "Of the methods, integrated gradients has the best mean rank" in said
    methods = {METHOD: measured(0.5, 0.1), "occlusion": measured(0.5, 0.2)}
    methods |= {name: measured(0.5, 0.3) for name in CONTROLS}
    assert "Of the methods, occlusion has the best mean rank" in explanations(run, methods=methods)


@pytest.mark.parametrize(
    ("insertion", "words"),
    [
        ((3, 0, "mixed"), "by insertion they are better than 3 and not shown to differ from 1 of 4 controls"),
        ((1, 3, "mixed"), "by insertion they are better than 1 and worse than 3 of 4 controls"),
        ((0, 0, "mixed"), "by insertion they are not shown to differ from 4 of 4 controls"),
        ((0, 4, "worse"), "by insertion they are worse than all 4 controls"),
    ],
)
def test_measures_that_disagree_are_told_one_by_one(run, insertion, words):
    said = explanations(run, insertion)
    assert words in said
    assert "by deletion they are better than all 4 controls" in said


def test_what_explanations_do_not_support_is_said(run):
    assert "are not shown to depend on the learnt weights" in explanations(run, random=0.89)
    assert "They improve the detection" in explanations(run, gain=(0.1, 0.05))
    assert "+0.050 to +0.200; 585 test images, 104 of them wrong)" in explanations(run, gain=(0.1, 0.05))
    assert "Too few predictions are wrong" in explanations(run, errors={})
    alarm = {"fires": True, "value": 0.3}
    assert "Alarm: 30% of the attribution lies on the marker" in explanations(run, alarm=alarm)
