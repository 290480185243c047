"""The project folder of the tests: nothing here reads or writes the real params, artifacts or reports."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

# before xnn is imported, which reads it once
os.environ["XNN_ROOT"] = tempfile.mkdtemp(prefix="xnn-tests-")
os.environ.pop("ARCHIVE", None)
os.environ.pop("WEIGHTS", None)
os.environ.pop("MASKS", None)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each of many processes would compile xnn again
os.environ["TQDM_DISABLE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as `make test` has it: workers share the cores
os.environ.setdefault("PYTHONHASHSEED", "0")  # too: steps are forks then

PROJECT = Path(__file__).resolve().parents[2]
ROOT = Path(os.environ["XNN_ROOT"])
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
for _folder in ("notebooks", "methods"):
    (ROOT / _folder).symlink_to(PROJECT / _folder)
SMALL = "{title: small, source: phantom, image_size: 32, patients: 60, fractions: [0.6, 0.2, 0.2]}"
QUICK = "{epochs: 2, batch_size: 16, learning_rate: 3e-3, early_stopping: 0"
TINY = "backbone: convnextv2, config: {depths: [1, 1, 1, 1], hidden_sizes: [8, 8, 16, 16]}"


def command(*arguments: str) -> list[str]:
    """The words of the command `xnn ARGUMENTS...`."""
    return [sys.executable, "-m", "xnn", *map(str, arguments)]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a command on the project in a folder, whose own xnn the kernels import too."""
    return {**os.environ, "XNN_ROOT": str(folder), "PYTHONPATH": str(folder), **more}


def write_study(name: str, text: str = SMALL, **runs: str) -> None:
    """Write the parameter files of a study and its runs."""
    folder = ROOT / "params" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(text)
    for run, content in runs.items():
        (folder / f"{run}.yaml").write_text(content)
