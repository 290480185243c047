"""Installation and house rules: what a reader of the files may rely on."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from jsonschema import Draft7Validator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.packages import with_dependencies
from support.project import PROJECT

LOCKS = [(PROJECT / name).read_text() for name in ("requirements.lock", "requirements-report.lock")]


@pytest.mark.parametrize("lock", LOCKS, ids=["whole", "report"])
def test_every_locked_package_has_a_hash(lock):
    packages = re.split(r"\n(?=[a-z0-9])", lock.strip())
    assert len(packages) > 100
    assert all("--hash=sha256:" in package for package in packages)


def test_the_small_lock_is_a_part_of_the_whole_one():
    whole, small = (set(re.findall(r"^\S+==\S+", lock, re.MULTILINE)) for lock in LOCKS)
    assert small < whole


def test_no_registry_is_named():
    for name in (
        "requirements.lock",
        "requirements-report.lock",
        "pyproject.toml",
        "environment.yml",
        "Makefile",
    ):
        assert not re.search(r"index-url|find-links|https?://[^\s]*simple", (PROJECT / name).read_text())


def test_conda_and_make_install_the_same_versions():
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    (pip,) = [each["pip"] for each in environment["dependencies"] if isinstance(each, dict)]
    assert pip == ["--requirement requirements.lock"]


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="not a git checkout")
def test_nothing_large_and_no_cache_is_committed():
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True).stdout
    files = [PROJECT / name for name in listed.splitlines() if (PROJECT / name).exists()]
    assert max(file.stat().st_size for file in files) < 8_000_000
    reports = [file for file in files if (PROJECT / "reports") in file.parents]
    assert sum(file.stat().st_size for file in reports) < 40_000_000
    assert not [file for file in files if file.suffix == ".ckpt" or "artifacts" in file.parts]


@pytest.mark.parametrize("page", sorted((PROJECT / "benchmarks").glob("*.md")), ids=lambda page: page.stem)
def test_a_page_of_a_benchmark_begins_with_its_title_and_its_answer(page):
    title, empty, answer, *_ = page.read_text().splitlines()
    assert title.startswith("# ")
    assert not empty
    assert answer


def test_help_lists_every_goal_and_variable():
    found = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True).stdout
    for word in (
        "report",
        "site",
        "app",
        "test",
        "lint",
        "lab",
        "clean",
        "STUDY",
        "ARCHIVE",
        "WEIGHTS",
        "MODEL",
    ):
        assert re.search(rf"^  {word}\s+\w", found, re.MULTILINE), word


def is_address(text) -> bool:
    """Whether a text has none of the characters that an IRI may not have."""
    return not re.search(r'[\s<>"{}|\\^`]', text)


def test_the_bill_of_materials_names_versions_and_licences(tmp_path, monkeypatch):
    file = tmp_path / "sbom.json"
    command = [
        "cyclonedx_py",
        "environment",
        "--no-validate",
        "--pyproject",
        PROJECT / "pyproject.toml",
        "--output-file",
        file,
    ]
    subprocess.run([sys.executable, "-m", *command, sys.executable], check=True)
    # validated here, as the whole grammar of an address takes a minute for those of all packages
    for kind in ("iri", "iri-reference"):
        monkeypatch.setitem(Draft7Validator.FORMAT_CHECKER.checkers, kind, (is_address, ()))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(file.read_text()) is None
    listed = json.loads(file.read_text())
    found = {each["name"]: each for each in listed["components"]}
    assert {"torch", "lightning", "smalldocs"} <= found.keys()
    assert found["torch"]["version"] == importlib.metadata.version("torch")
    assert sum("licenses" in each for each in found.values()) > 0.9 * len(found)


def test_no_package_reports_that_it_is_used():
    """Asked of the packages themselves, in a process that knows xnn alone."""
    code = (
        "import xnn\n"
        "from huggingface_hub import constants\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "print(constants.HF_HUB_DISABLE_TELEMETRY, is_telemetry_disabled())"
    )
    kept = {k: v for k, v in os.environ.items() if "TRACK" not in k and "TELEMETRY" not in k}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=kept, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["True", "True"]


WITH_THE_CORE_ALONE = """
import sys

sys.modules |= dict.fromkeys({absent})  # importing these fails
import numpy, torch, xnn
network = xnn.Classifier("mobilenet_v2", ["a", "b"], 64)
image = xnn.to_input(numpy.random.default_rng(0).integers(0, 256, (1, 64, 64), dtype=numpy.uint8))
found = xnn.integrated_gradients(network, image, torch.tensor([0]), max_gradients=20)
print(tuple(found.maps.shape))
"""


def test_a_network_is_explained_with_the_core_packages_alone():
    """As after ``pip install`` without extras: whatever the core does not require cannot be imported."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    core = with_dependencies([Requirement(each).name for each in project["dependencies"]]) | {"xnn"}
    packages = importlib.metadata.packages_distributions()
    absent = {name for name, of in packages.items() if not {canonicalize_name(each) for each in of} & core}
    assert {"lightning", "mlflow", "fiftyone", "fastapi", "streamlit", "papermill", "dask"} <= absent
    code = WITH_THE_CORE_ALONE.replace("{absent}", repr(absent))
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout.startswith("(1, "), done.stderr[-500:]
