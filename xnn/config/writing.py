"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__by_value__ = True  # how a file is written decides no number


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that replaces it when the block ends well, and is removed when not.

    Its name begins with a dot and keeps the suffix. The folder is made where it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
