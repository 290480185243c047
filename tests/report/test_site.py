"""The site as a reader has it: every link answers, nothing is asked of other hosts, doubts are told."""

import functools
import html.parser
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

import bs4
import nbformat
import pytest

from support.project import CHROMIUM, PROJECT, ROOT, SMALL, write_study
from support.report import STUDY, make
from xnn import load_run, load_study
from xnn.config import freshness
from xnn.report import site, steps
from xnn.report.steps import Task

LARGE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


# ---- the committed report, rendered -------------------------------------------------------------


@pytest.fixture(scope="module", params=["smalldocs", "quarto"])
def root(tmp_path_factory, request):
    """A checkout with its committed reports, and the site of them, by every renderer that is installed.

    The pages on methods, which are not committed, are there without their results.
    """
    if request.param == "quarto" and not shutil.which("quarto"):
        pytest.skip("no Quarto on this machine")
    folder = tmp_path_factory.mktemp(request.param)
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if (PROJECT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, folder / name)
    (folder / "reports/methods").mkdir()
    for file in (folder / "methods").glob("*.ipynb"):
        notebook = nbformat.read(file, as_version=4)
        notebook.metadata |= {"papermill": {"end_time": "now"}, "xnn": {"step": file.stem, "inputs": {}}}
        nbformat.write(notebook, folder / "reports/methods" / file.name)
    command = [sys.executable, "-m", "xnn", "site", request.param]
    here = {**os.environ, "XNN_ROOT": str(folder)}
    said = subprocess.run(command, cwd=folder, env=here, stdout=subprocess.PIPE, text=True, check=True).stdout
    (folder / "said.txt").write_text(said)
    return folder


@pytest.fixture(scope="module")
def pages(root):
    return {file: Page(file.read_text()) for file in sorted((root / "_site").rglob("*.html"))}


class Page(html.parser.HTMLParser):
    """Links, anchors and pictures of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.pictures = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids |= {given.get("id"), given.get("name")}
        self.links += [given[key] for key in ("href", "src") if given.get(key)]
        if tag == "img":
            self.pictures.append(given)


def test_the_renderer_warns_of_nothing(root):
    said = (root / "said.txt").read_text()
    assert said.endswith(f"rendered by {root.name[:-1]}\n")
    assert not [line for line in said.splitlines() if line.lower().startswith("warn")]


def test_every_page_and_internal_link_is_there(pages):
    assert len(pages) > 20
    broken = []
    for file, page in pages.items():
        for link in page.links:
            target = urllib.parse.urlsplit(link)
            if target.scheme or target.netloc:
                continue
            to = (file.parent / urllib.parse.unquote(target.path)).resolve() if target.path else file
            to = to / "index.html" if to.is_dir() else to
            name = "" if "=" in target.fragment else target.fragment  # a=b is for the page's script
            if not to.exists() or (name and to in pages and name not in pages[to].ids):
                broken.append((file.name, link))
    assert not broken


def test_every_picture_has_alternative_text(pages):
    assert not [
        (file.name, each.get("src", "")[:60])
        for file, page in pages.items()
        for each in page.pictures
        if not each.get("alt", "").strip()
    ]


def test_every_result_page_leads_to_its_notebook(root, pages):
    for file in (root / "_site/reports").rglob("[1-9]-*.html"):
        assert file.with_suffix(".ipynb").name in pages[file].links
        assert any(link.endswith(f"notebooks/{file.stem}.py") for link in pages[file].links)
        beside = (root / file.relative_to(root / "_site")).parent.iterdir()
        assert {each.name for each in beside if each.suffix in (".csv", ".json")} <= set(pages[file].links)


def test_every_figure_and_table_of_a_result_has_its_source_line_and_address(root):
    for file in (root / "_site/reports").rglob("[1-9]-*.html"):
        cells = bs4.BeautifulSoup(file.read_text(), "html.parser").select("main .cell")
        assert len({cell["id"] for cell in cells}) == len(cells), "addresses are unique"
        shown = [cell for cell in cells if cell.select("table, figure, img")]
        assert shown, file
        for cell in shown:
            (line,) = cell.select("details.from")
            links = [each["href"] for each in line.select("a")]
            assert links[0] == f"#{cell['id']}"
            assert re.search(rf"{file.stem}.py, lines \d+ to \d+ .* commit \w{{7}}", line.text), (
                file,
                cell["id"],
            )


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


@pytest.fixture(scope="module")
def address(root):
    """The site on a server of its own, as a reader has it."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=root / "_site")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("size", [LARGE, PHONE], ids=["desktop", "phone"])
def test_a_browser_finds_no_error_and_asks_no_other_host(browser, address, pages, root, size, tmp_path):
    shown = [
        file.relative_to(root / "_site").as_posix()
        for file in pages
        if file.parent == root / "_site" or file.parent.name in ("mobilenetv2-robust", "kermany")
    ]
    said, asked, wide = [], set(), []
    tab = browser.new_page(viewport=size)
    tab.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.add(urllib.parse.urlsplit(request.url).netloc))
    for name in shown:
        response = tab.goto(f"{address}/{name}")
        assert response.ok, name
        if tab.evaluate("document.documentElement.scrollWidth") > size["width"] + 1:
            wide.append(name)
    picture = tab.screenshot(path=tmp_path / "page.png")
    tab.close()
    assert len(picture) > 5_000
    assert not said
    assert asked - {""} == {urllib.parse.urlsplit(address).netloc}
    assert not wide, "pages that are wider than the screen"


def test_intervals_stay_in_one_line_and_attributes_as_they_are():
    page = '<body><table><tr data-text="0.5 (0.4 to 0.6)"><td>0.5 (0.4 to 0.6)</td></tr></table></body>'
    row = bs4.BeautifulSoup(site.finished(page), "html.parser").tr
    assert row["data-text"] == "0.5 (0.4 to 0.6)"
    assert row.find(class_="bounds").text == "(0.4 to 0.6)"


SUBTITLES = """[...document.querySelectorAll(".card .listing-subtitle")].filter(each => each.offsetParent)
    .map(each => each.textContent.trim())"""


@pytest.mark.parametrize(("name", "fewest"), [("training", 3), ("evaluation", 3), ("explanations", 2)])
def test_cards_are_sorted_by_score_study_network_and_regime(browser, address, name, fewest):
    tab = browser.new_page(viewport=LARGE)
    tab.goto(f"{address}/pages/{name}.html")
    order = tab.locator(".listing-actions-group select")
    offered = [each.strip() for each in order.locator("option").all_text_contents()]
    assert {"Study - Descending", "Network - Ascending", "Trained layers - Ascending"} <= {*offered}
    order.select_option(label="Weighted F1 - Descending")
    shown = tab.evaluate(SUBTITLES)
    scores = [float(each[1]) for each in map(re.compile(r"weighted F1 ([\d.]+)").search, shown) if each]
    order.select_option(label="Study - Ascending")
    studies = [each.partition(" · ")[0] for each in tab.evaluate(SUBTITLES)]
    tab.close()
    assert len(scores) >= fewest
    assert scores == sorted(scores, reverse=True)
    assert studies == sorted(studies)


TABLES = """[...document.querySelectorAll("main table")].map(table => ({
    caption: table.caption?.textContent.trim() ?? "",
    cut: table.closest(".scroll").scrollWidth - table.closest(".scroll").clientWidth}))"""
BARE = """[...document.querySelectorAll("main .cell img")].filter(each =>
    !each.closest("figure")?.querySelector("figcaption")).length"""


def test_no_table_is_cut_and_all_have_captions_and_all_figures_too(browser, address, pages, root):
    tab = browser.new_page(viewport={"width": 1440, "height": 900})
    cut, unnamed, bare, count = [], [], [], 0
    for file in pages:
        name = file.relative_to(root / "_site").as_posix()
        tab.goto(f"{address}/{name}")
        found = tab.evaluate(TABLES)
        count += len(found)
        cut += [(name, each["caption"]) for each in found if each["cut"] > 1]
        unnamed += [name for each in found if not each["caption"]]
        bare += [name] * tab.evaluate(BARE)
    tab.close()
    assert count > 300
    assert (cut, unnamed, bare) == ([], [], [])


KINDS = [
    *("index.html", "pages/data.html", "pages/evaluation.html", "pages/gallery.html", "pages/glossary.html"),
    *("pages/methods.html", "pages/reproduce.html", "benchmarks/official.html"),
    *(f"reports/kermany/{step}.html" for step in ("1-wrangle", "2-explore", "6-compare", "7-protocol")),
    *(f"reports/kermany/mobilenetv2-robust/{step}.html" for step in ("3-train", "4-evaluate", "4-regions")),
    "reports/kermany/mobilenetv2-robust/5-explain.html",
]


@pytest.mark.parametrize("size", [LARGE, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, address, scheme, size):
    from axe_playwright_python.sync_playwright import Axe

    found, grounds = [], set()
    tab = browser.new_page(viewport=size, color_scheme=scheme)
    for name in KINDS:
        tab.goto(f"{address}/{name}")
        tab.wait_for_load_state("networkidle")
        grounds.add(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
        answer = Axe().run(tab, options={"resultTypes": ["violations"]}).response  # one node of what passes
        assert any(each["id"] == "color-contrast" for each in answer["passes"])
        found += [
            (name, each["id"], each["nodes"][0]["html"][:100])
            for each in answer["violations"]
            if each["impact"] in ("serious", "critical")
        ]
    tab.close()
    assert len(grounds) == 1
    assert (sum(map(int, re.findall(r"\d+", grounds.pop())[:3])) < 3 * 128) == (scheme == "dark")
    assert found == []


# CSS pixels of a figure for each of its points, in which its smallest labels are 8 high
SCALES = """[...document.querySelectorAll(".finding img")].map(each =>
    each.getBoundingClientRect().width / (0.75 * each.naturalWidth))"""


@pytest.mark.parametrize("size", [{"width": 1440, "height": 900}, PHONE], ids=["desktop", "phone"])
def test_the_landing_page_answers_on_its_first_screen(browser, address, size):
    tab = browser.new_page(viewport=size)
    tab.goto(f"{address}/index.html")
    tab.wait_for_load_state("networkidle")
    ends = [each.bounding_box()["y"] for each in tab.locator(".box h3 + *").all()]
    scales = tab.evaluate(SCALES)
    tab.close()
    assert len(ends) == 3
    assert max(ends) < size["height"]
    assert len(scales) == 2
    assert min(scales) * 8 >= 10


VISIBLE = """[...document.querySelectorAll("a[href]:not([aria-hidden]), button, input, summary")]
    .filter(each => each.checkVisibility({visibilityProperty: true}))"""


@pytest.mark.parametrize("name", ["index.html", "reports/kermany/mobilenetv2-robust/4-evaluate.html"])
def test_a_keyboard_reaches_all_that_a_mouse_does(browser, address, name):
    tab = browser.new_page(viewport=LARGE)
    tab.goto(f"{address}/{name}")
    count = tab.evaluate(f"{VISIBLE}.map((each, number) => each.dataset.number = number).length")
    reached = set()
    for _ in range(3 * count):
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate("document.activeElement.dataset.number"))
    names = tab.evaluate(f"{VISIBLE}.map(each => each.outerHTML.slice(0, 80))")
    tab.close()
    assert count > 10
    assert [text for number, text in enumerate(names) if str(number) not in reached] == []


def test_an_opened_source_line_shows_the_code_of_its_cell(browser, address):
    tab = browser.new_page(viewport=LARGE)
    tab.goto(f"{address}/reports/kermany/mobilenetv2-robust/4-evaluate.html")
    code, line = (tab.locator(f"#confusion-1 {part}") for part in ("pre", "details.from"))
    assert not code.is_visible()
    line.locator("summary").click()
    assert code.is_visible()
    assert "confusion_matrices" in code.inner_text()
    assert code.bounding_box()["y"] > line.bounding_box()["y"]
    tab.close()


# ---- what is written again ----------------------------------------------------------------------


def test_a_folder_gets_the_files_that_it_is_given_and_no_others(tmp_path):
    given = {"kept": b"a", "sub/changed": b"b", "gone/gone": b"c", ".hidden": b"d"}
    assert site.fill(tmp_path, given.items()) == 4
    os.utime(tmp_path / "kept", (1, 1))
    now = {"kept": b"a", "sub/changed": b"B", "new": b""}
    assert site.fill(tmp_path, now.items()) == 2
    assert dict(site.contents(tmp_path)) == now
    assert (tmp_path / "kept").stat().st_mtime == 1
    assert not (tmp_path / "gone").exists()
    assert site.fill(tmp_path, now.items()) == 0


def test_a_changed_page_is_presented_and_written_again_and_no_other(copy):
    folders = [copy / site.STAGED, copy / "_site"]
    before = [dict(site.contents(folder)) for folder in folders]
    page = f"reports/{STUDY}/first/4-evaluate"
    file = copy / f"{page}.ipynb"
    file.write_text(file.read_text().replace("## Confusion", "## Certain confusion", 1))
    said = make(copy, "site")
    after = [dict(site.contents(folder)) for folder in folders]
    presented, written = (
        {name for name, content in new.items() if old.get(name) != content}
        for old, new in zip(before, after, strict=True)
    )
    assert f"{len(written - {site.INPUTS})} of its files are new" in said
    assert {each for each in presented if each.endswith(".ipynb")} == {f"{page}.ipynb"}
    assert b"Certain confusion" in after[1][f"{page}.html"]
    lists = {name for name in written if "/" not in name or name.startswith("pages/")}  # they have its time
    own = {name for name in written if name.startswith((f"{page}.", f"{page}-files/"))}
    assert written == lists | own


# ---- refusals and doubts ------------------------------------------------------------------------


def test_the_site_refuses_a_notebook_that_was_cut_off():
    file = ROOT / "reports/cut/1-wrangle.ipynb"
    file.parent.mkdir(parents=True)
    notebook = nbformat.v4.new_notebook(metadata={"papermill": {"end_time": None, "exception": None}})
    nbformat.write(notebook, file)
    try:
        with pytest.raises(steps.StepError, match="cut off"):
            site.render()
    finally:
        shutil.rmtree(file.parent)


def page_of(subject, step, dirty=False):
    """An executed notebook of a step, as current as can be."""
    stamp = nbformat.v4.new_output("display_data", {"text/markdown": f"| commit | a |\n| dirty | {dirty} |"})
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("stamp", outputs=[stamp])],
        metadata={
            "papermill": {"end_time": "now"},
            "xnn": freshness.recorded(steps.inputs(Task(step, subject))),
        },
    )
    subject.reports.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, subject.reports / f"{step}.ipynb")
    return subject.reports / f"{step}.ipynb"


def test_doubts_are_told_of_old_pages_and_of_uncommitted_code():
    write_study("doubted", SMALL, run="explanation: {images: 1}")
    run = load_run("doubted", "run")
    assert site.doubts(page_of(load_study("doubted"), "2-explore")) == []
    page = page_of(run, "5-explain")
    assert site.doubts(page) == []
    assert "not committed" in site.doubts(page_of(run, "5-explain", dirty=True))[0]
    page = page_of(run, "5-explain")
    write_study("doubted", SMALL, run="explanation: {images: 2}")
    assert "older than its parameters" in site.doubts(page)[0]
    run.file.unlink()
    assert "no longer in the project" in site.doubts(page)[0]
    shutil.rmtree(run.study.reports)


def test_a_page_has_no_list_of_pages_that_were_not_made(tmp_path):
    page = '---\ntitle: a\nlisting:\n  contents:\n    - "*/1-b.ipynb"\n  type: table\n---\n\ntext\n'
    assert site.without_empty_list(page, tmp_path) == "---\ntitle: a\n---\n\ntext\n"
    (tmp_path / "c").mkdir()
    (tmp_path / "c/1-b.ipynb").touch()
    assert site.without_empty_list(page, tmp_path) == page


def test_a_banner_stands_above_the_text_and_sources_below():
    page = "<body><main class='x'><h1>a</h1></main></body>"
    found = site.marked(page, ["is it <old>?"], {"source": "a&b.py"})
    assert found.index("is it &lt;old&gt;?") < found.index("<h1>") < found.index('href="a&amp;b.py"')
    assert 'class="doubt"' not in site.marked(page, [], {})
    with pytest.raises(steps.StepError, match="no <main>"):
        site.marked("<body></body>", [], {})


def test_scripts_of_other_hosts_are_taken_out():
    page = '<script src="a.js"></script>\n<script src="https://a.b/c.js?d=e" crossorigin="x"></script>\n<p>'
    assert site.offline(page) == '<script src="a.js"></script>\n<p>'
    jquery = "<script type=\"application/javascript\">define('jquery', [], function() {})</script>"
    assert site.offline(f"<script>const a = 1</script>{jquery}<p>") == "<script>const a = 1</script><p>"


def test_the_committed_pages_are_listed_with_their_doubts(root):
    """Nobody can publish a page without its banner: each is either current or marked."""
    for file in (root / "reports").rglob("[1-9]-*.ipynb"):
        step = json.loads(file.read_text())["metadata"]["xnn"]["step"]
        text = (root / "_site" / file.relative_to(root).with_suffix(".html")).read_text()
        assert step == Path(file).stem
        assert text.count('class="source"') == 1
