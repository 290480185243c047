"""What the images are made of. They are not built here."""

import ast
import importlib.metadata
import re
import subprocess
import sys

import pytest
import yaml
from packaging.utils import canonicalize_name

from support.packages import with_dependencies
from support.project import PROJECT
from support.serving import folder_of, free_port, healthcheck, serving
from xnn.app import settings

LOCK = (PROJECT / "requirements.lock").read_text()
FILES = ("app", "ui")


@pytest.mark.parametrize("name", FILES)
def test_every_package_of_an_image_is_in_the_lock(name):
    wanted = (PROJECT / f"docker/{name}.txt").read_text().split()
    missing = [each for each in wanted if not re.search(rf"^{each}==", LOCK, re.MULTILINE)]
    assert not missing


@pytest.mark.parametrize(
    ("name", "modules"), [("app", "xnn.app.api"), ("ui", "xnn.app.page, xnn.app.__main__")]
)
def test_an_image_has_every_package_that_its_modules_import(name, modules):
    code = f"import sys, {modules}; print(*(v.__file__ for k, v in sys.modules.items() if k[:3] == 'xnn'))"
    files = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    there = with_dependencies((PROJECT / f"docker/{name}.txt").read_text().split())
    packages = importlib.metadata.packages_distributions()
    for file in files.stdout.split():
        for imported in imports(PROJECT / file) - sys.stdlib_module_names - {"xnn"}:
            assert {canonicalize_name(each) for each in packages[imported]} & there, (
                f"{file} imports {imported}"
            )


def imports(file) -> set:
    """Packages that a module imports when it is loaded, other than by relative imports."""
    nodes = [
        node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("name", FILES)
def test_an_image_runs_as_nobody_and_is_looked_after(name):
    text = (PROJECT / f"docker/{name}.Dockerfile").read_text()
    assert "USER xnn" in text
    assert "HEALTHCHECK" in text
    assert "-c requirements.lock" in text
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    assert all((PROJECT / each).exists() for line in copied for each in line.split())


@pytest.mark.parametrize(("name", "tag"), [("app", "slim"), ("ui", "slim"), ("fiftyone", "slim-bookworm")])
def test_the_base_of_an_image_is_pinned_by_digest(name, tag):
    text = (PROJECT / f"docker/{name}.Dockerfile").read_text()
    stages = re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE)
    bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) - {*stages}
    assert bases, "it is built from nothing"
    assert all(re.fullmatch(rf"python:[\d.]+-{tag}@sha256:[0-9a-f]{{64}}", base) for base in bases)


def test_the_health_of_the_api_is_seen(tmp_path):
    with serving(folder_of(tmp_path / "model")) as (url, _):
        assert healthcheck("app", url.rpartition(":")[2]) == 0
    assert healthcheck("app", free_port()) != 0


def test_compose_starts_both_on_this_machine_only():
    services = yaml.safe_load((PROJECT / "docker/compose.yaml").read_text())["services"]
    assert set(services) == {"api", "ui"}
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert (PROJECT / service["build"]["dockerfile"]).exists()


def test_make_and_compose_serve_the_model_of_the_settings():
    (volume,) = yaml.safe_load((PROJECT / "docker/compose.yaml").read_text())["services"]["api"]["volumes"]
    assert volume == f"${{MODEL:-../{settings.MODEL}}}:/model:ro"
    assert f"\nMODEL ?= {settings.MODEL}##" in (PROJECT / "Makefile").read_text()


def test_the_served_package_loads_no_pickle():
    for file in (PROJECT / "xnn/app").glob("*.py"):
        assert not re.search(r"torch\.load|import pickle|joblib|yaml\.load|eval\(\)\(", file.read_text()), (
            file
        )
