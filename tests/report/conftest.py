"""The small report: made once, copied by every test that changes it."""

import os
import shutil

import pytest
from filelock import FileLock

from support.report import make, write_project


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The project with the small study's whole report, of all workers: tests only read it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built"
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            write_project(folder)
            make(folder, "report", FIFTYONE_DATABASE_URI="")
            done.touch()
    return folder


@pytest.fixture(scope="session")
def copied(built, tmp_path_factory):
    """Function that gives a new copy of the built project, without FiftyOne's large database."""

    def copied():
        folder = tmp_path_factory.mktemp("project") / "project"
        return shutil.copytree(built, folder, ignore=shutil.ignore_patterns("fiftyone"))

    return copied


@pytest.fixture
def copy(copied):
    """A copy of the built project, to change."""
    return copied()
