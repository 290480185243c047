"""Benchmarks are not run here, but what they use of the package must exist."""

import ast

import pytest

from support.project import PROJECT

BENCHMARKS = sorted((PROJECT / "benchmarks").glob("*.py"))


def missing(text: str) -> list[str]:
    """Return the attributes that a file uses of xnn's modules and that do not exist.

    Raises ImportError where the file imports from xnn what does not exist.
    """
    nodes, modules = [*ast.walk(ast.parse(text))], {}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom) and "xnn" in ast.unparse(node):
            exec(ast.unparse(node), modules)
    used = [each for each in nodes if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name)]
    used = [each for each in used if each.value.id in modules]
    return [ast.unparse(each) for each in used if not hasattr(modules[each.value.id], each.attr)]


@pytest.mark.parametrize("file", BENCHMARKS, ids=lambda file: file.stem)
def test_what_a_benchmark_uses_of_the_package_exists(file):
    assert not missing(file.read_text())


def test_what_moved_is_found():
    assert missing("from xnn.models import backbones\nbackbones.MEAN, backbones.MOVED") == ["backbones.MOVED"]
    with pytest.raises(ImportError, match="moved"):
        missing("from xnn.models import moved")
