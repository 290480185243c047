"""Keys of code: a hash of every definition that a page or a function reaches through imports.

A key follows the code and nothing else. Comments, docstrings, annotations of functions, messages of errors,
wrapping, import statements, and the names and places of modules, functions and constants are in no key:
a reference to a definition of this package counts as the content of that definition. A module that sets
``__by_value__`` (the schema of parameters, provenance) is not followed: the values that it hands out are
compared as values instead, and its own code decides no number.
"""

import ast
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

__by_value__ = True  # this module decides what is kept, and no number

PACKAGE = Path(__file__).parents[1]
ROUNDS = 4  # how far the content of a definition travels along references, beside being in every key itself
SKIPPED = ("ctx", "kind", "type_comment", "type_params", "returns")  # fields of syntax trees
EFFECTS = ""  # the name of what a module does when it is imported
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

Dotted = tuple[str, ...]
Reference = tuple[Dotted, str]  # a module and the name of one of its definitions


class Key(NamedTuple):
    """What code is, and which attributes it reads: those name the parameters that it depends on."""

    sha256: str
    attributes: frozenset[str]

    def groups(self, schema: type[BaseModel]) -> set[str]:
        """The fields of a schema that the code may read; all of them where it reads a model as a whole."""
        fields = set(schema.model_fields)
        return fields if self.attributes & {"model_dump", "model_dump_json"} else fields & self.attributes


class Definition(NamedTuple):
    """A function, class, constant or page as text without names, and the definitions that it refers to."""

    text: str
    references: tuple[Reference, ...]
    attributes: frozenset[str]


def of_cells(cells: Iterable[str]) -> Key:
    """The key of a notebook: of its code cells, in order, and of all that they reach."""
    trees = [ast.parse(cell) for cell in cells]
    page = _Module((), ast.Module([node for tree in trees for node in tree.body], []))
    writer = _Writer(page)
    texts = [writer.text(tree.body, _bound(page.tree.body)) for tree in trees]
    writer.attributes.add("_repr_markdown_")  # a page shows the study and run that it is of
    return _key(writer.definition("\n".join(texts)))


@functools.cache
def of_function(module: str, name: str) -> Key:
    """The key of a definition, as ``of_function("xnn.training.fit", "trained")``."""
    return _key(Definition("", ((tuple(module.split(".")), name),), frozenset()))


def _key(root: Definition) -> Key:
    reached: dict[Reference, Definition] = {}
    left = list(root.references)
    while left:
        reference = left.pop()
        if reference not in reached:
            reached[reference] = definition = _definition(*reference)
            left += [*definition.references, (reference[0], EFFECTS)]
    content = {reference: _sha256(each.text) for reference, each in reached.items()}
    for _ in range(ROUNDS):
        content = {
            reference: _sha256(each.text, *(content[other] for other in each.references))
            for reference, each in reached.items()
        }
    digest = _sha256(root.text, *(content[each] for each in root.references), *sorted({*content.values()}))
    attributes = root.attributes.union(*(each.attributes for each in reached.values()))
    return Key(digest, _through_properties(attributes))


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


# ---- what something was made from -----------------------------------------------------------------
# {"code": hash, "parameters": {of what: {key: Leaf}}, and hashes or dicts of hashes under other names}


def digest(made_from) -> str:
    """The hash of anything that JSON can hold."""
    return _sha256(json.dumps(made_from, sort_keys=True))


def recorded(now: dict) -> dict:
    """What something is made from, as it is kept beside the result: of parameters the values alone."""
    values = {
        name: {key: leaf.value for key, leaf in leaves.items()} for name, leaves in now["parameters"].items()
    }
    return {**now, "parameters": values}


def differences(then: dict | None, now: dict) -> list[str]:
    """Why a result made from `then`, as `recorded`, is not what `now` would give; empty where it is.

    A parameter that did not exist then has to stand at its default. An input that is not there now (records,
    models and the archive are not in git) is no reason to doubt a result.
    """
    if not then or "code" not in then:
        return ["it was not made by these rules" if then else "it was never made"]
    found = ["its code"] if then["code"] != now["code"] else []
    for name, leaves in now["parameters"].items():
        known = then["parameters"].get(name, {})
        if name not in then["parameters"]:
            found.append(f"{name} is new")
            continue
        for key, leaf in leaves.items():
            if (value := known.get(key, leaf.default)) != leaf.value:
                found.append(f"{name}: {key} was {value}, is {leaf.value}")
    found += [f"{name} is gone" for name in then["parameters"].keys() - now["parameters"].keys()]
    for name in sorted(now.keys() - {"code", "parameters", "step"}):
        if isinstance(now[name], dict):
            before = then.get(name, {})
            found += [
                each for each in sorted({*before, *now[name]}) if before.get(each) != now[name].get(each)
            ]
        elif now[name] is not None and then.get(name) != now[name]:
            found.append(f"its {name}")
    return found


# ---- modules -------------------------------------------------------------------------------------


class _Module:
    """A module, parsed: what its names are bound to."""

    def __init__(self, path: Dotted, tree: ast.Module, package: bool = False):
        self.path, self.tree = path, tree
        self.parent = path if package else path[:-1]  # what its relative imports start from
        self.imports = dict(binding for node in ast.walk(tree) for binding in self._bindings(node))
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.effects: list[ast.stmt] = []
        for node in tree.body:
            names = list(_defined(node))
            for name in names:
                self.definitions.setdefault(name, []).append(node)
            if not names and not _passive(node):
                self.effects.append(node)

    def _bindings(self, node: ast.AST) -> Iterator[tuple[str, Dotted]]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                path = tuple(alias.name.split("."))
                yield (alias.asname, path) if alias.asname else (path[0], path[:1])
        elif isinstance(node, ast.ImportFrom):
            base = self.parent[: len(self.parent) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            for alias in node.names:
                yield alias.asname or alias.name, (*base, alias.name)

    @functools.cached_property
    def by_value(self) -> bool:
        inherited = len(self.path) > 1 and (parent := _module(self.path[:-1])) and parent.by_value
        return "__by_value__" in self.definitions or bool(inherited)


@functools.cache
def _module(path: Dotted) -> _Module | None:
    """The module of a dotted name, None where it is not of this project; of a package the stub, if any."""
    if not path:
        return None
    # the pages on methods have a package of their own beside them
    root = PACKAGE if path[0] == PACKAGE.name else PACKAGE.parent / "methods" / path[0]
    place = root.joinpath(*path[1:])
    for file in (place / "__init__.pyi", place / "__init__.py", place.with_suffix(".py")):
        if file.is_file():
            return _Module(path, ast.parse(file.read_text(encoding="utf-8")), place.is_dir())
    return None


def _defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for each in (name for target in targets for name in ast.walk(target)):
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                yield each.id


def _passive(node: ast.stmt) -> bool:
    """Whether a statement does nothing when its module is imported: imports, words, the part of a program."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in ("__name__ == '__main__'", "TYPE_CHECKING")
    return isinstance(node, ast.Import | ast.ImportFrom) or _is_words(node)


def _is_words(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@functools.cache
def _definition(path: Dotted, name: str) -> Definition:
    module = _module(path)
    nodes = module.definitions[name] if name else module.effects
    shared = name if len([*_defined(nodes[0])] if name else []) > 1 else ""  # A, B = ...: which of them
    writer = _Writer(module, name)
    return writer.definition(shared + writer.text(nodes, frozenset()))


def _resolve(path: Dotted) -> tuple[_Module | None, str, Dotted]:
    """A dotted name of this package as a module, a definition in it ("" for the module) and what is left."""
    module, left = _module(path[:1]), path[1:]
    while module and left:
        name, rest = left[0], left[1:]
        if name in module.definitions:
            return module, name, rest
        inner, bound = (*module.path, name), module.imports.get(name)
        if bound and bound != inner:
            return _resolve(bound + rest)
        if not (further := _module(inner)):
            return module, "", left  # of a module itself: its place is in no key
        module, left = further, rest
    return module, "", left


# ---- text ----------------------------------------------------------------------------------------


class _Writer:
    """Writes syntax trees as text in which references to this package are marks, and collects them."""

    def __init__(self, module: _Module, own: str = ""):
        self.module, self.own = module, own  # the name of what is written, which is not in its text
        self.references, self.attributes = [], set()

    def definition(self, text: str) -> Definition:
        return Definition(text, tuple(self.references), frozenset(self.attributes))

    def text(self, node, hidden: frozenset[str]) -> str:
        """`hidden`: names of an inner scope, which are no references."""
        if isinstance(node, list):
            return f"[{','.join(filter(None, (self.text(each, hidden) for each in node)))}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        if isinstance(node, ast.Import | ast.ImportFrom) or _is_words(node):
            return ""
        if isinstance(node, ast.Raise):
            return "Raise"  # whatever is raised decides no result
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
            if not self._left_out(node, name) and (written := self.text(value, hidden)) not in ("None", "[]")
        ]
        return f"{type(node).__name__}({','.join(fields)})"

    def _name(self, chain: Dotted, hidden: frozenset[str]) -> str:
        """A name with its attributes: a mark for what is a definition of this package, else itself."""
        first = chain[0]
        if first == self.own and first not in hidden:
            self.attributes.update(chain[1:])
            return ".".join(("itself", *chain[1:]))
        target = self.module.imports.get(first)
        if first not in hidden and not target and first in self.module.definitions:
            target = (*self.module.path, first) if self.module.path else None
        if first in hidden or not target:
            self.attributes.update(chain[1:])
            return ".".join(chain)
        module, name, rest = _resolve(target + chain[1:])
        self.attributes.update(rest if module else chain[1:])
        if not module or not name:  # of another package, or a module itself
            return ".".join((*target, *chain[1:]) if not module else ("module", *rest))
        if module.by_value:
            return ".".join((name, *rest))
        self.references.append((module.path, name))
        return ".".join(("@", *rest))

    def _string(self, value: str) -> str:
        """A string; one that names a module of this package runs it as a program: all of it is reached."""
        module = _module(tuple(value.split("."))) if value.startswith(f"{PACKAGE.name}.") else None
        if not module:
            return repr(value)
        self.references += [(module.path, name) for name in module.definitions]
        return "program"

    def _left_out(self, node: ast.AST, field: str) -> bool:
        if field == "name":  # of a method it is part of the class, of a definition itself it is not
            return any(node is each for each in self.module.definitions.get(self.own, ()))
        words = isinstance(node, ast.Assert) and field == "msg"
        return words or field in SKIPPED or (isinstance(node, ast.arg) and field == "annotation")


def _chain(node: ast.AST) -> Dotted | None:
    """``a.b.c`` as ("a", "b", "c"); None where it does not start with a name."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else None


def _bound(scope) -> frozenset[str]:
    """The names that a function, a comprehension or a list of statements binds, inner scopes apart."""
    found, outer = set(), set()
    left = list(scope) if isinstance(scope, list) else list(ast.iter_child_nodes(scope))
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.Global | ast.Nonlocal):
            outer.update(node.names)
        if isinstance(node, ast.arg):
            found.add(node.arg)
        if isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            found.add(node.id)
        if not isinstance(node, (ast.Lambda, *COMPREHENSIONS)):
            left += ast.iter_child_nodes(node)
    return frozenset(found - outer)


# ---- what modules by value read ---------------------------------------------------------------------


def _through_properties(attributes: frozenset[str]) -> frozenset[str]:
    """Attributes, and those that methods of these names read in the classes of modules by value."""
    found, left = set(), set(attributes)
    while left:
        found |= left
        left = set().union(*(_methods().get(name, ()) for name in left)) - found
    return frozenset(found)


@functools.cache
def _methods() -> dict[str, frozenset[str]]:
    """Name of a method or property in a class of a module by value to the attributes that it reads."""
    found: dict[str, frozenset[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        module = _module((PACKAGE.name, *file.relative_to(PACKAGE).with_suffix("").parts))
        for node in ast.walk(module.tree) if module and module.by_value else ():
            for method in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(method, ast.FunctionDef):
                    read = {each.attr for each in ast.walk(method) if isinstance(each, ast.Attribute)}
                    found[method.name] = found.get(method.name, frozenset()) | read
    return found
