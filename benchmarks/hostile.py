"""Outcomes of reading hostile images, archives and parameter files.

    python benchmarks/hostile.py [--images 5000] [--archives 1000] [--parameters 3000] > benchmarks/hostile.md

Images and archives come from tests/support/; parameter files are the project's own, mutated at random. Each
is read as the report reads it. It is *read* (the sound images of an archive become records, and each of the
others is set aside with a reason) or *refused* with a one-line message (for a parameter file, one line per
wrong key). Anything else is *lost*: another error, or a file written outside the study's artifacts. The
results for the app's corpus are in app.md.
"""

import argparse
import collections
import os
import random
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"
os.environ["XNN_ROOT"] = tempfile.mkdtemp(prefix="xnn-benchmark-")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import pandas as pd

import xnn
from support import hostile, hostile_archives
from xnn.config.schema import ParameterError, root
from xnn.data.images import ImageError, decode
from xnn.evaluation import comparison

PROJECT = Path(__file__).resolve().parents[1]
STUDY = "{title: hostile, source: archive, image_size: 32, fractions: [0.5, 0.25, 0.25]}"
NOISE = "{}[]:,&*!|>'\"%@`#?-~\t\\ \n\0\x85\ufeff\u20280123456789.eEaxyn_"


def row(what: str, read, files, expected: type[Exception]) -> dict:
    """Read each file and return the table's row of outcomes."""
    outcomes, began = collections.Counter(), time.perf_counter()
    for file in files:
        try:
            outcome = read(file)
        except expected as error:
            outcome = "refused" if clear(str(error)) else "lost"
        except Exception as error:  # the failures that this benchmark looks for
            print(f"{what}: {type(error).__name__}: {error}", file=sys.stderr)
            outcome = "lost"
        outcomes[outcome] += 1
    return {
        "corpus": what,
        "files": outcomes.total(),
        **{each: outcomes[each] for each in ("read", "refused", "lost")},
        "ms a file": round(1000 * (time.perf_counter() - began) / outcomes.total(), 1),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def clear(message: str) -> bool:
    """Return whether a message is one line, or one line per key of the parameter file."""
    lines = message.split("\n")
    return len(lines) == 1 or all(line.startswith("params/hostile/it.yaml: ") for line in lines)


def image(file: tuple[str, bytes]) -> str:
    pixels = decode(file[1], 224)
    return "read" if pixels.shape == (224, 224) and pixels.dtype == "uint8" else "lost"


def archive(file: tuple[str, bytes]) -> str:
    (root() / "a.zip").write_bytes(file[1])
    before = outside()
    try:
        xnn.wrangle(xnn.load_study("hostile"))
    finally:
        if outside() != before:
            raise RuntimeError(f"{file[0]}: a file was written outside of the study's artifacts")
    return "read"


def outside() -> set[Path]:
    """Return all files in and next to the root, except the study's artifacts."""
    own = {each for each in root().rglob("*") if "artifacts" not in each.relative_to(root()).parts}
    return own | set(root().parent.glob("*.jpeg"))


def parameters(text: bytes) -> str:
    (root() / "params/hostile/it.yaml").write_bytes(text)
    return "read" if xnn.load_run("hostile", "it").name == "it" else "lost"


def changed(count: int):
    """Yield the project's parameter files of runs, each mutated at random."""
    chance = random.Random(0)
    files = sorted(file for file in (PROJECT / "params").glob("*/*.yaml") if file.name != "study.yaml")
    for _ in range(count):
        text = chance.choice(files).read_text()
        for _ in range(chance.randint(1, 5)):
            at, to = sorted(chance.randrange(len(text) + 1) for _ in range(2))
            piece = "".join(chance.choices(NOISE, k=chance.randint(0, 5)))
            text = chance.choice(
                (
                    text[:at] + piece + text[at:],
                    text[:at] + piece + text[min(to, at + 9) :],
                    text[:at] + text[at:to] * 2 + text[to:],
                )
            )
        yield text.encode("utf-8", "surrogatepass")


def answer(table: pd.DataFrame) -> str:
    return (
        f"{table.lost.sum() or 'None'} of {table.files.sum():,} damaged or hostile files caused an "
        f"unexpected error: {table.read.sum():,} were read, and {table.refused.sum():,} refused with a "
        "reason."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--archives", type=int, default=1000)
    parser.add_argument("--parameters", type=int, default=3000)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow's warnings about damaged files
    (root() / "params/hostile").mkdir(parents=True)
    (root() / "params/hostile/study.yaml").write_text(STUDY)
    os.environ["ARCHIVE"] = str(root() / "a.zip")
    rows = [
        row("parameter files", parameters, changed(given.parameters), ParameterError),
        row("images", image, hostile.corpus(given.images), ImageError),
        row("archives", archive, hostile_archives.corpus(given.archives), xnn.DataError),
    ]
    table = pd.DataFrame(rows)
    print(f"# Are hostile files refused cleanly?\n\n{answer(table)}\n")
    print("Output of `python benchmarks/hostile.py`; the counts are described at the top of that file.\n")
    print(comparison.markdown(table))


if __name__ == "__main__":
    main()
