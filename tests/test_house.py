"""The floors of the house: a package imports only lower ones, and no circle is left."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from support.project import PROJECT

FLOORS = [
    {"config", "plots"},
    {"data", "evaluation"},
    {"models"},
    {"training", "explain"},
    {"report", "app", "explore"},
    {"__main__"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS, 1) for name in names}
MODULES = {
    ".".join(file.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted((PROJECT / "xnn").rglob("*.py"))
}


def imports(module: str, file: Path) -> set[str]:
    """The modules of xnn that a module imports, inside functions too."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            inner = {f"{base}.{alias.name}" for alias in node.names}
            found |= (inner & MODULES.keys()) or {base}
    return found & MODULES.keys()


GRAPH = {module: imports(module, file) for module, file in MODULES.items()}


def package(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_package_has_a_floor():
    assert {package(module) for module in MODULES} - {""} == set(FLOOR)


@pytest.mark.parametrize("module", [module for module in MODULES if package(module)])
def test_a_module_imports_lower_floors_only(module):
    higher = {
        other
        for other in GRAPH[module]
        if package(other) not in ("", package(module)) and FLOOR[package(other)] >= FLOOR[package(module)]
    }
    assert not higher


def test_there_is_no_circle():
    TopologicalSorter(GRAPH).prepare()  # raises CycleError


@pytest.mark.parametrize("name", ["evaluation", "plots"])
def test_scores_and_figures_need_no_torch(name):
    modules = [module for module in MODULES if package(module) == name]
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT).returncode == 0


@pytest.mark.parametrize("file", sorted((PROJECT / "notebooks").glob("*.py")), ids=lambda file: file.stem)
def test_a_notebook_imports_xnn_and_two_of_its_packages_at_most(file):
    tree = ast.parse("".join(line for line in file.open() if not line.startswith("#")))
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    packages = {module.split(".")[1] for module in modules if module.startswith("xnn.")}
    packages |= {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "xnn"
        for alias in node.names
    }
    assert len(packages) <= 2
