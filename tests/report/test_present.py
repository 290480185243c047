"""Pages as readers see them: the answer first, readable names, one cell for a score with its interval."""

import csv
import json
import re
import shutil

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from support.project import PROJECT, ROOT, SMALL, write_study
from xnn import load_run, load_study
from xnn.config import files, names
from xnn.report import landing, origin, present, steps, tables
from xnn.report.steps import Task

MARKDOWN, CODE = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell


def shown(html, caption="Scores."):
    saved = []
    text = tables.presented(html, caption, str, lambda content: saved.append(content) or "1.csv")
    return text, saved


def test_a_table_has_a_caption_no_counter_and_one_cell_for_an_interval():
    table = pd.DataFrame({"score": ["f1_weighted"], "value": [0.81234], "low": [0.75], "high": [0.85678]})
    text, (content,) = shown(table.to_html())
    assert '<caption>Scores. <a href="1.csv">CSV</a></caption>' in text
    assert "<td>f1_weighted</td>" in text
    assert ">0.812 (0.75 to 0.857)</td>" in text
    assert text.count("<th") == 3, "thead and two columns"
    assert next(csv.reader(content.splitlines())) == ["", "score", "value", "low", "high"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("585.0", "585"),
        ("13496.9", "13,497"),
        ("0.125180", "0.125"),
        ("0.0006", "0.0006"),
        ("0.00012345", "0.00012"),
        ("1.24e-06", "1.2e-06"),
        ("11178051", "11,178,051"),
        ("0" * 4 + "12345", "000012345"),
        ("-0.000 (-0.032 to +0.033)", "0.000 (-0.032 to +0.033)"),
        ("IM-0.0", "IM-0.0"),
        ("0123456789abcdef" * 4, "0123456789ab"),
        ("0123456789abcdef" * 3 + "...", "0123456789ab"),
        ("True", "yes"),
        ("IM-0067", "IM-0067"),
        ("", ""),
    ],
)
def test_cells_are_readable(before, after):
    assert tables.cell(before) == after


def test_names_of_an_index_and_its_levels_are_columns():
    scores = pd.DataFrame({"f1": [0.9, 0.8]}, index=pd.MultiIndex.from_product([["a"], ["x", "y"]]))
    assert tables.read(tables.BeautifulSoup(scores.to_html(), "html.parser").table)[1] == [
        ["a", "x", "0.9"],
        ["a", "y", "0.8"],
    ]
    named = pd.DataFrame({"n": [1]}, index=pd.Index(["train"], name="split")).rename_axis(columns="label")
    assert tables.read(tables.BeautifulSoup(named.to_html(), "html.parser").table)[0] == ["split", "n"]


def test_a_table_without_rows_is_left_out():
    assert shown(pd.DataFrame({"reason": []}).to_html())[0] == ""


def test_a_markdown_table_is_read():
    text = "| run | value |\n| --- | --- |\n| [a](b.html) | 0.8 (0.7 to 0.9) |\n| c |  |\n\nWords."
    rows = [["run", "value"], ["[a](b.html)", "0.8 (0.7 to 0.9)"], ["c", ""]]
    assert tables.of_markdown(text) == rows
    assert list(csv.reader(tables.as_csv(rows).splitlines())) == rows


def output(**data):
    return nbformat.v4.new_output("display_data", {f"text/{kind}": text for kind, text in data.items()})


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No other study than those of these tests: some tests write studies that cannot be read."""
    monkeypatch.setattr(
        files, "studies", lambda: [n for n in ("named", "shown") if (ROOT / "params" / n).exists()]
    )
    names.compared.cache_clear()
    yield
    names.compared.cache_clear()


@pytest.fixture(autouse=True)
def root():
    """The files of the project that pages are made with, in the project of the tests."""
    for name in ("pages/glossary.qmd", "CITATION.cff"):
        (ROOT / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(PROJECT / name, ROOT / name)


@pytest.fixture
def page():
    """An executed page of a run, as it is shown."""
    write_study("shown", SMALL, run="model: {backbone: resnet18, weights: none}")
    run = load_run("shown", "run")
    said = nbformat.v4.new_output("stream", text="predictions are kept\n")
    digest = "0123456789abcdef" * 4
    picture = nbformat.v4.new_output("display_data", {"image/png": "AAAA"})
    picture.metadata = {"image/png": {"width": 810}}
    cells = [
        MARKDOWN("# Evaluation"),
        MARKDOWN("**How good is `run`?**\n\nBy calibration. [The\nmaps](5-explain.ipynb#cases).\n\n## First"),
        CODE('study = "phantom"', metadata={"tags": ["parameters"]}),
        CODE("import xnn", outputs=[said]),
        CODE("#| tbl-cap: Counts.\ncounts", outputs=[output(html="<table><tr><td>1</td></tr></table>")]),
        MARKDOWN("## First"),
        CODE("again", outputs=[output(html="<table><tr><td>2</td></tr></table>")]),
        MARKDOWN("## Figures"),
        CODE('#| fig-alt: Bars.\n#| fig-cap: Bars, "by" class.\nbars', outputs=[picture]),
        MARKDOWN("## Empty"),
        CODE("nothing", outputs=[output(markdown="")]),
        CODE("answer", outputs=[output(markdown="**Answer.** It is 0.8. More. ")]),
        CODE("stamp", outputs=[output(markdown=f"| provenance | |\n|---|---|\n| records | {digest} |")]),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    where = run.reports / "4-evaluate.ipynb"
    known = present.named("shown", origin.up_from(where))
    return present.shown(notebook, Task("4-evaluate", run), where, lambda name, _: f"files/{name}", known)


def test_the_answer_comes_first_and_the_provenance_last(page):
    texts = [cell.source for cell in page.cells]
    assert "title: ResNet-18, all layers, random start · Evaluation" in texts[0]
    assert "description: It is 0.8." in texts[0]
    assert "network: ResNet-18\nregime: all layers\n" in texts[0]
    assert texts[1].startswith(
        "::: {.answer}\n**How good is ResNet-18, all layers, random start?**\n\nIt is 0.8. More."
    )
    assert texts[-1].startswith("## Provenance")
    assert "| 0123456789ab |" in texts[-1]
    assert not any("## Empty" in text or "study =" in text for text in texts)


def test_sections_of_one_name_have_cells_of_different_labels(page):
    labels = [cell.source.partition("\n")[0] for cell in page.cells if '"first-' in cell.source]
    assert labels == ['#| label: "first-1"', '#| label: "first-2"']


def test_a_figure_is_a_file_in_the_size_that_it_is_made_for(page):
    (figure,) = [each for cell in page.cells for each in cell.get("outputs", []) if "![" in str(each.data)]
    assert figure.data == {
        "text/markdown": '![Bars, "by" class.](files/figures-1.png){fig-alt="Bars." width=1080}'
    }
    assert "image: files/figures-1.png" in page.cells[0].source


def test_the_description_of_a_page_has_no_points():
    assert present.sentence("`run` reaches 0.8.\n\n- a point") == "run reaches 0.8."
    assert present.sentence("It is 2<sup>10</sup>. More.") == "It is 2^10."


def test_identifiers_are_words():
    assert names.in_words("auroc_pneumonia") == "AUROC for pneumonia"
    assert names.in_words("accuracy_bacteria_vs_virus") == "accuracy for bacteria vs virus"
    assert names.in_words("average precision micro") == "micro average precision"
    assert names.in_words("precision for virus") == "precision for virus"


def test_no_sentence_leads_to_a_page_that_was_not_made(page):
    assert not any("5-explain" in cell.source for cell in page.cells)


def test_only_the_sentence_that_leads_to_a_page_is_left_out():
    text = "Of each kind. [What it\nsaw](5-explain.ipynb#the-most).\n\n[How](3-train.ipynb)."
    assert present.without_pointer(text, "5-explain.ipynb") == "Of each kind.\n\n[How](3-train.ipynb)."


def test_code_that_only_prepares_is_hidden_and_what_it_reports_is_left_out(page):
    (imports,) = [cell for cell in page.cells if "import xnn" in cell.source]
    assert "#| echo: false" in imports.source
    assert imports.outputs == []


def test_the_first_use_of_a_term_leads_to_the_glossary(page):
    assert any("[calibration](../../../pages/glossary.qmd#calibration)" in c.source for c in page.cells)


def test_names_say_what_a_study_and_a_run_are():
    write_study("named", SMALL, run="{seed: 3, training: {class_weights: true}, model: {train: head}}")
    assert names.of_study(load_study("named")) == "Drawn phantoms"
    assert names.of_run(load_run("named", "run")) == "MobileNetV2, head only, class weights, seed 3"
    assert names.of_run(load_run("named", "run"), seed=False).endswith("class weights")


def test_a_source_line_names_the_cell_and_the_files_that_its_page_mentions():
    write_study("shown", SMALL, run="model: {backbone: resnet18, weights: none}")
    task = Task("4-evaluate", load_run("shown", "run"))
    task.page.parent.mkdir(parents=True)
    for name in ("metrics.json", "predictions.csv", "regions.json"):
        (task.page.parent / name).touch()
    line = origin.lines(task, task.page, "| commit | 0123456789ab |\n| seed | 0 |")
    shutil.rmtree(task.page.parent)
    ((_, code),) = [
        cell for cell in steps.code_cells(task.source.read_text()) if "curves.mistakes(" in cell[1]
    ]
    found = BeautifulSoup(line(code.strip("\n"), "a-1"), "html.parser")
    first, last = map(int, re.search(r"lines (\d+) to (\d+)", found.text).groups())
    assert task.source.read_text().splitlines()[first - 1 : last] == code.strip("\n").splitlines()
    assert [each["href"] for each in found.find_all("a")] == [
        "#a-1",
        "../../../notebooks/4-evaluate.py",
        "metrics.json",
        "predictions.csv",
        "../../../params/shown/run.yaml",
        "#provenance",
    ]
    assert found.text.endswith("commit 0123456")
    assert "lines" not in line("another = text", "a-1"), "of a page that was made from another text"


def test_a_table_has_a_source_line_and_words_have_none(page):
    lines = {cell.source.splitlines()[-1]: str(cell.outputs) for cell in page.cells if "outputs" in cell}
    assert [code for code, shown in lines.items() if "<details" in shown] == ["counts", "again", "bars"]
    assert 'href="#first-1"' in lines["counts"]


def test_formulas_are_mathml():
    text = present.formulas("The mean $x_i$ of\n\n$$a\n= 1$$\n")
    assert "The mean `<math" in text
    assert 'display="block"' in text
    assert "$" not in text


def test_the_gallery_opens_on_the_best_run_that_has_one(monkeypatch, tmp_path):
    for run in ("first", "second", "third"):
        write_study("shown", SMALL, **{run: "model: {backbone: resnet18, weights: none}"})
    study = load_run("shown", "first").study
    for run in ("first", "third"):
        (tmp_path / f"reports/shown/{run}/gallery").mkdir(parents=True)
        (tmp_path / f"reports/shown/{run}/gallery/data.js").touch()
    monkeypatch.setattr(landing, "main_study", lambda: study)
    ranks = pd.DataFrame({"runs": [["second"], ["third", "first"]]})
    monkeypatch.setattr(landing, "ranked", lambda _: ranks)
    found = json.loads(landing.galleries(tmp_path).removeprefix("list(").removesuffix(");\n"))
    assert [address for address, _ in found] == [f"reports/shown/{run}/gallery" for run in ("third", "first")]


def test_the_citation_is_bibtex():
    assert landing.cite().startswith("@software{xnn,\n  title = {")
    assert landing.start().startswith("#"), "no address is known"
    known = ROOT / "CITATION.cff"
    known.write_text(known.read_text() + "repository-code: https://example.org/xnn\n")
    assert landing.start() == "git clone https://example.org/xnn xnn && cd xnn"
