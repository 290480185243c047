"""A study in FiftyOne: every radiograph with its labels, duplicates, doubts, predictions and heatmaps.

``build`` makes the dataset, ``open_app`` shows it in a browser. Both work in a process of their own, so
FiftyOne, which takes a dozen seconds to import, is loaded nowhere else, and nothing is left running.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from subprocess import PIPE

import psutil

from ..config import freshness, provenance
from ..config.files import load_study
from ..config.schema import ROOT, Study
from . import fiftyone_dataset, mongo

PORT = 5151
QUIET = {
    "FIFTYONE_DO_NOT_TRACK": "1",
    "FIFTYONE_SHOW_PROGRESS_BARS": "0",
    "FIFTYONE_LOGGING_LEVEL": "ERROR",
}


class FiftyOneError(RuntimeError):
    """FiftyOne ended in an error; the message is its last line."""


def build(study: Study) -> str:
    """Make the study's FiftyOne dataset of its records and what is known of them.

    Returns
    -------
    A sentence for the page: what the dataset holds and how it is opened, or, where no database can be had,
    what is missing and how to get it. Raises FiftyOneError where FiftyOne itself fails.
    """
    try:
        with mongo.serve(folder(study)) as address:
            told = _fiftyone(address, "build", study.name, stdout=PIPE, stderr=PIPE)
    except mongo.NoDatabase as reason:
        return f"No FiftyOne dataset, only the figures above: {reason}."
    if told.returncode:
        raise FiftyOneError((told.stderr.strip().splitlines() or ["it ended without a word"])[-1])
    return f"{told.stdout.strip().splitlines()[-1]} `make fiftyone STUDY={study.name}` opens it."


def open_app(study: Study, port: int = PORT, address: str = "127.0.0.1") -> int:
    """Show a study's dataset in FiftyOne's app until Ctrl-C, made anew first where it is not current.

    Returns the exit status. Raises NoDatabase where no database can be had.
    """
    try:
        with mongo.serve(folder(study)) as database:
            return _fiftyone(database, "open", study.name, str(port), address).returncode
    except KeyboardInterrupt:
        return 0


def folder(study: Study) -> Path:
    """Where the study's database and the copies of its radiographs lie."""
    return study.artifacts / "fiftyone"


def _fiftyone(database: str, *arguments: str, **how) -> subprocess.CompletedProcess:
    """Run this module as a program, with the database of the address; end all that it has started."""
    command = [sys.executable, "-m", "xnn.explore.fiftyone_view", *arguments]
    environment = {**os.environ, **QUIET, mongo.VARIABLE: database, "XNN_ROOT": str(ROOT)}
    with subprocess.Popen(command, env=environment, text=True, start_new_session=True, **how) as child:
        try:
            told = child.communicate()
        finally:
            _end_session(child.pid)
    return subprocess.CompletedProcess(command, child.returncode, *told)


def _end_session(session: int) -> None:
    """Kill every process of a session: the app's own server would wait for browsers that are open."""
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == session:
                os.kill(process.pid, signal.SIGKILL)


# ---- in the process that has FiftyOne --------------------------------------------------------------


def _key(study: Study) -> str:
    """Hash of all that the dataset is made of."""
    files = [study.artifacts / "records.csv", study.artifacts / "audit.csv"]
    files += sorted(study.reports.glob("*/predictions.csv"))
    files += sorted(study.reports.glob("*/validation.csv"))
    files += sorted(study.reports.glob("*/gallery/data.js"))
    return "\n".join(
        [str(folder(study)), freshness.of_function(fiftyone_dataset.__name__, "make").sha256]
        + [f"{file.relative_to(ROOT)} {provenance.file_sha256(file)}" for file in files]
    )


def _current(study: Study):
    """The study's dataset, made anew unless it was made of what there is now."""
    import fiftyone as fo

    name, key = fiftyone_dataset.name(study), _key(study)
    if fo.dataset_exists(name) and fo.load_dataset(name).info.get("key") == key:
        return fo.load_dataset(name)
    return fiftyone_dataset.make(study, folder(study) / "images", key)


def _open(study: Study, port: int, address: str) -> None:
    import fiftyone as fo

    dataset = _current(study)
    session = fo.launch_app(dataset, port=port, address=address, remote=True)
    print(f"FiftyOne shows {study.name} at http://{address}:{port}/datasets/{dataset.name}; Ctrl-C ends it")
    sys.stdout.flush()
    session.wait(-1)


def _end_with(parent: int) -> None:
    """End this process once the one that started it has: its database is gone as well."""
    while os.getppid() == parent:
        time.sleep(1)
    _end_session(os.getsid(0))


def main(arguments: list[str]) -> None:
    """``build STUDY``, or ``open STUDY PORT ADDRESS``."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    study = load_study(arguments[1])
    if arguments[0] == "build":
        print(fiftyone_dataset.sentence(_current(study)))
    else:
        _open(study, int(arguments[2]), arguments[3])


if __name__ == "__main__":
    main(sys.argv[1:])
