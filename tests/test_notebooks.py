"""What holds for every notebook: paired with its text, short, parametrised, and without definitions."""

import ast
import re

import jupytext
import nbformat
import pytest
import yaml

from support.project import PROJECT
from xnn.report import steps
from xnn.report.steps import STEPS

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.py"))
METHODS = sorted((PROJECT / "methods").glob("*.py"))


def code_cells(file):
    return [cell for cell in jupytext.read(file).cells if cell.cell_type == "code"]


def test_there_is_a_notebook_a_step():
    assert [file.stem for file in NOTEBOOKS] == sorted(STEPS)
    assert {file.stem for file in (PROJECT / "notebooks").glob("*.ipynb")} == set(STEPS)


def test_there_is_a_notebook_a_page_on_methods():
    assert [file.stem for file in METHODS] == steps.on_methods()
    assert {file.stem for file in (PROJECT / "methods").glob("*.ipynb")} == set(steps.on_methods())


@pytest.mark.parametrize("file", NOTEBOOKS + METHODS, ids=lambda file: file.stem)
class TestNotebook:
    def test_the_pair_says_the_same(self, file):
        pair = nbformat.read(file.with_suffix(".ipynb"), as_version=4)
        text = jupytext.read(file)
        assert [(c.cell_type, c.source) for c in pair.cells] == [(c.cell_type, c.source) for c in text.cells]
        assert not any(c.get("outputs") for c in pair.cells), "run make notebooks: outputs are not committed"

    def test_its_captions_can_be_read(self, file):
        for cell in code_cells(file):
            options = [each.removeprefix("#| ") for each in cell.source.splitlines() if each.startswith("#|")]
            assert isinstance(yaml.safe_load("\n".join(options)), dict | None), cell.source

    def test_its_code_cells_are_found_without_jupytext(self, file):
        assert [code.strip() for _, code in steps.code_cells(file.read_text())] == [
            cell.source for cell in code_cells(file)
        ]

    def test_it_is_short_and_defines_nothing(self, file):
        cells = code_cells(file)
        lines = [[line for line in c.source.splitlines() if line and line[:2] != "#|"] for c in cells]
        assert sum(map(len, lines[1:])) <= 100, "parameters apart, and captions"
        assert max(map(len, lines)) <= 15
        tree = ast.parse("\n".join(cell.source for cell in cells))
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)]

    def test_its_parameters_are_the_step_s(self, file):
        (cell,) = [c for c in code_cells(file) if "parameters" in c.metadata.get("tags", [])]
        assert cell.source == code_cells(file)[0].source
        names = re.findall(r"^(\w+) = .*  # \w", cell.source, re.MULTILINE)
        assert len(names) == len(cell.source.splitlines()), "every parameter has a trailing comment"
        if file in METHODS:
            assert "seed = 0" in cell.source
            return
        per = STEPS[file.stem].per
        assert ("run" in names) == (per == "run")
        default = 'sweep = "phantom-rates"' if per == "sweep" else 'study = "phantom"'
        assert default in cell.source

    def test_it_opens_with_a_question_and_closes_with_an_answer(self, file):
        cells = jupytext.read(file).cells
        assert re.fullmatch("# .+", cells[0].source)
        assert re.match(r"\*\*[^*]*\?\*\*", cells[1].source)
        answer, stamp = code_cells(file)[-2:]
        assert "**Answer.**" in answer.source
        assert re.search(r"xnn\.(timed|Stamp)\(", stamp.source)
        assert stamp.source == cells[-1].source

    def test_every_figure_has_alternative_text(self, file):
        for cell in code_cells(file):
            if re.search(r"plots\.(?!style)|draw\.", cell.source):
                assert cell.source.startswith("#| fig-alt: "), cell.source
