"""The worked examples of reproduce.qmd do what they say."""

import re

import numpy as np
import pytest
from PIL import Image

from support.project import PROJECT, ROOT
from support.report import running
from xnn import BACKBONES, METHODS, load_study
from xnn.config import schema
from xnn.report import steps

TEXT = (PROJECT / "pages/reproduce.qmd").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """The study of the page, of a folder of images as the page describes it."""
    for block in blocks("yaml"):
        name = re.match(r"# (params/\S+)", block)[1]
        (schema.root() / name).parent.mkdir(parents=True, exist_ok=True)
        (schema.root() / name).write_text(block)
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for number in range(40):
        label, brightness = ("healthy", 60) if number % 2 else ("ill", 140)
        (folder / label).mkdir(exist_ok=True)
        grey = random.normal(brightness, 30, (64, 64)).clip(0, 255).astype(np.uint8)
        Image.fromarray(grey).save(folder / label / f"p{number:02}_1.png")
    return folder


@pytest.fixture
def registries(monkeypatch):
    """The examples add to them; afterwards they are as before."""
    for registry in (BACKBONES, METHODS):
        for name in ("squeezenet", "magnitude"):
            monkeypatch.setitem(registry, name, None)
            monkeypatch.delitem(registry, name)


def test_own_images_and_classes_make_a_report_and_own_code_runs(mine, registries, monkeypatch):
    monkeypatch.setenv("ARCHIVE", str(mine))
    with running(ROOT) as run:
        for step in ("1-wrangle", "3-train", "4-evaluate", "6-compare"):
            run("run", step, "mine", *(["small"] if steps.STEPS[step].per == "run" else []))
    assert "accuracy" in (load_study("mine").reports / "results.csv").read_text()
    namespace = {}
    for block in blocks("python"):
        exec(compile(block, "reproduce.qmd", "exec"), namespace)
    assert namespace["records"].patient.nunique() == 40
    assert namespace["found"].maps.shape == (2, 64, 64)
    assert (namespace["found"].maps >= 0).all()
    assert namespace["one"].maps.shape == (2, 64, 64)


@pytest.mark.parametrize("error", re.findall(r"^`([^`].*)`$", TEXT, re.MULTILINE))
def test_the_errors_of_the_page_are_real(error):
    """Their fixed words stand in the code."""
    code = " ".join(file.read_text() for file in (PROJECT / "xnn").rglob("*.py"))
    code = re.sub(r'"\s*f?"', "", re.sub(r"\s+", " ", code))
    words = max(re.split(r", |\.\.\.|\d+|\'[^\']*\'|\"|\(|\)", error), key=len).strip(" :")
    assert len(words) > 10
    assert words in code
