"""Files that are written completely or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__by_value__ = True  # how a file is written decides no number


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` if the block succeeds and is removed if it does not.

    Its name starts with a dot and keeps the suffix. The folder is created if it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
