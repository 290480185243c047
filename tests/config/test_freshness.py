"""Keys of code, on a small package whose every definition is known."""

import pytest

from xnn.config import freshness, schema
from xnn.config.schema import Leaf

FILES = {
    "__init__.py": "from .colours import RED\n",
    "colours.py": "RED = 'red'\nGREEN = 'green'\nA, B = 1, 2\n",
    "drawing.py": """
import numpy as np

from . import colours
from .shapes import Square as Box


def draw(side: int):
    \"\"\"Draw.\"\"\"
    if side < 0:
        raise ValueError(f"no side of {side}")
    return np.ones(Box(side).area()), colours.RED, colours.A


def unused():
    return colours.GREEN


def again(count):
    return [again(count - 1) for draw in range(count)]


def first(box):
    return second(box.width, colours.B)


def second(width, unit=colours.A):
    return first(width) * unit
""",
    "shapes.py": """
class Square:
    def __init__(self, side):
        self.side = side

    def area(self):
        return self.side**2
""",
    "settings.py": """
__by_value__ = True


class Study:
    @property
    def synthetic(self):
        return self.source == "phantom"


def load():
    return Study()
""",
    "program.py": "def main():\n    print('hello')\n",
}
PAGE = """import toy
from toy import drawing, settings

study = settings.load()
drawing.draw(3)
study.synthetic
"""

CACHES = [each for each in vars(freshness).values() if hasattr(each, "cache_clear")]


@pytest.fixture
def key(tmp_path, monkeypatch):
    """The key of a page over the package with some replacements: (file, old, new) or (file, whole text)."""
    package = tmp_path / "toy"
    monkeypatch.setattr(freshness, "PACKAGE", package)

    def of(*edits, page=PAGE, function=None):
        files = dict(FILES)
        for file, *change in edits:
            if len(change) == 2:
                assert change[0] in files[file]
                files[file] = files[file].replace(*change)
            else:
                files[file] = change[0]
        for old in package.rglob("*.py"):
            old.unlink()
        for name, text in files.items():
            (package / name).parent.mkdir(exist_ok=True, parents=True)
            (package / name).write_text(text or "")
        for cached in CACHES:
            cached.cache_clear()
        return freshness.of_function(*function) if function else freshness.of_cells([page])

    yield of
    for cached in CACHES:
        cached.cache_clear()


@pytest.mark.parametrize(
    "edit",
    [
        ("drawing.py", '"""Draw."""', '"""Draw well."""'),
        ("drawing.py", "def draw(side: int):", "def draw(\n    side,  # pixels\n):"),
        ("drawing.py", "no side of {side}", "a negative side"),
        ("drawing.py", "def unused():", "def other():"),
        ("drawing.py", "colours.GREEN", "None"),
        ("drawing.py", "import numpy as np", "import os\nimport numpy as np"),
        ("colours.py", "GREEN = 'green'", "GREEN = 'blue'\nBLUE = 3"),
        ("settings.py", 'self.source == "phantom"', 'self.source in ("phantom",)'),
        ("program.py", "hello", "bye"),
    ],
    ids=str,
)
def test_what_is_not_reached_or_says_nothing_changes_no_key(key, edit):
    assert key(edit).sha256 == key().sha256


@pytest.mark.parametrize(
    "edit",
    [
        ("drawing.py", "side < 0", "side < 1"),
        ("drawing.py", "import numpy as np", "import cupy as np"),
        ("drawing.py", "colours.A\n\n\ndef unused", "colours.B\n\n\ndef unused"),
        ("drawing.py", "colours.RED", "colours.GREEN"),
        ("colours.py", "'red'", "'crimson'"),
        ("shapes.py", "**2", "**3"),
        ("shapes.py", "def area", "def surface"),
        ("shapes.py", "class Square:", "print('imported')\nclass Square:"),
    ],
    ids=str,
)
def test_what_decides_changes_the_key(key, edit):
    assert key(edit).sha256 != key().sha256


def test_names_and_places_of_definitions_are_in_no_key(key):
    moved = [
        ("solids/__init__.py", ""),
        ("solids/flat.py", FILES["shapes.py"].replace("Square", "Quadrat")),
        ("shapes.py", ""),
        (
            "drawing.py",
            FILES["drawing.py"]
            .replace(".shapes import Square", ".solids.flat import Quadrat")
            .replace("draw(side", "paint(side"),
        ),
    ]
    page = PAGE.replace("drawing.draw", "drawing.paint")
    assert key(*moved, page=page).sha256 == key().sha256
    through_the_package = PAGE.replace("drawing.draw(3)", "drawing.draw(3), toy.RED")
    direct = through_the_package.replace("toy.RED", "colours.RED").replace(
        "import drawing", "import colours, drawing"
    )
    assert key(page=through_the_package) == key(page=direct)


def test_the_place_of_a_module_that_is_named_is_in_no_key(key):
    page = "from toy import shapes\n\nshapes.__name__"
    moved = [("solids/__init__.py", ""), ("solids/flat.py", FILES["shapes.py"])]
    assert key(page=page) == key(
        *moved, page=page.replace("toy import shapes", "toy.solids import flat as shapes")
    )


def test_recursion_ends_and_two_that_call_each_other_differ(key):
    both = [key(function=("toy.drawing", name)).sha256 for name in ("first", "second")]
    assert both[0] != both[1]
    changed = [
        key(("drawing.py", "* unit", "+ unit"), function=("toy.drawing", name))
        for name in ("first", "second")
    ]
    assert not {each.sha256 for each in changed} & set(both)


def test_a_name_of_an_inner_scope_is_no_reference(key):
    one = key(function=("toy.drawing", "again"))
    assert key(("drawing.py", "side < 0", "side < 1"), function=("toy.drawing", "again")) == one


def test_a_program_that_is_run_by_its_name_is_reached(key):
    page = 'import subprocess\n\nsubprocess.run(["python", "-m", "toy.program"])\n'
    assert key(page=page).sha256 != key(("program.py", "hello", "bye"), page=page).sha256


def test_a_key_names_the_definitions_that_are_reached(key):
    reached = {name.partition(".")[2] for name in key().reached}
    assert {"drawing.draw", "shapes.Square"} <= reached
    assert "drawing.unused" not in reached


def test_attributes_are_followed_through_properties_of_values(key):
    assert {"synthetic", "source", "side"} <= key().attributes
    assert "width" not in key().attributes


def test_cells_of_a_page_count_in_their_order(key):
    key()
    one, two = freshness.of_cells(["a = 1", "a"]), freshness.of_cells(["a = 1\na"])
    assert one.sha256 != two.sha256, "the value of a cell is shown"
    assert freshness.of_cells(["# why\na = 1", "a"]) == one


# ---- what was recorded, and what is now ------------------------------------------------------------


def now(code="c", parameters=None, **others):
    return {"code": code, "parameters": parameters or {"run": {"a": Leaf(1, 0)}}, **others}


def test_nothing_differs_from_itself():
    assert (
        freshness.differences(
            freshness.recorded(now(records="r", results={"x": "1"})), now(records="r", results={"x": "1"})
        )
        == []
    )


@pytest.mark.parametrize(
    ("later", "told"),
    [
        (now(code="d"), ["its code"]),
        (now(parameters={"run": {"a": Leaf(2, 0)}}), ["run: a was 1, is 2"]),
        (now(parameters={"run": {"a": Leaf(1, 0), "new": Leaf(5, 5)}}), []),
        (now(parameters={"run": {"a": Leaf(1, 0), "new": Leaf(6, 5)}}), ["run: new was 5, is 6"]),
        (now(parameters={"run": {"a": Leaf(1, 0)}, "b": {}}), ["b is new"]),
        (now(parameters={"other": {"a": Leaf(1, 0)}}), ["other is new", "run is gone"]),
        (now(records=None), []),
        (now(records="other"), ["its records"]),
        (now(results={"x": "1", "y": "2"}), ["y"]),
        (now(results={}), ["x"]),
    ],
    ids=str,
)
def test_differences_are_named(later, told):
    then = freshness.recorded(now(records="r", results={"x": "1"}))
    assert freshness.differences(then, {"results": {"x": "1"}, **later}) == told


def test_what_was_never_made_is_not_current():
    assert freshness.differences(None, now()) == ["it was never made"]
    assert freshness.differences({"inputs": {}}, now()) == ["it was not made by these rules"]


def test_parameters_are_told_apart_by_value():
    run = schema.Run.model_validate({"model": {"lora": {"rank": 4}, "train": 5}})
    plain = schema.leaves(schema.Run.model_validate({"model": {"train": 5}}))
    found = schema.leaves(run)
    assert found["model.lora.rank"] == Leaf(4, 8)
    assert found["model.lora"] == Leaf(True, False)
    assert plain["model.lora"] == Leaf(None, None)
    assert schema.leaves(run, {"seed"}) == {"seed": Leaf(0, 0)}
