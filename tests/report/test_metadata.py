"""The metadata: the formats' own tools read them, and what they say is in the project."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import mlcroissant
import pandas as pd
import pytest
import yaml
from rocrate.rocrate import ROCrate

from support.project import PROJECT
from xnn.report import metadata
from xnn.report.steps import StepError

CROISSANT = yaml.safe_load((PROJECT / "metadata/croissant.yaml").read_text())
ABOUT = {
    "file": "splits.csv",
    "@context": CROISSANT["@context"],
    "dataset": {**CROISSANT["dataset"], "name": "some-splits"},
    "columns": {"file": ["Text", "its name"], "true_width": ["Integer", "pixels"]},
    "records": {"images": ["file", "true_width"]},
}


@pytest.fixture
def site(tmp_path):
    """A project with a table and a rendered page."""
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata/croissant.yaml").write_text(yaml.safe_dump(ABOUT))
    (tmp_path / "_quarto.yml").write_text("website: {title: us, description: ours}")
    (tmp_path / "splits.csv").write_text("file,true_width\na.jpeg,20\nb.jpeg,30\n")
    (tmp_path / "index.html").write_text("<title>Answers &amp; more</title>")
    metadata.write(tmp_path, tmp_path)
    return tmp_path


def test_mlcroissant_reads_the_table(site):
    records = list(mlcroissant.Dataset(site / "croissant.json").records("images"))
    assert [each["images/true_width"] for each in records] == [20, 30]


def test_mlcroissant_validates_the_table_of_the_report():
    found = mlcroissant.Dataset(jsonld=metadata.croissant(CROISSANT, PROJECT))
    assert not found.metadata.ctx.issues.errors
    assert not found.metadata.ctx.issues.warnings
    assert [each.name for each in found.metadata.record_sets] == ["images", "masks"]
    named = {field.name for each in found.metadata.record_sets for field in each.fields}
    assert named == set(pd.read_csv(PROJECT / CROISSANT["file"], nrows=0))


def test_a_column_that_is_not_described_stops_the_build(site):
    (site / "splits.csv").write_text("file,width\n")
    with pytest.raises(StepError, match=r"croissant.yaml describes other columns than splits.csv has"):
        metadata.write(site, site)


def test_rocrate_reads_the_site(site):
    found = ROCrate(site)
    assert found.name == "us"
    assert {each.id for each in found.data_entities} == {"croissant.json", "index.html", "splits.csv"}


def test_a_language_model_finds_the_pages(site):
    assert "- [Answers & more](index.html)" in (site / "llms.txt").read_text()


def test_cffconvert_validates_the_citation():
    tool = Path(sys.executable).with_name("cffconvert")
    command = [tool, "--validate", "-i", PROJECT / "CITATION.cff"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "valid according to schema" in done.stdout, done.stderr


def test_every_file_says_the_same_version():
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    codemeta = json.loads((PROJECT / "codemeta.json").read_text())
    released = re.search(r"^## (\d\S*)", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    described = CROISSANT["dataset"]["version"]
    assert version == citation["version"] == codemeta["version"] == described == released
    assert citation["title"] == codemeta["name"]
