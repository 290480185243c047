"""The walks from the site to a line of code that CONTRIBUTING.md gives: every opening is there."""

import re

import pytest

from support.project import PROJECT

TEXT = (PROJECT / "CONTRIBUTING.md").read_text()
ROWS = [line for line in TEXT.splitlines() if line.count(".py`: `") == 3]
FIGURES = [line for line in ROWS if "#" in line]


def test_there_are_five_results_and_ten_figures():
    assert (len(ROWS), len(FIGURES)) == (15, 10)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_a_walk_leads_through_its_files(row):
    openings = re.findall(r"`([\w/-]+\.py)`: `([\w.]+)`", row)
    assert len(openings) == 3
    for number, (file, name) in enumerate(openings):
        text = (PROJECT / file).read_text()
        assert f"{name}(" in text if number == 0 else re.search(rf"^def {name}\(", text, re.MULTILINE), file


@pytest.mark.parametrize("row", FIGURES, ids=lambda row: row.split("|")[1].strip())
def test_a_figure_stands_under_the_heading_that_its_anchor_names(row):
    step, anchor = re.search(r"`([\w-]+)#([\w-]+)`", row).groups()
    call = re.search(r"`(plots\.\w+)`", row)[1]
    before, found, _ = (PROJECT / f"notebooks/{step}.py").read_text().partition(f"\n{call}(")
    *_, heading = re.findall(r"^# ##+ (.*)$", before, re.MULTILINE)
    assert found
    assert heading.lower().replace(" ", "-").replace("?", "") == anchor
