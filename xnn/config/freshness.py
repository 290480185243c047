"""Keys of code: hashes of all definitions that a page or a function reaches through imports.

A key follows the code and nothing else. It does not change with comments, docstrings, annotations of
functions, error messages, wrapping or import statements, nor with the names and places of modules, functions
and constants: a reference to a definition of this package stands for the content of that definition. A module
that sets ``__by_value__`` (the schema of parameters, provenance) is not followed: the values it provides are
compared instead, and its own code decides no number.
"""

import ast
import contextlib
import functools
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from . import schema
from .provenance import write_json

__by_value__ = True  # decides what is kept, and no number

PACKAGE = Path(__file__).parents[1]
MEMORY = "artifacts/code-keys.json"
ROUNDS = 4  # how many references away a change still shows where it is referred to
SKIPPED = ("ctx", "kind", "type_comment", "type_params", "returns")  # fields of syntax trees
EFFECTS = ""  # the name for what a module does when it is imported
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.AugAssign)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

Dotted = tuple[str, ...]


class Key(NamedTuple):
    """The hash of some code, the attributes it reads, among them names of parameters, and what it reaches."""

    sha256: str
    attributes: frozenset[str]
    reached: frozenset[str]  # definitions, such as xnn.data.lungs.load_lungs

    def groups(self, schema: type[BaseModel]) -> set[str]:
        """Return the schema's fields that the code may read; all of them if it dumps a whole model."""
        fields = set(schema.model_fields)
        return fields if self.attributes & {"model_dump", "model_dump_json"} else fields & self.attributes


def of_cells(cells: Iterable[str]) -> Key:
    """Return the key of a notebook's code cells, in order, and all they reach."""
    cells = list(cells)
    return _remembered(digest(cells), lambda: _of_cells(cells))


@functools.cache
def of_function(module: str, name: str) -> Key:
    """Return the key of a definition, for example ``of_function("xnn.training.fit", "trained")``."""
    return _remembered(f"{module}.{name}", lambda: _of_function(module, name))


def _remembered(name: str, compute: Callable[[], Key]) -> Key:
    """Return a key, computed only if the sources have changed since it was: parsing them takes seconds."""
    keys = _memory()
    if name not in keys:
        key = compute()
        keys[name] = [key.sha256, sorted(key.attributes), sorted(key.reached)]
        with contextlib.suppress(OSError):  # it is computed again
            (schema.root() / MEMORY).parent.mkdir(exist_ok=True)
            write_json({"sources": sources_sha256(), "keys": keys}, schema.root() / MEMORY)
    sha256, *names = keys[name]
    return Key(sha256, *map(frozenset, names))


@functools.cache
def _memory() -> dict[str, list]:
    """Return the keys of the sources as they are that were computed before."""
    with contextlib.suppress(OSError, ValueError, KeyError):  # it was never written, or by another version
        if (kept := json.loads((schema.root() / MEMORY).read_text()))["sources"] == sources_sha256():
            return kept["keys"]
    return {}


@functools.cache
def sources_sha256() -> str:
    """Return the hash of the sources of the package and of the pages on methods."""
    files = [file for folder in (PACKAGE, PACKAGE.parent / "methods") for file in folder.rglob("*.py*")]
    texts = [(file.name, file.read_bytes()) for file in sorted(files) if file.suffix in (".py", ".pyi")]
    return _sha256(sys.version, *(f"{name} {hashlib.sha256(text).hexdigest()}" for name, text in texts))


def _of_cells(cells: list[str]) -> Key:
    trees = [ast.parse(cell) for cell in cells]
    page = _Definition(_Module((), ast.Module([node for tree in trees for node in tree.body], [])))
    hidden = _bound(page.module.tree.body)
    page.text = "\n".join(page.write(tree.body, hidden) for tree in trees)
    return _key(page)


def _of_function(module: str, name: str) -> Key:
    caller = _Definition(None)
    caller.references.append((tuple(module.split(".")), name))
    return _key(caller)


def _key(root: "_Definition") -> Key:
    references = _closure(root.references, lambda of: [*_definition(*of).references, (of[0], EFFECTS)])
    reached = {reference: _definition(*reference) for reference in references}
    content = {reference: _sha256(each.text) for reference, each in reached.items()}
    for _ in range(ROUNDS):
        content = {
            reference: _sha256(each.text, *(content[other] for other in each.references))
            for reference, each in reached.items()
        }
    code = _sha256(root.text, *(content[each] for each in root.references), *sorted({*content.values()}))
    attributes = root.attributes.union(*(each.attributes for each in reached.values()))
    # properties of parameters are followed by name to the parameters that they read
    attributes = _closure(attributes, lambda name: _methods().get(name, ()))
    return Key(code, frozenset(attributes), frozenset(".".join((*path, name)) for path, name in reached))


def _closure(start: Iterable, following: Callable[..., Iterable]) -> set:
    """Return `start` and all that follows from it."""
    found, left = set(), list(start)
    while left:
        if (each := left.pop()) not in found:
            found.add(each)
            left += following(each)
    return found


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


# ---- what a result was made from -------------------------------------------------------------------
# {"code": hash, "parameters": {file: {key: Leaf}}, and hashes or dicts of hashes under other names}


def digest(made_from) -> str:
    """Return the hash of a JSON value."""
    return _sha256(json.dumps(made_from, sort_keys=True))


def recorded(now: dict) -> dict:
    """Return what a result is made from as stored beside it: parameters without their defaults."""
    values = {
        name: {key: leaf.value for key, leaf in leaves.items()} for name, leaves in now["parameters"].items()
    }
    return {**now, "parameters": values}


def differences(then: dict | None, now: dict) -> list[str]:
    """List why a result made from `then`, as `recorded`, is not what `now` would give; empty if it is.

    A parameter that did not exist then must be at its default. An input missing now (records, models and
    archive are not in git) is no reason to doubt a result.
    """
    if not then or "code" not in then:
        return ["it was not made by these rules" if then else "it was never made"]
    before, after = then["parameters"], now["parameters"]
    found = ["its code"] if then["code"] != now["code"] else []
    for name, leaves in after.items():
        if name not in before:
            found.append(f"{name} is new")
            continue
        was = {key: before[name].get(key, leaf.default) for key, leaf in leaves.items()}
        found += [f"{name}: {k} was {was[k]}, is {v.value}" for k, v in leaves.items() if was[k] != v.value]
    found += [f"{name} is gone" for name in before.keys() - after.keys()]
    for name in sorted(now.keys() - {"code", "parameters", "step"}):
        one, other = then.get(name), now[name]
        if isinstance(other, dict):
            one = one or {}
            found += [each for each in sorted({*one, *other}) if one.get(each) != other.get(each)]
        elif other is not None and one != other:
            found.append(f"its {name}")
    return found


# ---- modules -------------------------------------------------------------------------------------


class _Module:
    """A parsed module: its imports, its definitions, and the statements that run at import."""

    def __init__(self, path: Dotted, tree: ast.Module, package: bool = False):
        self.path, self.tree = path, tree
        parent = path if package else path[:-1]  # where its relative imports start
        self.imports = dict(binding for node in _statements(tree) for binding in _imported(node, parent))
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.effects: list[ast.stmt] = []
        for node in tree.body:
            names = _defined(node)
            for name in names:
                self.definitions.setdefault(name, []).append(node)
            if not names and not _is_passive(node):
                self.effects.append(node)
        self.by_value = "__by_value__" in self.definitions


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield all statements in a node, also inner ones: without the expressions, which are most of a tree."""
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        for inner in getattr(node, name, ()):
            yield inner
            yield from _statements(inner)


def _imported(node: ast.AST, parent: Dotted) -> Iterator[tuple[str, Dotted]]:
    """Yield the names that an import statement binds, and what they stand for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            path = tuple(alias.name.split("."))
            yield (alias.asname, path) if alias.asname else (path[0], path[:1])
    elif isinstance(node, ast.ImportFrom):
        base = resolve_name("." * node.level + (node.module or ""), ".".join(parent))
        for alias in node.names:
            yield alias.asname or alias.name, (*base.split("."), alias.name)


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a definition or assignment binds."""
    return sorted(_bound([node])) if isinstance(node, DEFINITIONS) else []


def _is_passive(node: ast.stmt) -> bool:
    """Whether a statement does nothing at import: an import, a docstring, or the part run as a program."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in ("__name__ == '__main__'", "TYPE_CHECKING")
    return isinstance(node, ast.Import | ast.ImportFrom) or _is_docstring(node)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@functools.cache
def _module(path: Dotted) -> _Module | None:
    """Return the module of a dotted name (of a package its stub, if any); None if it is not ours."""
    if not path:
        return None
    # the pages on methods have a package beside them
    root = PACKAGE if path[0] == PACKAGE.name else PACKAGE.parent / "methods" / path[0]
    place = root.joinpath(*path[1:])
    for file in (place / "__init__.pyi", place / "__init__.py", place.with_suffix(".py")):
        if file.is_file():
            return _Module(path, ast.parse(file.read_text(encoding="utf-8")), place.is_dir())
    return None


@functools.cache
def _definition(path: Dotted, name: str) -> "_Definition":
    return _Definition(_module(path), name)


def _resolve(path: Dotted) -> tuple[_Module | None, str, Dotted]:
    """Return module, definition ("" for the module itself) and remaining attributes of a dotted name."""
    module, left = _module(path[:1]), path[1:]
    while module and left:
        name, rest = left[0], left[1:]
        if name in module.definitions:
            return module, name, rest
        inner, bound = (*module.path, name), module.imports.get(name)
        if bound and bound != inner:
            return _resolve(bound + rest)
        if not (further := _module(inner)):
            return module, "", left  # an attribute of the module, such as __name__
        module, left = further, rest
    return module, "", left


# ---- text ----------------------------------------------------------------------------------------


class _Definition:
    """A function, class, constant or page as text, with a mark for each reference to this package."""

    def __init__(self, module: _Module | None, name: str | None = None):
        self.module, self.name = module, name
        self.text, self.references, self.attributes = "", [], set()
        if name is not None:
            nodes = module.definitions[name] if name else module.effects
            is_one_of_many = name and len(_defined(nodes[0])) > 1  # A, B = ...
            self.text = (name if is_one_of_many else "") + self.write(nodes, frozenset())

    def write(self, node, hidden: frozenset[str]) -> str:
        """Write a node; `hidden` are names of inner scopes, which are no references."""
        if isinstance(node, list):
            return f"[{','.join(filter(None, (self.write(each, hidden) for each in node)))}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        if isinstance(node, ast.Import | ast.ImportFrom) or _is_docstring(node):
            return ""
        if isinstance(node, ast.Raise):
            return "Raise"  # an exception decides no result
        if isinstance(node, ast.Name | ast.Attribute) and (chain := _chain(node)):
            return self._name(chain, hidden)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self._string(node.value)
        if isinstance(node, (*FUNCTIONS, *COMPREHENSIONS)):
            hidden = hidden | _bound(node)
        if isinstance(node, ast.Attribute):
            self.attributes.add(node.attr)
        fields = [
            f"{name}={written}"
            for name, value in ast.iter_fields(node)
            if not self._is_left_out(node, name)
            and (written := self.write(value, hidden)) not in ("None", "[]")
        ]
        return f"{type(node).__name__}({','.join(fields)})"

    def _name(self, chain: Dotted, hidden: frozenset[str]) -> str:
        """Write a name with its attributes; a definition of this package becomes a mark."""
        first, *rest = chain
        target = None if first in hidden else self._target(first)
        if target is None:
            self.attributes.update(rest)
            is_own = first == self.name and first not in hidden
            return ".".join(["itself" if is_own else first, *rest])
        module, name, left = _resolve((*target, *rest))
        self.attributes.update(left if module else rest)
        if not module:  # another package's
            return ".".join((*target, *rest))
        if not name:
            return ".".join(("module", *left))
        if module.by_value:
            return ".".join((name, *left))
        self.references.append((module.path, name))
        return ".".join(("@", *left))

    def _target(self, name: str) -> Dotted | None:
        """Return what a global name stands for: an import or another definition of the module."""
        if name == self.name:
            return None
        if name in self.module.definitions and name not in self.module.imports and self.module.path:
            return (*self.module.path, name)
        return self.module.imports.get(name)

    def _string(self, value: str) -> str:
        """Write a string; one that names a module of this package runs all of it as a program."""
        module = _module(tuple(value.split("."))) if value.startswith(f"{PACKAGE.name}.") else None
        if not module:
            return repr(value)
        self.references += [(module.path, name) for name in module.definitions]
        return "program"

    def _is_left_out(self, node: ast.AST, field: str) -> bool:
        if field == "name":  # a class keeps the names of its methods
            return any(node is each for each in self.module.definitions.get(self.name, ()))
        is_message = isinstance(node, ast.Assert) and field == "msg"
        return is_message or field in SKIPPED or (isinstance(node, ast.arg) and field == "annotation")


def _chain(node: ast.AST) -> Dotted | None:
    """Return ``a.b.c`` as ("a", "b", "c"); None if it does not start with a name."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else None


def _bound(scope: ast.AST | list[ast.stmt]) -> frozenset[str]:
    """Return the names that a function, comprehension or list of statements binds, without inner scopes."""
    found, outer = set(), set()
    left = list(scope) if isinstance(scope, list) else list(ast.iter_child_nodes(scope))
    while left:
        node = left.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
                continue
            case ast.Global() | ast.Nonlocal():
                outer.update(node.names)
            case ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                found.add(name)
            case ast.Name(ctx=ast.Store() | ast.Del()):
                found.add(node.id)
        if not isinstance(node, (ast.Lambda, *COMPREHENSIONS)):
            left += ast.iter_child_nodes(node)
    return frozenset(found - outer)


@functools.cache
def _methods() -> dict[str, set[str]]:
    """Map each method and property of classes in modules by value to the attributes it reads."""
    found = defaultdict(set)
    for file in PACKAGE.rglob("*.py"):
        if "__by_value__" not in file.read_text(encoding="utf-8"):
            continue  # parsing takes longer
        module = _module((PACKAGE.name, *file.relative_to(PACKAGE).with_suffix("").parts))
        if module and module.by_value:
            classes = (node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef))
            for method in (node for each in classes for node in each.body):
                if isinstance(method, ast.FunctionDef):
                    read = {node.attr for node in ast.walk(method) if isinstance(node, ast.Attribute)}
                    found[method.name] |= read
    return dict(found)
