"""The table of two commits side by side."""

import json
import math
import runpy
import sys
import types

import pytest

from support.project import PROJECT

sys.path.append(str(PROJECT / "benchmarks"))  # as where it runs as a script
TREES = types.SimpleNamespace(**runpy.run_path(str(PROJECT / "benchmarks/trees.py")))


@pytest.fixture
def tree(tmp_path):
    """A folder in which commands are measured, without the clone."""
    made = object.__new__(TREES.Tree)
    made.folder, made.log = tmp_path, tmp_path / "tree.log"
    return made


def test_both_commits_are_in_a_row_with_their_ratio():
    costs = {"make test": (TREES.Cost(30, 50, 1787), TREES.Cost(12, 20, 1243))}
    (row,) = TREES.table(costs).to_dict("records")
    assert row == {
        "command": "make test",
        "seconds": "30.0 to 12.0",
        "CPU seconds": "50.0 to 20.0",
        "MB": "1787 to 1243",
        "times as fast": "2.5",
    }


def test_what_a_commit_does_not_have_has_no_number():
    only_seconds = TREES.Cost(53.1, math.nan, math.nan)
    rows = TREES.table({"one": (None, TREES.Cost(1, 2, 3)), "two": (only_seconds, only_seconds)})
    assert list(rows["seconds"]) == ["- to 1.0", "53.1 to 53.1"]
    assert list(rows["MB"]) == ["- to 3", "-"]
    assert list(rows["times as fast"]) == ["-", "1.0"]


def test_the_processes_of_a_command_count(tree):
    busy = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    cost = tree.cost("sh", "-c", f'"{sys.executable}" -c "{busy}"; echo done')
    assert cost.cpu >= 0.5
    assert cost.megabytes > 1
    assert tree.output == "done\n"


def test_a_command_that_fails_has_no_cost_and_shows_why(tree, capsys):
    assert tree.cost("sh", "-c", "echo the reason; exit 3") is None
    assert "the reason" in capsys.readouterr().err


def test_foreign_settings_reach_the_commands_that_need_them(tree, monkeypatch):
    monkeypatch.setenv("ARCHIVE", "here")
    tree.cost("sh", "-c", 'echo "$ARCHIVE"')
    assert tree.output == "\n"
    tree.cost("sh", "-c", 'echo "$ARCHIVE"', given=("ARCHIVE",))
    assert tree.output == "here\n"


def test_the_pages_that_explain_phantom_networks_are_averaged(tree):
    for page, seconds in {
        "phantom/one/5-explain": 40,
        "phantom/two/5-explain": 60,
        "phantom/one/3-train": 9,
    }.items():
        file = (tree.folder / "reports" / page).with_suffix(".ipynb")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"metadata": {"papermill": {"duration": seconds}}}))
    assert tree.explanation().seconds == 50
