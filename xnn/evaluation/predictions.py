"""Tables of predictions: where a run keeps them, and how they are read."""

from pathlib import Path

import pandas as pd

from ..config.schema import Run

FILES = {"test": "predictions", "val": "validation"}  # stem of the file, by split


def files(run: Run, split: str = "test") -> tuple[Path, Path]:
    """Where predictions are kept, and the key that vouches for them."""
    return tuple(run.reports / f"{FILES[split]}.{suffix}" for suffix in ("csv", "json"))


def read(file: Path) -> pd.DataFrame:
    """A table of predictions: names as text, whatever they look like."""
    text = dict.fromkeys(("path", "label", "patient"), str)
    return pd.read_csv(file, dtype=text, keep_default_na=False)
