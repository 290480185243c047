"""The checklists: values come from result files, and what is gone stops the build."""

import json
import re

import pytest
import yaml

from support.project import PROJECT
from xnn.report import checklists
from xnn.report.steps import StepError

ITEM = {"number": 7, "item": "Scores", "answer": "AUROC {result.json:scores.auroc}, [page](page.qmd#scores)."}


@pytest.fixture
def project(tmp_path):
    """A project with one result, one checklist of one item, and a site with one page."""
    for name in ("checklists", "pages", "_site"):
        (tmp_path / name).mkdir()
    (tmp_path / "result.json").write_text(
        '{"scores": {"auroc": {"value": 0.91234, "low": 0.9, "high": 1.0}}}'
    )
    (tmp_path / "_site/page.html").write_text('<h2 id="scores">Scores</h2>')
    return tmp_path


def give(project, **changes):
    listed = {"title": "A list", "about": "Its source.", "items": [ITEM | changes]}
    (project / "checklists/list.yaml").write_text(yaml.safe_dump(listed))
    return project


def build(project):
    checklists.write(project)
    checklists.check(project / "_site", project)


def test_values_are_filled_in_and_lead_to_their_file(project):
    text = checklists.write(give(project)).read_text()
    assert (
        'AUROC [0.912 (0.900 to 1.000)](../result.json "scores.auroc"), [page](../page.qmd#scores).' in text
    )
    assert "1 of 1 applicable items are answered (100%)" in text
    checklists.check(project / "_site", project)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("{result.json:scores.gone}", "result.json has no key scores.gone: correct the key"),
        ("{gone.json:scores}", "gone.json has no key scores: correct the key"),
        ("[page](gone.qmd)", "gone.qmd is not part of the site: correct the path"),
        ("[page](page.qmd#gone)", "page.qmd has no anchor #gone: name one of its headings"),
    ],
)
def test_what_is_gone_stops_the_build(project, answer, problem):
    with pytest.raises(StepError, match=re.escape(f"checklists/list.yaml, item 7: {problem}")):
        build(give(project, answer=answer))


def test_an_item_has_one_answer(project):
    with pytest.raises(StepError, match="item 7: it is not one item with one answer: give one of answer,"):
        checklists.write(give(project, missing="not measured"))


@pytest.mark.parametrize(("name", "count"), [("claim", 44), ("tripod-ai", 52), ("repository", 14)])
def test_nine_tenths_of_the_applicable_items_are_answered(name, count):
    items = checklists.load(PROJECT / "checklists" / f"{name}.yaml")["items"]
    assert len({str(item["number"]) for item in items}) == len(items) == count
    applicable = [item for item in items if "not_applicable" not in item]
    assert sum("answer" in item for item in applicable) >= 0.9 * len(applicable)


def test_a_value_is_what_its_file_holds():
    file = PROJECT / "reports/kermany/mobilenetv2-robust/metrics.json"
    assert (
        checklists.lookup(file, "scores.f1_macro.value")
        == json.loads(file.read_text())["scores"]["f1_macro"]["value"]
    )
    assert checklists.lookup(file, "confusion.0.1") == json.loads(file.read_text())["confusion"][0][1]
