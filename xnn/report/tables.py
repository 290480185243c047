"""Tables of executed notebooks as the site shows them: readable headers, one cell per interval, a caption."""

import csv
import html
import io
import re
from collections.abc import Callable

from bs4 import BeautifulSoup

from ..config.names import in_words

CELLS = {"True": "yes", "False": "no", "nan": "", "NaN": "", "None": "", "\xa0": ""}
NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d+)?([eE][-+]?\d+)?")
HASH = re.compile(r"([0-9a-f]{12})[0-9a-f]{28,52}(\.\.\.)?")  # pandas cuts off some
MINUS_ZERO = re.compile(r"(?<![\w.])-(0\.0+)(?!\d)")
MEASURED = re.compile(rf"{NUMBER.pattern}\s?%?( \(.*\))?|-|")


def cell(text: str) -> str:
    """Return a cell with three decimals, or two digits if it is small; of a hash the first 12."""
    if found := HASH.fullmatch(text):
        return found[1]
    if text.isdecimal() and len(text) > 4 and text[0] != "0":
        return f"{int(text):,}"
    if NUMBER.fullmatch(text) and "." in text:
        value = float(text.replace(",", ""))
        if text.endswith(".0") or abs(value) >= 1000:
            return f"{value:,.0f}"
        if len(text.rpartition(".")[2]) > 3:
            return f"{value:.3f}" if abs(value) >= 0.01 or not value else f"{value:.2g}"
    return CELLS[text] if text in CELLS else MINUS_ZERO.sub(r"\1", text)


def read(table) -> tuple[list[str], list[list[str]]] | None:
    """Return header and rows of a pandas table, spans repeated; None where columns have several levels."""
    if table.find(colspan=lambda span: span and span != "1"):
        return None
    heads, rows, open_cells = [], [], {}
    for line in table.find_all("tr"):
        texts = []
        for each in line.find_all(["th", "td"]):
            while open_cells.get(len(texts), (0,))[0]:
                left, text = open_cells[len(texts)]
                open_cells[len(texts)] = (left - 1, text)
                texts.append(text)
            text = each.get_text().strip().replace("\xa0", "")
            open_cells[len(texts)] = (int(each.get("rowspan", 1)) - 1, text)
            texts.append(text)
        (heads if line.find_parent("thead") else rows).append(texts)
    if len(heads) == 2:  # names of the index stand in a row of their own
        heads = [[name or head for head, name in zip(*heads, strict=True)]]
    return (heads[0], rows) if len(heads) == 1 and rows else None


def merged(head: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Return a table without pandas' counter, and with value, low and high in one cell."""
    left = [(name, [*map(cell, texts)]) for name, texts in zip(head, zip(*rows, strict=True), strict=True)]
    if not head[0] and all(row[0].isdigit() for row in rows):
        del left[0]
    names, columns = [], []
    while left:
        name, column = left.pop(0)
        if [each for each, _ in left[:2]] in (["low", "high"], [f"{name}_low", f"{name}_high"]):
            (_, low), (_, high) = left[:2]
            del left[:2]
            column = [f"{v} ({a} to {b})" if a else v for v, a, b in zip(column, low, high, strict=True)]
        names.append(name)
        columns.append(column)
    return names, [list(row) for row in zip(*columns, strict=True)]


def as_csv(rows: list[list[str]]) -> str:
    """Return rows as the text of a CSV file."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def of_markdown(text: str) -> list[list[str]]:
    """Return the rows of a Markdown table."""
    lines = [line for line in text.splitlines() if line.startswith("|") and re.search(r"[^|: -]", line)]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]


def presented(source: str, caption: str, link: Callable[[str], str], save: Callable[[str], str]) -> str:
    """Return the HTML of a table output for the site; empty if the table has no rows.

    `link` returns the HTML for a cell, `save` keeps the CSV text and returns its address.
    """
    table = BeautifulSoup(source, "html.parser").find("table")
    if table is None or not table.find("td"):
        return "" if table else source
    title = html.escape(caption)
    if not (found := read(table)):
        for style in table.find_all(["style", "caption"]):
            style.decompose()
        return str(table).replace(">", f"><caption>{title}</caption>", 1)
    head, rows = merged(*found)
    numeric = [all(MEASURED.fullmatch(row[place]) for row in rows) for place in range(len(head))]
    classes = [' class="number"' if each else "" for each in numeric]
    heads = "".join(
        f'<th scope="col"{kind}>{html.escape(in_words(name)) or "&nbsp;"}</th>'
        for name, kind in zip(head, classes, strict=True)
    )
    filled = (
        "".join(f"<td{kind}>{link(each)}</td>" for each, kind in zip(row, classes, strict=True))
        for row in rows
    )
    body = "".join(f"<tr>{cells}</tr>\n" for cells in filled)
    csv_file = save(as_csv([found[0], *found[1]]))
    return (
        f'<table class="data"><caption>{title} <a href="{csv_file}">CSV</a></caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}</tbody></table>"
    )
