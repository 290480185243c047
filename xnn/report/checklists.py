"""Checklists for reviewers: answers with values from result files and links to pages."""

import json
import re
from pathlib import Path

import yaml

from ..config.provenance import whole
from .steps import StepError

KINDS = {"answer": "", "not_applicable": "Not applicable: ", "missing": "**Missing:** "}
VALUE = re.compile(r"\{([\w./-]+):([\w .-]+)\}")  # {path:json.pointer}
LINK = re.compile(r"\]\((?!https?:)([^)#]+)#?([^)]*)\)")  # [text](path#anchor), from the project's folder
PAGES = (".ipynb", ".qmd", ".md")


def write(root: Path) -> Path:
    """Write ``pages/_checklists.md``, the filled checklists of ``checklists/*.yaml``.

    Raises StepError if an answer's key is not in its file.
    """
    target = root / "pages/_checklists.md"
    parts = [_section(file, root) for file in sorted((root / "checklists").glob("*.yaml"))]
    with whole(target) as partial:
        partial.write_text("\n\n".join(parts) + "\n")
    return target


def check(site: Path, root: Path) -> None:
    """Raise StepError if an answer links to a page, file or anchor that a rendered site does not have."""
    for file in sorted((root / "checklists").glob("*.yaml")):
        for item in load(file)["items"]:
            for path, anchor in LINK.findall(_text(item)):
                page = site / (Path(path).with_suffix(".html") if path.endswith(PAGES) else path)
                if not page.exists():
                    raise _error(file, item, f"{path} is not part of the site", "correct the path")
                if anchor and f'id="{anchor}"' not in page.read_text():
                    raise _error(file, item, f"{path} has no anchor #{anchor}", "name one of its headings")


def load(file: Path) -> dict:
    """Return a checklist: title, source and items; raise StepError if an item does not say one thing."""
    checklist = yaml.safe_load(file.read_text())
    for item in checklist["items"]:
        if len(KINDS.keys() & item.keys()) != 1 or not {"number", "item"} <= item.keys():
            raise _error(file, item, "it is not one item with one answer", f"give one of {', '.join(KINDS)}")
    return checklist


def _section(file: Path, root: Path) -> str:
    """A checklist as Markdown: its source, how many items are answered, and a table of them."""
    checklist = load(file)
    rows = [
        f"| {item['number']}. {item['item']} | {_filled(file, item, root)} |" for item in checklist["items"]
    ]
    head = f"## {checklist['title']}\n\n{checklist['about'].strip()} {_tally(checklist['items'])}"
    return f"{head}\n\n| item | answer |\n| ------ | ------------ |\n" + "\n".join(rows)


def _tally(items: list[dict]) -> str:
    """The sentence that counts the answered items and names the others."""
    of = {kind: [item["number"] for item in items if kind in item] for kind in KINDS}
    answered, applicable = len(of["answer"]), len(items) - len(of["not_applicable"])
    words = f"{answered} of {applicable} applicable items are answered ({answered / applicable:.0%})"
    for kind, name in ("missing", "missing"), ("not_applicable", "not applicable"):
        words += f"; {name}: {', '.join(map(str, of[kind]))}" if of[kind] else ""
    return f"{words}."


def _text(item: dict) -> str:
    """What an item says, in one line, with the word for its kind before it."""
    (kind,) = KINDS.keys() & item.keys()
    return KINDS[kind] + " ".join(str(item[kind]).split())


def _filled(file: Path, item: dict, root: Path) -> str:
    """An item's answer as Markdown for a page in pages/, each value a link to the file that holds it."""

    def value(found: re.Match) -> str:
        try:
            known = lookup(root / found[1], found[2])
        except (OSError, LookupError, TypeError):
            problem = f"{found[1]} has no key {found[2]}"
            raise _error(file, item, problem, "correct the key, or make that page again") from None
        return f'[{shown(known)}](../{found[1]} "{found[2]}")'

    return VALUE.sub(value, LINK.sub(lambda found: found[0].replace("](", "](../", 1), _text(item)))


def lookup(file: Path, pointer: str):
    """Return the value under a dotted path of keys and positions in a JSON or YAML file."""
    known = (json.loads if file.suffix == ".json" else yaml.safe_load)(file.read_text())  # YAML's is slow
    for key in pointer.split("."):
        known = known[int(key)] if isinstance(known, list) else known[key]
    return known


def shown(value) -> str:
    """Return a value as a page shows it: three digits, and an interval where there is one."""
    if isinstance(value, dict) and {"value", "low", "high"} <= value.keys():
        if value["low"] is None:
            return shown(value["value"])
        return f"{shown(value['value'])} ({shown(value['low'])} to {shown(value['high'])})"
    if isinstance(value, list | dict):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _error(file: Path, item: dict, problem: str, fix: str) -> StepError:
    number = item.get("number", "without a number")
    return StepError(f"checklists/{file.name}, item {number}: {problem}: {fix}")
