"""Every pinned package is permissive, or excepted with a reason."""

import runpy

import pytest

from support.project import PROJECT

LICENCES = runpy.run_path(str(PROJECT / "benchmarks/licences.py"))


def test_no_pinned_package_has_a_licence_that_is_not_allowed():
    rows = LICENCES["listed"]()
    assert len(rows) > 100
    assert not [row for row in rows if row[2] == "NOT ALLOWED"]


@pytest.mark.parametrize(
    "text",
    ["GPL-2.0-only", "AGPL-3.0", "GNU General Public License v3 (GPLv3)", "MIT AND GPL-2.0", "SSPL-1.0", ""],
)
def test_copyleft_and_unknown_licences_are_refused(text):
    assert LICENCES["verdict"]("some", text) == "NOT ALLOWED"


@pytest.mark.parametrize(
    "text", ["MIT", "BSD License", "3-Clause BSD License", "Apache 2.0", "PSF-2.0", "MPL-2.0"]
)
def test_permissive_licences_are_let_through(text):
    assert LICENCES["verdict"]("some", text) == "permissive"
