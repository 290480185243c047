"""Numbers in hand-written prose: none is a result, and each stands in the file that decides it.

Results are computed in the run that prints them, or filled in when the site is built. What is left in texts
and captions with a decimal point, a percent sign or thousands are settings and definitions.
"""

import ast
import json
import re
from fnmatch import fnmatch

import pandas as pd
import pytest

from support.project import PROJECT

NUMBER = re.compile(r"\d[\d,]*\.\d+(?: ?%)?|\d[\d,]* ?%|\d{1,3}(?:,\d{3})+")
NO_PROSE = re.compile(
    r"```.*?```|<script.*?</script>|`[^`]*`|\]\([^)]*\)|<[^>]*>|https?://\S+"  # code and addresses
    r"|doi:\S+|arXiv\s+[\d.]+|CC BY 4\.0"
    r"|\{[^{}]*\}",  # values that are filled in
    re.DOTALL,
)
CELL = re.compile(r"^# %%(.*)\n((?:(?!# %%).*\n?)*)", re.MULTILINE)
MASKS = f"{pd.read_csv(PROJECT / 'reports/kermany/splits.csv').mask_id.count():,}"
# a number, the documents that may give it, and the file and the words in it that decide it
SOURCES = [
    ("95 %", "*", "xnn/evaluation/intervals.py", "level: float = 0.95"),
    ("90 %", "*", "xnn/evaluation/conformal.py", "LEVEL = 0.9\n"),
    ("10 %", "checklists/*", "xnn/config/schema.py", "fractions: Shares = (0.8, 0.1, 0.1)"),
    ("0.98", "notebooks/2-explore.py", "xnn/explore/audit.py", "BITS, CORRELATION = 10, 0.98\n"),
    ("1 %", "notebooks/3-lungs.py", "xnn/training/segmentation.py", "ALARM = 0.01 "),
    ("1 %", "methods/integrated-gradients.py", "methods/integrated-gradients.py", "tolerance=0.01"),
    ("1 %", "methods/convnextv2.py", "methods/demo/responses.py", "loudness.exp()"),  # a ratio
    ("60 %", "methods/convnextv2.py", "methods/convnextv2.py", "0.6"),
    ("1,000", "methods/optimiser.py", "methods/optimiser.py", "steps, rate, amount = 1000, 1e-3, 0.1"),
    ("0.001", "methods/optimiser.py", "methods/optimiser.py", "steps, rate, amount = 1000, 1e-3, 0.1"),
    ("0.1", "methods/optimiser.py", "methods/optimiser.py", "rate=0.01, decay=0.1"),
    ("0.01", "methods/optimiser.py", "methods/optimiser.py", "rate=0.01, decay=0.1"),
    ("0.5", "*", "pages/glossary.qmd", "0.5 is chance, 1 is perfect"),
    ("80 %", "pages/glossary.qmd", "pages/glossary.qmd", "of predictions with a confidence of 80 %"),
    ("3.11", "*", "pyproject.toml", 'requires-python = ">=3.11"'),
    ("1.2", "README.md", "params/kermany/study.yaml", "bytes: 12"),  # GB
    (MASKS, "README.md", "README.md", "Masks for"),
]
FOLDERS = ("pages/[a-z]*.qmd", "checklists/*.yaml", "notebooks/*.py", "methods/*.py")
FILES = [file for pattern in FOLDERS for file in sorted(PROJECT.glob(pattern))]
NAMES = ["README.md", "CONTRIBUTING.md", "index.qmd", *(str(file.relative_to(PROJECT)) for file in FILES)]


def words(cell: tuple[str, str]) -> str:
    """The text of a cell of a notebook; of code the captions and strings."""
    head, body = cell
    if "markdown" in head:
        return re.sub(r"^# ?", "", body, flags=re.MULTILINE)
    strings = [each.value for each in ast.walk(ast.parse(body)) if isinstance(each, ast.Constant)]
    strings = [each for each in strings if isinstance(each, str) and " " in each]
    return "\n".join([*re.findall(r"^#\| (.*)", body, re.MULTILINE), *strings])


def numbers(text: str, name: str = "") -> set[str]:
    """The numbers in the prose of a document."""
    prose = "\n".join(map(words, CELL.findall(text))) if name.endswith(".py") else text
    return set(NUMBER.findall(NO_PROSE.sub(" ", prose)))


@pytest.mark.parametrize("name", NAMES)
def test_every_number_in_prose_is_a_setting_or_a_definition(name):
    known = {number for number, documents, *_ in SOURCES if fnmatch(name, documents)}
    unknown = numbers((PROJECT / name).read_text(), name) - known
    assert not unknown, "compute it, fill it in when the site is built, or name what decides it in SOURCES"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: f"{source[0]} in {source[1]}")
def test_a_setting_is_what_the_prose_says(source):
    number, documents, file, decided = source
    assert decided in (PROJECT / file).read_text()
    named = [name for name in NAMES if fnmatch(name, documents)]
    assert any(number in numbers((PROJECT / name).read_text(), name) for name in named), "no longer used"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("An AUROC of 0.923 on 4,668 images, 12.5 % of them `0.1` wide.", {"0.923", "4,668", "12.5 %"}),
        ("[AUROC {a/b.json:scores.f1}](x-1.5.html), doi:10.1/2, CC BY 4.0", set()),
    ],
)
def test_numbers_are_found_in_texts(text, found):
    assert numbers(text) == found


def test_numbers_are_found_in_captions_and_strings_of_notebooks():
    cells = ["#| fig-cap: Up to 0.7.", "said = f'{value:.1%} of 0.8'", "rate = 0.1"]
    text = "# %% [markdown]\n# A share of 60 %.\n" + "".join(f"\n# %%\n{cell}\n" for cell in cells)
    assert numbers(text, "a.py") == {"0.7", "0.8", "60 %"}


INCLUDED = {
    "_findings.md": "7-protocol",
    "_data.md": "2-explore",
}  # on pages of the site, and what writes them


@pytest.mark.parametrize(
    "file",
    [file for name in INCLUDED for file in sorted(PROJECT.glob(f"reports/*/{name}"))],
    ids=lambda file: f"{file.parent.name}/{file.name}",
)
def test_sentences_that_pages_include_are_those_of_the_executed_notebook(file):
    cells = json.loads(file.with_name(f"{INCLUDED[file.name]}.ipynb").read_text())["cells"]
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    shown = "\n".join("".join(data.get("text/markdown", "")) for data in outputs)
    said = [line.removeprefix("- ") for line in file.read_text().splitlines() if line and line[0] != "|"]
    assert said
    assert [line for line in said if line not in shown] == []
