"""The command line: what Make calls, and errors in one line."""

import os
import re
import subprocess
import sys

import pytest

from support.project import PROJECT, ROOT, write_study


def xnn(*arguments, **environment) -> subprocess.CompletedProcess:
    """Run the command line on the tests' project."""
    return subprocess.run(
        [sys.executable, "-m", "xnn", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_help_lists_every_command_that_make_calls():
    called = set(re.findall(r"\$\(xnn\) (\w+)", (PROJECT / "Makefile").read_text()))
    shown = xnn("--help").stdout
    assert len(called) > 5
    assert all(re.search(rf"^  {name} ", shown, re.MULTILINE) for name in called)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status", "nothing"), "no study 'nothing'"),
        (("run", "7-publish", "small"), "no step '7-publish'"),
        (("sweep", "params/sweeps/nothing.yaml"), "no sweep 'nothing'"),
        (("train", "small", "nobody"), "no run 'nobody'"),
    ],
)
def test_an_error_is_one_line(small, arguments, words):
    done = xnn(*arguments)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("xnn: ")
    assert words in line


def test_empty_variables_of_make_are_no_values():
    write_study("fresh", run="model: {weights: none}")
    done = xnn("status", "fresh", JOBS="", ONLINE="", SCHEDULER="")
    assert done.returncode == 0, done.stderr
