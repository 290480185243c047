"""Rendering of the site: broken pages are refused, stale ones get a banner."""

import functools
import glob
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
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

    What is rendered are copies in artifacts/site/, presented for readers: a notebook anew only if it or what
    lies beside it has changed. A file of the site that stays as it was is not written. Warnings of the
    renderer are printed. Raises StepError if a notebook in reports/ did not end well, or if rendering fails.
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
        hashes, kept = _hashes(notebooks), made / INPUTS
        made_from = freshness.digest([renderer, freshness.sources_sha256(), hashes, [*why.values()]])
        if kept.exists() and kept.read_text() == made_from:
            print(f"the site is in {SITE}/index.html, and nothing that it shows has changed")
            return
        stage(notebooks, hashes)
        rendered = _run(renderer)
        checklists.check(rendered, project)
        for file in rendered.rglob("*.html"):
            file.write_text(finished(file.read_text()))
        for notebook in notebooks:
            _complete(notebook, rendered, why[notebook])
            if why[notebook]:
                print(f"{short(notebook)} carries a banner: {why[notebook][0]}")
        metadata.write(rendered, project)
        kept.unlink(missing_ok=True)  # until all files are there
        new = fill(made, contents(rendered))
        shutil.rmtree(rendered)
        kept.write_text(made_from)
        print(f"the site is in {SITE}/index.html, {new} of its files are new, rendered by {renderer}")


def _hashes(notebooks: list[Path]) -> dict[str, str]:
    """Return the hash of every file that the site is made of, by its path from the top."""
    copied = [file for name in COPIED for file in root().glob(name)]
    results = [file for notebook in notebooks for file in notebook.parent.glob("*.json")]
    found = sorted({*notebooks, *copied, *results})  # those of a sweep's runs lie a folder deeper
    return {short(file): provenance.file_sha256(file) for file in found if file.is_file()}


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the path in a folder, and the content, of each of its files."""
    for file in folder.rglob("*"):
        if file.is_file():
            yield str(file.relative_to(folder)), file.read_bytes()


def fill(folder: Path, given: Iterable[tuple[str, bytes]]) -> int:
    """Give a folder files, as `contents` has them, and no others; return how many were written.

    One that has its content already keeps its time, by which programs see what to upload.
    """
    wanted, written = set(), 0
    for name, content in given:
        file = folder / name
        wanted.add(file)
        if not (file.is_file() and file.read_bytes() == content):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            written += 1
    for file in sorted(folder.rglob("*"), reverse=True):  # what a folder holds before the folder
        if file.is_dir() and not any(file.iterdir()):
            file.rmdir()
        elif not file.is_dir() and file not in wanted:
            file.unlink()
    return written


def stage(notebooks: list[Path], hashes: dict[str, str]) -> None:
    """Copy what the site is made of to artifacts/site/, with the notebooks as readers see them.

    `hashes` has that of each file, by its path from the top.
    """
    pages = {short(notebook) for notebook in notebooks}
    found = {name: (root() / name).read_bytes() for name in hashes if name not in pages}
    found["_quarto.yml.local"] = QUARTO.encode()
    found["pages/gallery.js"] = landing.galleries(root()).encode()
    with tempfile.TemporaryDirectory() as drawn:
        parts = landing.parts(Path(drawn))
        found |= {f"pages/{name}": picture for name, picture in contents(Path(drawn))}
    benchmarks = [name for name in found if name.startswith("benchmarks/")]
    named = functools.cache(present.named)  # every page of a study has the same names
    for name, content in found.items():
        folder, _, file = name.rpartition("/")
        if name in ("_quarto.yml", "index.qmd"):
            found[name] = Template(content.decode()).safe_substitute(parts).encode()
        elif folder == "benchmarks":
            found[name] = among(benchmarks, name, content.decode()).encode()
        elif folder == "pages" and file.endswith(".qmd"):
            found[name] = without_empty_list(content.decode(), root() / folder).encode()
        elif file == "_findings.md" and Path(folder).name in files.studies():
            known = named(Path(folder).name, up="")
            found[name] = present.linked(content.decode(), known).encode()
    shared = [freshness.sources_sha256(), sorted(hashes)]
    shared += [each for name, each in hashes.items() if not name.startswith("reports/")]
    for notebook in notebooks:
        read = sorted([*notebook.parent.glob("*.json"), notebook])  # of other files, only whether they are
        own = [hashes[short(file)] for file in read]
        found |= _presented(notebook, freshness.digest([shared, own]), named)
    fill(root() / STAGED, found.items())


def _presented(notebook: Path, key: str, named: Callable[..., dict]) -> dict[str, bytes]:
    """Return an executed notebook as readers see it, with its pictures in a folder beside it.

    The key is the hash of all that it depends on: what is staged with the same key is as it should be.
    """
    page, name = root() / STAGED / short(notebook), short(notebook)
    pictures = name.removesuffix(".ipynb") + "-files"
    if steps.metadata(page).get("key") == key:
        kept = {f"{pictures}/{each}": content for each, content in contents(root() / STAGED / pictures)}
        return kept | {name: page.read_bytes()}
    page.unlink(missing_ok=True)  # it would stand for new pictures if this is killed
    found, task = {}, steps.task_of(notebook)

    def save(picture: str, content: bytes) -> str:
        found[f"{pictures}/{picture}"] = content
        return f"{Path(pictures).name}/{picture}"

    known = named(task.study.name, origin.up_from(notebook)) if task.study else {}
    shown = present.shown(nbformat.read(notebook, as_version=4), task, notebook, save, known)
    shown.metadata["key"] = key
    return found | {name: nbformat.writes(shown).encode()}


def among(others: list[str], name: str, page: str) -> str:
    """Return a page of a folder with links to the others below its title."""
    links = [
        f"**{Path(each).stem}**" if each == name else f"[{Path(each).stem}]({Path(each).name})"
        for each in sorted(others)
    ]
    title, rest = page.split("\n", 1)
    return f"{title}\n\n::: {{.beside}}\n{' · '.join(links)}\n:::\n{rest}"


def without_empty_list(page: str, folder: Path) -> str:
    """Return the text of a page in a folder, without a list of other pages if none of these was made."""
    found = LIST.search(page)
    patterns = re.findall(r'"(\S+\.ipynb)"', found[0]) if found else []
    return page if any(glob.glob(each, root_dir=folder) for each in patterns) else LIST.sub("", page)


def _run(renderer: str) -> Path:
    """Run a renderer, and print its warnings; return the site's folder. Raises StepError if it fails."""
    beside = {"smalldocs": str(Path(sys.executable).with_name("smalldocs"))}
    command = [beside.get(renderer, renderer), "render"]
    plain = {**os.environ, "NO_COLOR": "1"}
    result = subprocess.run(command, cwd=root() / STAGED, env=plain, capture_output=True, text=True)
    if result.returncode:
        raise StepError(f"{renderer} render failed:\n{result.stdout}{result.stderr}")
    for line in result.stderr.splitlines():
        if line.lower().startswith("warn"):
            print(line)
    return root() / STAGED / SITE


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


def _complete(notebook: Path, site: Path, why: list[str]) -> None:
    """Add banners for doubts and links to a rendered page, and the files that they lead to."""
    file = site / Path(short(notebook)).with_suffix(".html")
    if not file.exists():
        raise StepError(f"{short(notebook)} was not rendered: is it in _quarto.yml?")
    task = steps.task_of(notebook)
    beside = sorted(each for kind in ("*.json", "*.csv") for each in notebook.parent.glob(kind))
    read = [root() / name for name in steps.metadata(notebook)["xnn"].get("results", ())]
    read = [each for each in read if each.exists() and each not in beside]
    for each in (notebook, task.source, *origin.parameters(task), *beside, *read):
        copy = site / short(each)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(each, copy)
    up = origin.up_from(notebook)
    links = {"This notebook, executed": notebook.name}
    for each in (task.source, *origin.parameters(task)):
        links[short(each)] = up + short(each)
    links |= {each.name: each.name for each in beside}
    file.write_text(marked(file.read_text(), why, links, [up + short(each) for each in read]))
