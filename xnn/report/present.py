"""Pages of the site from executed notebooks: the answer first, then the evidence, then where it is from."""

import base64
import html
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import nbformat
import yaml

from ..config import files, names
from ..config.provenance import read_json
from ..config.schema import Run, Study, root
from ..evaluation import comparison
from . import origin, tables
from .execute import PICTURES
from .origin import up_from
from .steps import Task

GLOSSARY = "pages/glossary.qmd"
ANSWER, STAMP = "**Answer.** ", "| provenance | |"
TITLE = re.compile(r"^(?:# |title: )(?:.* · )?(.+)$", re.MULTILINE)
QUESTION = re.compile(r"\*\*([^*]+\?)\*\*\s*")
OPTIONS = re.compile(r"(?:#\|.*\n)+")
WRITES = re.compile(r"write_json|write_text|to_csv|savefig|gallery\.write|\bstamp\(", re.MULTILINE)
IDENTIFIER = re.compile(r"[a-z0-9]+([_ ][a-z0-9]+)*")
HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{28,52}\b")
SHOWN = 4 / 3  # times as large as in a notebook: 9 inches are 810 px there, and 1080 px wide is a page
CODE = '```{=html}\n<label class="show-code"><input type="checkbox"> Code</label>\n```'
STEPS_SHOWN = {
    "3-train": "Training",
    "4-evaluate": "Evaluation",
    "4-regions": "Lungs",
    "5-explain": "Explanations",
}


def shown(
    notebook: nbformat.NotebookNode,
    task: Task,
    page: Path,
    save: Callable[[str, bytes], str],
    known: dict[str, tuple[str, str]],
):
    """Return the notebook that is rendered as a page.

    `save` keeps a file beside the page under a name and returns its address; `known` is as `named` gives it.
    """
    title = TITLE.search(notebook.cells[0].source)[1]
    cells = [part for cell in notebook.cells[1:] for part in _parts(cell)]
    answer, stamp, cells = _taken(cells)
    answer = linked(answer, known)
    numbered = _Numbered(title, known, up_from(page), save, origin.lines(task, page, stamp))
    for cell in cells:
        for to in _unmade(task, page) if cell.cell_type == "markdown" else []:
            cell.source = without_pointer(cell.source, to)
    cells = [numbered.cell(cell) for cell in cells if cell]
    cells = _without_empty_sections(cells)
    question = QUESTION.match(cells[0].source) if cells else None
    if question:
        cells[0].source = cells[0].source[question.end() :]
    front = _front(task, title, sentence(answer), numbered.pictures)
    top = [nbformat.v4.new_raw_cell(f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---")]
    lead = f"**{question[1]}**\n\n" if question else ""
    if answer:
        top.append(_markdown(f"::: {{.answer}}\n{lead}{answer}\n:::"))
    if links := beside(task, page):
        top.append(_markdown(f"::: {{.beside}}\n{links}\n:::"))
    top.append(_markdown(CODE))
    if stamp:
        cells.append(_markdown("## Provenance\n\n" + _readable(stamp)))
    notebook.cells = [*top, *cells]
    return notebook


def _readable(stamp: str) -> str:
    """A table of provenance with short hashes and names that wrap."""
    return HASH.sub(r"\1", stamp).replace(STAMP, "| what | value |").replace("_sha256", " SHA-256")


def sentence(text: str) -> str:
    """Return the first sentence of a Markdown text, or its first paragraph, without its marks."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).replace("*", "").replace("`", "")
    plain = re.sub(r"<[^>]+>", "", plain.replace("<sup>", "^"))
    return re.split(r"(?<=[^.][.!?])\s+(?=[A-Z])", plain.strip(), maxsplit=1)[0].partition("\n\n")[0]


# ---- names and links -------------------------------------------------------------------------------


def named(study: str, up: str) -> dict[str, tuple[str, str]]:
    """Return readable name and address of every run and study that a page of a study may mention.

    `up` leads from the page to the top of the site.
    """
    found = {}
    for each in map(files.load_study, files.studies()):
        found[each.name] = (names.of_study(each), _address(each, "6-compare", up))
    for run in files.runs(study):
        run = files.load_run(study, run)
        found[run.name] = (names.of_run(run), _address(run, "4-evaluate", up))
    return found


def _address(subject: Study | Run, step: str, up: str) -> str:
    """The address of a page from another one; empty if the page was not made."""
    file = subject.reports / f"{step}.ipynb"
    return f"{up}{file.relative_to(root()).as_posix()}" if file.exists() else ""


def linked(text: str, known: dict[str, tuple[str, str]]) -> str:
    """Return Markdown with the readable names of runs and studies, linked where they stood in backticks."""

    seen = set()

    def put(found: re.Match) -> str:
        name, to = known.get(found[1], (None, None))
        first = not (found[1] in seen or seen.add(found[1]))  # the others are not linked
        return found[0] if name is None else f"[{name}]({to})" if to and first else name

    text = re.sub(r"(?<!Study )(?<!Run )`([^`\n]+)`", put, text)
    return re.sub(r"(?<=\| )([\w.-]+)(?= \|)", put, text)


def formulas(text: str) -> str:
    """Return Markdown with its TeX formulas as MathML, for which a browser needs no script."""
    text = re.sub(
        r"\$\$(.+?)\$\$", lambda tex: f"```{{=html}}\n{_math(tex[1], 'block')}\n```", text, flags=re.S
    )
    return re.sub(r"\$([^$\n]+)\$", lambda tex: f"`{_math(tex[1], 'inline')}`{{=html}}", text)


def _math(tex: str, display: str) -> str:
    from latex2mathml import converter

    return converter.convert(" ".join(tex.split()), display=display)


def beside(task: Task, page: Path) -> str:
    """Return links to the other pages of a page's run."""
    if not isinstance(task.subject, Run):
        return ""
    there = {step: name for step, name in STEPS_SHOWN.items() if page.with_name(f"{step}.ipynb").exists()}
    links = [
        f"**{name}**" if step == task.step else f"[{name}]({step}.ipynb)" for step, name in there.items()
    ]
    if (page.parent / "gallery/data.js").exists():
        links.append(
            f"[Gallery]({up_from(page)}pages/gallery.qmd#run={page.parent.relative_to(root()).as_posix()}/gallery)"
        )
    return " · ".join(links)


def _unmade(task: Task, page: Path) -> list[str]:
    """Pages of a run that were not made: they may need a model that is not here."""
    names = [f"{step}.ipynb" for step in STEPS_SHOWN if isinstance(task.subject, Run)]
    return [name for name in names if not page.with_name(name).exists()]


def without_pointer(text: str, to: str) -> str:
    """Return Markdown without the sentences that consist of a link to a page."""
    return re.sub(rf"(?<=\.)\s+\[[^][]*\]\({re.escape(to)}(?:#[^)]*)?\)\.", "", text)


def _front(task: Task, title: str, description: str, pictures: list[str]) -> dict:
    """The front matter of a page: what lists of pages show of it."""
    subject = task.subject
    front = {"title": f"{names.of(subject)} · {title}" if subject else title, "description": description}
    if pictures:  # the views that a training begins with are the same for most networks
        image = pictures[-1 if task.step == "3-train" else 0]
        front |= {"image": image, "image-alt": f"A figure of {front['title']}"}
    if not subject:
        return front
    kinds = [names.of_study(task.study)]
    first = f"{not task.study.compare_with:d} {task.study.name}"  # the main study first
    front["order"] = f"{first} {task.step}"
    subtitle = f"Study {task.study.name}" if isinstance(subject, Study) else names.of_study(task.study)
    if isinstance(subject, Run):
        kinds += names.of_run(subject).split(", ")[:2]
        front |= dict(zip(("study", "network", "regime"), kinds, strict=True))  # lists sort by these
        if found := read_json(subject.reports / "metrics.json"):
            score = found["scores"]["f1_weighted"]
            front["score"] = f"{score['value']:.3f}"  # of one length: they are sorted as words
            subtitle = f"{subtitle} · weighted F1 {comparison.with_interval(score)}"
            chosen_by = [comparison.criterion({subject.name: found}), "f1_weighted"]
            lost = [f"{1 - found['validation'][name]['value']:.4f}" for name in chosen_by]
            part = f"{subject.model.region != 'whole':d}"
            front["order"] = " ".join([first, part, *lost])  # as runs are chosen
    return front | {"subtitle": subtitle, "categories": kinds}


# ---- cells -----------------------------------------------------------------------------------------


def _markdown(text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(text)


def _parts(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """A cell without the outputs that say nothing to a reader; a text as a cell for each section."""
    if cell.cell_type == "markdown":
        return [_markdown(text) for text in re.split(r"\n(?=## )", cell.source)]
    tags = cell.metadata.get("tags", [])
    cell.outputs = [each for each in cell.outputs if _says_something(each)]
    return [] if "parameters" in tags and re.search("study|sweep", cell.source) else [cell]


def _says_something(output: nbformat.NotebookNode) -> bool:
    """Whether an output is a picture, a table with rows or a text, and no progress report or bare value."""
    data = output.get("data", {})
    if "text/html" in data:
        return "<td" in data["text/html"]
    return bool(data.get("text/markdown", "").strip()) or any(kind in data for kind in PICTURES)


def _is_evidence(output: nbformat.NotebookNode) -> bool:
    """Whether an output is a figure or a table."""
    data = output.get("data", {})
    return any(kind in data for kind in (*PICTURES, "text/html")) or data.get("text/markdown", "")[:2] == "| "


def _taken(cells: list) -> tuple[str, str, list]:
    """The answer and the provenance of a page, and the cells that hold neither."""
    found, left = {ANSWER: "", STAMP: ""}, []
    for cell in cells:
        texts = [output.get("data", {}).get("text/markdown", "") for output in cell.get("outputs", [])]
        starts = [start for start in found if any(text.startswith(start) for text in texts)]
        for start in starts:
            found[start] = "\n\n".join(texts).removeprefix(ANSWER)
        if not starts:
            left.append(cell)
    return found[ANSWER], found[STAMP], left


def _without_empty_sections(cells: list) -> list:
    """The cells of all sections but those whose code shows nothing."""
    sections = [[]]
    for cell in cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            sections.append([])
        sections[-1].append(cell)
    kept = [
        section
        for number, section in enumerate(sections)
        if not number or not (code := [c for c in section if "outputs" in c]) or any(c.outputs for c in code)
    ]
    return [cell for section in kept for cell in section]


class _Numbered:
    """Cells with captions and ids, which are numbered within each section."""

    def __init__(
        self,
        title: str,
        known: dict,
        up: str,
        save: Callable[[str, bytes], str],
        source: Callable[[str, str], str],
    ):
        self.section, self.known, self.up, self.save, self.source = title, known, up, save, source
        self.terms = dict(re.findall(r"^### (.+) \{#(.+)\}", (root() / GLOSSARY).read_text(), re.MULTILINE))
        self.counts, self.label, self.pictures = Counter(), "", []  # lists of pages show one

    def cell(self, cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
        if cell.cell_type == "markdown":
            if heading := re.match(r"## (.+)", cell.source):
                self.section = heading[1]
            cell.source = formulas(self._explained(linked(cell.source, self.known)))
            return cell
        whole, head, self.files = cell.source, OPTIONS.match(cell.source), Counter()
        own = yaml.safe_load(re.sub("^#\\|", "", head[0], flags=re.MULTILINE)) if head else {}
        code = cell.source[head.end() :] if head else cell.source
        options = self._options(cell, code)
        lines = [f"#| {key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in options.items()]
        cell.source = "".join(lines) + code
        is_evidence = any(map(_is_evidence, cell.outputs))
        for output in cell.outputs:
            self._output(output, own)
        if is_evidence:
            line = {"text/html": self.source(whole, self.label)}
            cell.outputs.append(nbformat.v4.new_output("display_data", line))
        return cell

    def _explained(self, text: str) -> str:
        """A text in which the first use of each term leads to the glossary."""
        heading, prose = re.fullmatch(r"(#.*\n|)(.*)", text + "\n", re.DOTALL).groups()
        for term, anchor in list(self.terms.items()):
            use = re.compile(rf"(?<![\w\[`*#/-])({term}s?)(?![\w`*/-])(?![^\[\]\n]*\])", re.IGNORECASE)
            if use.search(prose):
                prose = use.sub(rf"[\1]({self.up}pages/glossary.qmd#{anchor})", prose, count=1)
                del self.terms[term]
        return heading + prose

    def _options(self, cell: nbformat.NotebookNode, code: str) -> dict:
        """Options of the renderers for a cell."""
        if {"parameters", "injected-parameters"} & {*cell.metadata.get("tags", [])}:
            return {"code-fold": True, "code-summary": "Parameters"}
        options = {"label": self._next_label()} if cell.outputs else {}
        if re.match(r"(import|from) ", code) or (WRITES.search(code) and not cell.outputs):
            options["echo"] = False
        return options

    def _next_label(self) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", self.section.lower()).strip("-")
        self.counts[slug] += 1  # a section may have the title of the page
        self.label = f"{slug}-{self.counts[slug]}"
        return self.label

    def _output(self, output: nbformat.NotebookNode, own: dict) -> None:
        data = output.get("data", {})
        caption = own.get("tbl-cap", self.section)
        if kind := next((kind for kind in PICTURES if kind in data), None):
            output.data = {"text/markdown": self._figure(output, kind, own)}
        elif "text/html" in data:
            data["text/html"] = tables.presented(data["text/html"], caption, self._linked, self._save)
        elif "text/markdown" in data:
            text = linked(data["text/markdown"], self.known).rstrip()
            if text.startswith("| "):
                rows = tables.of_markdown(data["text/markdown"])
                text += f"\n\n: {caption} [CSV]({self._save(tables.as_csv(rows))})"
            data["text/markdown"] = text

    def _linked(self, text: str) -> str:
        """The HTML of a cell: the name of a run or study is readable and leads to its page."""
        words = names.in_words(text) if IDENTIFIER.fullmatch(text) else text
        name, to = self.known.get(text, (words, ""))
        name = html.escape(name)
        return f'<a href="{html.escape(to.replace(".ipynb", ".html"))}">{name}</a>' if to else name

    def _figure(self, output: nbformat.NotebookNode, kind: str, own: dict) -> str:
        """The Markdown of a figure, in the size that it is made for: it may have more pixels."""
        data, size = output.data[kind], output.metadata.get(kind, {})
        content = data.encode() if kind == "image/svg+xml" else base64.b64decode(data)
        file = self._save(content, kind.removeprefix("image/").removesuffix("+xml"))
        self.pictures.append(file)
        alternative = own.get("fig-alt", self.section)
        width = f" width={SHOWN * size['width']:.0f}" if "width" in size else ""
        quoted = alternative.replace('"', "'")
        return f'![{own.get("fig-cap", alternative)}]({file}){{fig-alt="{quoted}"{width}}}'

    def _save(self, content: str | bytes, ending: str = "csv") -> str:
        self.files[ending] += 1
        name = self.label + f"-{self.files[ending]}" * (self.files[ending] > 1)
        return self.save(f"{name}.{ending}", content if isinstance(content, bytes) else content.encode())
