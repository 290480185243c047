"""The gallery: small pictures, a page that needs no server, looked at in a browser where there is one."""

import json
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from support.project import CHROMIUM, PROJECT
from xnn import load_run, plots
from xnn.explain import gallery
from xnn.report import landing


@pytest.fixture(scope="module")
def site(small, tmp_path_factory):
    """A folder with the page and one run's pictures: grey, on top a bar that is green left and red right."""
    run = load_run(small, "plain")
    cases = pd.DataFrame(
        {
            "path": ["a.png", "b.png", "c.png"],
            "label": ["bacteria", "normal", "virus"],
            "predicted": ["bacteria", "virus", "virus"],
            "probability": [0.9, 0.6, 0.8],
            "right": [True, False, True],
            "difference": [2.0, 1.0, -0.5],
            "gap": [0.001, 0.002, 0.02],
        }
    )
    images = np.full((3, 32, 32), 128, np.uint8)
    maps = np.zeros((3, 32, 32))
    maps[:, :4, :16], maps[:, :4, 16:] = 1, -1  # an eighth of each picture
    folder = gallery.write(run, cases, images, {"integrated_gradients": maps, "saliency": 0 * maps})
    root = tmp_path_factory.mktemp("site")
    shutil.copytree(folder, root / "reports" / small / "plain" / "gallery")
    (root / "pages").mkdir()
    text = (PROJECT / "pages/gallery.qmd").read_text()
    style = f"<style>{(PROJECT / 'pages/site.css').read_text()}</style>"
    body = text.partition("```{=html}")[2].rpartition("```")[0]  # what both renderers leave as it is
    (root / "pages/gallery.html").write_text(f"<!DOCTYPE html>{style}<main>{body}</main>")
    (root / "pages/gallery.js").write_text(landing.galleries(root))
    return root


def test_a_run_has_a_sheet_a_method_and_its_cases(site, small):
    folder = site / "reports" / small / "plain/gallery"
    names = {"radiographs.webp", "integrated_gradients.webp", "saliency.webp", "data.js", "maps.npz"}
    assert {file.name for file in folder.iterdir()} == names
    data = json.loads((folder / "data.js").read_text().removeprefix("show(").removesuffix(");\n"))
    assert data["methods"] == ["integrated_gradients", "saliency"]
    assert data["cases"][1] == {
        "label": "normal",
        "predicted": "virus",
        "probability": 0.6,
        "right": False,
        "difference": 1.0,
        "gap": 0.002,
    }
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2**20


def test_the_sheets_have_the_colours_of_the_figures(site, small):
    folder = site / "reports" / small / "plain/gallery"
    sheet = np.asarray(Image.open(folder / "integrated_gradients.webp").convert("RGBA")).astype(int)
    assert sheet.shape == (gallery.COARSE, 3 * gallery.COARSE, 4)
    green, red = sheet[5, 10], sheet[5, gallery.COARSE - 10]
    assert np.abs(green[:3] - plots.RAISES).max() < 30
    assert np.abs(red[:3] - plots.LOWERS).max() < 30
    assert (sheet[5, 10, 3], sheet[-5, 10, 3]) == (255, 0)
    blank = np.asarray(Image.open(folder / "saliency.webp").convert("RGBA"))
    assert blank[..., 3].max() == 0, "a blank map covers nothing"


def test_the_index_lists_the_runs_that_have_pictures(site, small, tmp_path):
    listed = (site / "pages/gallery.js").read_text()
    assert f'["reports/{small}/plain/gallery", "' in listed
    assert "ResNet" in listed or "MobileNet" in listed or "ConvNeXt" in listed, "a name for readers"
    assert landing.galleries(tmp_path) == "list([]);\n"


def test_numbers_that_differ_are_refused(small):
    with pytest.raises(ValueError, match="0 cases"):
        gallery.write(load_run(small, "plain"), pd.DataFrame(), np.zeros((1, 4, 4)), {})


def test_the_page_needs_no_other_host():
    text = (PROJECT / "pages/gallery.qmd").read_text()
    assert "http" not in text
    assert "fetch(" not in text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH to look at the page with")
@pytest.mark.parametrize("strength", [0, 100])
def test_a_browser_shows_the_pictures(site, tmp_path, strength):
    shot = tmp_path / "shot.png"
    subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--hide-scrollbars", "--window-size=900,800"),
            *(f"--screenshot={shot}", f"file://{site}/pages/gallery.html#strength={strength}&right=true"),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    share = {
        name: (np.abs(pixels - colour).max(axis=-1) < 40).mean()
        for name, colour in {"green": plots.RAISES, "red": plots.LOWERS}.items()
    }
    # two of three cases are right; each picture is 224 pixels wide, a sixteenth of it of either colour
    wanted = 2 * 224**2 / 16 / pixels[..., 0].size if strength else 0
    assert share["green"] == pytest.approx(wanted, rel=0.15, abs=0.001)
    assert share["red"] == pytest.approx(wanted, rel=0.15, abs=0.001)
