"""Rendering of the site: broken pages are refused, stale ones get a banner."""

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from ..config.provenance import whole
from ..config.schema import ROOT, ParameterError, short
from . import checklists, metadata, steps
from .steps import StepError

SITE = "_site"


def render(renderer: str | None = None) -> None:
    """Render the site into _site/ with Quarto if it is installed, otherwise with smalldocs.

    Warnings of the renderer are printed. Raises StepError if a notebook in reports/ did not end well, or if
    rendering fails.
    """
    renderer = renderer or ("quarto" if shutil.which("quarto") else "smalldocs")
    (ROOT / "artifacts").mkdir(exist_ok=True)
    with FileLock(ROOT / "artifacts/.site.lock"):
        notebooks = steps.pages()
        for notebook in notebooks:
            if not steps.metadata(notebook):
                raise StepError(f"{short(notebook)} was cut off or ended in an error: run make report again")
        index_galleries()
        checklists.write()
        _run(renderer)
        checklists.check(ROOT / SITE)
        for file in (ROOT / SITE).rglob("*.html"):
            file.write_text(offline(file.read_text()))
        for notebook in notebooks:
            if why := _complete(notebook):
                print(f"{short(notebook)} carries a banner: {why[0]}")
        metadata.write(ROOT / SITE)
        print(f"the site is in {SITE}/index.html, rendered by {renderer}")


def _run(renderer: str) -> None:
    """Run a renderer, and print its warnings; raise StepError if it fails."""
    beside = {"smalldocs": str(Path(sys.executable).with_name("smalldocs"))}
    command = [beside.get(renderer, renderer), "render"]
    plain = {**os.environ, "NO_COLOR": "1"}
    result = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True)
    if result.returncode:
        raise StepError(f"{renderer} render failed:\n{result.stdout}{result.stderr}")
    for line in result.stderr.splitlines():
        if line.lower().startswith("warn"):
            print(line)


def index_galleries(root: Path = ROOT) -> Path:
    """Write ``gallery.js``, the list of runs that have a gallery, beside ``gallery.html``."""
    found = sorted(root.glob("reports/*/*/gallery/data.js"))
    target = root / "pages/gallery.js"
    with whole(target) as partial:
        names = [file.parent.relative_to(root).as_posix() for file in found]
        partial.write_text(f"list({json.dumps(names)});\n")
    return target


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


def offline(page: str) -> str:
    """A page's HTML without scripts from other hosts.

    Quarto adds them to pages with pandas tables (for widgets) and to listings (for formulas); we use neither.
    """
    page = re.sub(r'<script\b[^>]*\bsrc="https?://[^>]*></script>\s*', "", page)
    return re.sub(r"<script\b[^>]*>define\('jquery'[^<]*</script>\s*", "", page)


def marked(page: str, doubts: list[str], links: dict[str, str]) -> str:
    """A page's HTML with a banner for each doubt above its text and links to its sources below.

    Raises StepError if the page has no <main>, so that no banner is lost silently.
    """
    banner = "".join(f'<p class="doubt" role="alert">{html.escape(each)}</p>' for each in doubts)
    anchors = " · ".join(f'<a href="{html.escape(to)}">{html.escape(name)}</a>' for name, to in links.items())
    page, opened = re.subn(r"(<main\b[^>]*>)", lambda found: found[1] + banner, page, count=1)
    page, closed = re.subn(r"(</main>)", rf'<p class="source">{anchors}</p>\1', page, count=1)
    if not (opened and closed):
        raise StepError("a rendered page has no <main>: the renderer's layout has changed")
    return page


def _complete(notebook: Path) -> list[str]:
    """Add banners and links to a rendered page, and the files that they lead to; return the banners."""
    file = ROOT / SITE / notebook.relative_to(ROOT).with_suffix(".html")
    if not file.exists():
        raise StepError(f"{short(notebook)} was not rendered: is it in _quarto.yml?")
    why = doubts(notebook)
    source = steps.task_of(notebook).source
    results = sorted(each for kind in ("*.json", "*.csv") for each in notebook.parent.glob(kind))
    for each in (notebook, source, *results):
        copy = ROOT / SITE / short(each)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(each, copy)
    up = "../" * short(notebook).count("/")
    links = {"This notebook, executed": notebook.name, "its source": up + short(source)}
    links |= {each.name: each.name for each in results}
    file.write_text(marked(file.read_text(), why, links))
    return why
