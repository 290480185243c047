"""The line under a figure or table of the site: its address, its cell, and what the page was made from."""

import html
import re
from collections.abc import Callable
from pathlib import Path

from ..config.schema import root, short
from .steps import Task

HASHES = {"commit": "commit", "params_sha256": "parameters", "records_sha256": "records"}  # of a stamp
NAMED = re.compile(r'\bxnn\.(\w+)\(|"(\w+)\.(?:csv|json)"')  # a function is named like the file that it keeps


def up_from(page: Path) -> str:
    """Return the way from a page to the top of the site."""
    return "../" * (len(page.relative_to(root()).parts) - 1)


def results(task: Task, page: Path) -> list[str]:
    """Return the names of the result files beside a page that its code mentions."""
    mentioned = {name for found in NAMED.findall(task.source.read_text()) for name in found}
    beside = sorted(file for kind in ("csv", "json") for file in page.parent.glob(f"*.{kind}"))
    return [file.name for file in beside if file.stem in mentioned]


def parameters(task: Task) -> list[Path]:
    """Return the parameter file of a task; a page on methods has none."""
    return [task.subject.file] if task.subject else []


def lines(task: Task, page: Path, stamp: str) -> Callable[[str, str], str]:
    """Return a function that gives the line, as HTML, from a cell's code and its anchor.

    `stamp` is the page's provenance as Markdown; without it, the line names no commit.
    """
    source, up = task.source.read_text(), up_from(page)
    known = dict(re.findall(r"^\| (\w+) \| ([0-9a-f]{7})", stamp, re.MULTILINE))
    known = [f"{name} {known[key]}" for key, name in HASHES.items() if key in known]
    files = [link(name, name) for name in results(task, page)]
    files += [link(up + short(file), short(file)) for file in parameters(task)]
    shared = [", ".join(files), link("#provenance", ", ".join(known)) if known else ""]

    def line(code: str, anchor: str) -> str:
        cell = link(up + short(task.source), short(task.source)) + _place(source, code)
        parts = " · ".join(filter(None, [link(f"#{anchor}", "link to here"), cell, *shared]))
        return folded("Source", parts)

    return line


def _place(source: str, code: str) -> str:
    """The lines of a cell in its notebook's text; empty if the page was made from another text."""
    before, found, _ = f"\n{source}".partition(f"\n{code}\n")
    first = before.count("\n") + 1
    return f", lines {first} to {first + code.count(chr(10))}" if found else ""


def folded(title: str, content: str) -> str:
    """Return the HTML of small print that a reader opens."""
    return f'<details class="from"><summary>{title}</summary>{content}</details>'


def link(to: str, name: str) -> str:
    """Return the HTML of a link."""
    return f'<a href="{html.escape(to)}">{html.escape(name)}</a>'
