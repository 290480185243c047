"""Rendering of the site: broken pages are refused, stale ones get a banner."""

import functools
import glob
import html
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from string import Template

import nbformat
from filelock import FileLock

from ..config import files, freshness, provenance
from ..config.schema import ParameterError, root, short
from . import checklists, landing, metadata, origin, present, steps
from .steps import StepError

SITE = "_site"
INPUTS = ".inputs"  # in it, the hash of what it was made from
STAGED = "artifacts/site"
COPIED = (
    "_quarto.yml",
    "index.qmd",
    "pages/*",
    "benchmarks/*.md",
    "reports/*/_*.md",
    "reports/*/*.csv",
    "reports/*/*.json",
    "reports/*/*/*.csv",
    "reports/*/*/*.json",
    "models/*/config.json",
    "notebooks/*.py",
    "methods/*.py",
    "params/*/*.yaml",
    "tests/test_house.py",
    "tests/evaluation/test_scoring.py",
    "CITATION.cff",
    "LICENSE",
    "pyproject.toml",
    "requirements.lock",
    "reports/*/*/*.png",
    "reports/*/*/*.jpg",
    "reports/*/*/gallery/*",
)
# read by Quarto alone: smalldocs takes the width from the style sheet, and follows the reader's preference
GRID = "grid: {sidebar-width: 160px, body-width: 1080px, margin-width: 200px}"
QUARTO = f"format: {{html: {{respect-user-color-scheme: true, {GRID}}}}}\n"
# what scrolls can be reached with a keyboard
FOCUS = """addEventListener("load", () => {
  const watch = new ResizeObserver(seen => seen.forEach(({target}) => target.scrollWidth > target.clientWidth
    ? target.tabIndex = 0 : target.removeAttribute("tabindex")));
  document.querySelectorAll(".scroll, figure > p").forEach(each => watch.observe(each));
})"""
SORTS = {"score": "Weighted F1", "study": "Study", "network": "Network", "regime": "Trained layers"}
BOUNDS = re.compile(r"\([-+]?[\d.]+%? to [-+]?[\d.]+%?\)(?![^<>]*>)")  # stay in one line; not in attributes
LIST = re.compile(r"^listing:\n(?: .*\n)+", re.MULTILINE)
BLOCK = re.compile(r"<h([1-6])\b.*?</h\1>|(<table\b[^>]*>)(.*?</table>)", re.DOTALL)


def render(renderer: str | None = None) -> None:
    """Render the site into _site/ with Quarto if it is installed, otherwise with smalldocs.

    What is rendered are copies in artifacts/site/, presented for readers. Warnings of the renderer are
    printed. Raises StepError if a notebook in reports/ did not end well, or if rendering fails.
    """
    renderer = renderer or ("quarto" if shutil.which("quarto") else "smalldocs")
    project, made = root(), root() / SITE
    (project / "artifacts").mkdir(exist_ok=True)
    with FileLock(project / "artifacts/.site.lock"):
        notebooks = steps.pages()
        for notebook in notebooks:
            if not steps.metadata(notebook):
                raise StepError(f"{short(notebook)} was cut off or ended in an error: run make report again")
        checklists.write(project)
        why = {notebook: doubts(notebook) for notebook in notebooks}
        made_from, kept = _inputs(why, renderer), made / INPUTS
        if kept.exists() and kept.read_text() == made_from:
            print(f"the site is in {SITE}/index.html, and nothing that it shows has changed")
            return
        stage(notebooks)
        _run(renderer)
        shutil.rmtree(made, ignore_errors=True)
        shutil.move(project / STAGED / SITE, made)
        checklists.check(made, project)
        for file in made.rglob("*.html"):
            file.write_text(finished(file.read_text()))
        for notebook in notebooks:
            _complete(notebook, why[notebook])
            if why[notebook]:
                print(f"{short(notebook)} carries a banner: {why[notebook][0]}")
        metadata.write(made, project)
        kept.write_text(made_from)
        print(f"the site is in {SITE}/index.html, rendered by {renderer}")


def _inputs(why: dict[Path, list[str]], renderer: str) -> str:
    """Hash of all that a rendered site depends on: copied files, pages and their doubts, and all code."""
    found = sorted({*why, *(file for name in COPIED for file in root().glob(name))})
    contents = [[str(file), provenance.file_sha256(file)] for file in found if file.is_file()]
    return freshness.digest([renderer, freshness.sources_sha256(), contents, [*why.values()]])


def stage(notebooks: list[Path]) -> None:
    """Copy what the site is made of to artifacts/site/, with the notebooks as readers see them."""
    staged = root() / STAGED
    shutil.rmtree(staged, ignore_errors=True)
    for name in COPIED:
        for file in root().glob(name):
            target = staged / file.relative_to(root())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    (staged / "_quarto.yml.local").write_text(QUARTO)
    (staged / "pages/gallery.js").write_text(landing.galleries(root()))
    named = functools.cache(present.named)  # every page of a study has the same names
    for name in files.studies():
        if (file := staged / "reports" / name / "_findings.md").exists():
            file.write_text(present.linked(file.read_text(), named(name, up="")))
    benchmarks = sorted((staged / "benchmarks").glob("*.md"))
    for file in benchmarks:
        links = (f"[{each.stem}]({each.name})" if each != file else f"**{each.stem}**" for each in benchmarks)
        title, rest = file.read_text().split("\n", 1)
        file.write_text(f"{title}\n\n::: {{.beside}}\n{' · '.join(links)}\n:::\n{rest}")
    parts = landing.parts(staged / "pages")
    for file in (staged / "_quarto.yml", staged / "index.qmd"):
        file.write_text(Template(file.read_text()).safe_substitute(parts))
    for notebook in notebooks:
        _stage_notebook(notebook, staged / notebook.relative_to(root()), named)
    for file in (staged / "pages").glob("*.qmd"):
        file.write_text(without_empty_list(file.read_text(), file.parent))


def _stage_notebook(notebook: Path, target: Path, named: Callable[..., dict]) -> None:
    """Write an executed notebook as readers see it, with its pictures in a folder beside it."""
    folder, task = target.with_name(f"{target.stem}-files"), steps.task_of(notebook)
    folder.mkdir(parents=True, exist_ok=True)

    def save(name: str, content: bytes) -> str:
        (folder / name).write_bytes(content)
        return f"{folder.name}/{name}"

    known = named(task.study.name, origin.up_from(notebook)) if task.study else {}
    page = present.shown(nbformat.read(notebook, as_version=4), task, notebook, save, known)
    nbformat.write(page, target)


def without_empty_list(page: str, folder: Path) -> str:
    """Return the text of a page in a folder, without a list of other pages if none of these was made."""
    found = LIST.search(page)
    patterns = re.findall(r'"(\S+\.ipynb)"', found[0]) if found else []
    return page if any(glob.glob(each, root_dir=folder) for each in patterns) else LIST.sub("", page)


def _run(renderer: str) -> None:
    """Run a renderer, and print its warnings; raise StepError if it fails."""
    beside = {"smalldocs": str(Path(sys.executable).with_name("smalldocs"))}
    command = [beside.get(renderer, renderer), "render"]
    plain = {**os.environ, "NO_COLOR": "1"}
    result = subprocess.run(command, cwd=root() / STAGED, env=plain, capture_output=True, text=True)
    if result.returncode:
        raise StepError(f"{renderer} render failed:\n{result.stdout}{result.stderr}")
    for line in result.stderr.splitlines():
        if line.lower().startswith("warn"):
            print(line)


def doubts(notebook: Path) -> list[str]:
    """Sentences on why an executed notebook may be out of date."""
    try:
        stale = steps.doubts(steps.task_of(notebook))
    except (ParameterError, KeyError):
        return ["The study or run of this page is no longer in the project."]
    found = []
    if stale:
        found.append("This page is older than its parameters, code or records: make report would renew it.")
    if "| dirty | True |" in notebook.read_text():  # in the table of its provenance
        found.append("This page was made with code or parameters that were not committed.")
    return found


def finished(page: str) -> str:
    """A page's HTML without scripts from other hosts; every table scrolls and has a caption.

    A table without one gets the heading above it.
    """
    heading = ""

    def put(found: re.Match) -> str:
        nonlocal heading
        if not found[0].startswith("<table"):
            heading = re.sub(r"<[^>]+>", "", found[0]).strip()
            return found[0]
        own = "" if "<caption" in found[0] else f"<caption>{heading}</caption>"
        body = BOUNDS.sub(r'<span class="bounds">\g<0></span>', found[3])
        return f'<div class="scroll">{found[2]}{own}{body}</div>'

    return BLOCK.sub(put, sortable(offline(page))).replace("</body>", f"<script>{FOCUS}</script></body>", 1)


def sortable(page: str) -> str:
    """A page's HTML with cards that can be sorted by all of SORTS, up and down.

    smalldocs sorts by any field, but offers few; Quarto looks for other classes than it writes, and sorts up.
    """
    ways = (("asc", "Ascending"), ("desc", "Descending"))
    offered = [
        f'<option value="{key}:{way}">{SORTS[key]} - {word}</option>' for key in SORTS for way, word in ways
    ]
    page = re.sub(r'(<select class="[^"]*listing-sort".*?)(?=</select>)', rf"\1{''.join(offered)}", page)
    both = "".join(rf'\1data-direction="{way}">\2 - {word}</option>' for way, word in ways)
    page = re.sub(r'(<option value="listing-\w+" )data-direction="asc">\s*(.*?)\s*</option>', both, page)
    return re.sub(rf'<td class="(?={"|".join(SORTS)}")', '<td class="listing-', page)


def offline(page: str) -> str:
    """A page's HTML without scripts from other hosts.

    Quarto adds them to pages with pandas tables (for widgets) and to listings (for formulas); we use neither.
    """
    page = re.sub(r'<script\b[^>]*\bsrc="https?://[^>]*></script>\s*', "", page)
    return re.sub(r"<script\b[^>]*>define\('jquery'[^<]*</script>\s*", "", page)


def marked(page: str, doubts: list[str], links: dict[str, str], read: list[str] = ()) -> str:
    """A page's HTML with a banner for each doubt above its text and links to its sources below.

    `read` are the addresses of the results that it was made from. Raises StepError if the page has no <main>,
    so that no banner is lost silently.
    """
    banner = "".join(f'<p class="doubt" role="alert">{html.escape(each)}</p>' for each in doubts)
    anchors = " · ".join(origin.link(to, name) for name, to in links.items())
    files = " · ".join(origin.link(to, to.replace("../", "")) for to in read)
    below = f'<p class="source">{anchors}</p>'
    if read:
        below += origin.folded(f"Made from {len(read)} files of results", files)
    page, opened = re.subn(r"(<main\b[^>]*>)", lambda found: found[1] + banner, page, count=1)
    page, closed = re.subn(r"(</main>)", lambda found: below + found[1], page, count=1)
    if not (opened and closed):
        raise StepError("a rendered page has no <main>: the renderer's layout has changed")
    return page


def _complete(notebook: Path, why: list[str]) -> None:
    """Add banners for doubts and links to a rendered page, and the files that they lead to."""
    file = root() / SITE / notebook.relative_to(root()).with_suffix(".html")
    if not file.exists():
        raise StepError(f"{short(notebook)} was not rendered: is it in _quarto.yml?")
    task = steps.task_of(notebook)
    beside = sorted(each for kind in ("*.json", "*.csv") for each in notebook.parent.glob(kind))
    read = [root() / name for name in steps.metadata(notebook)["xnn"].get("results", ())]
    read = [each for each in read if each.exists() and each not in beside]
    for each in (notebook, task.source, *origin.parameters(task), *beside, *read):
        copy = root() / SITE / short(each)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(each, copy)
    up = origin.up_from(notebook)
    links = {"This notebook, executed": notebook.name}
    for each in (task.source, *origin.parameters(task)):
        links[short(each)] = up + short(each)
    links |= {each.name: each.name for each in beside}
    file.write_text(marked(file.read_text(), why, links, [up + short(each) for each in read]))
