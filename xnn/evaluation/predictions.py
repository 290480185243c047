"""Tables of predictions: files, reading and checks."""

from pathlib import Path

import numpy as np
import pandas as pd

from ..config.schema import Run
from .scoring import checked

FILES = {"test": "predictions", "val": "validation"}  # stem of the file, by split
KEYS = ["path", "label", "patient"]  # the columns beside one of probabilities per class


def files(run: Run, split: str = "test") -> tuple[Path, Path]:
    """Return the file of a run's predictions on a split, and the file of the key that they belong to."""
    return tuple(run.reports / f"{FILES[split]}.{suffix}" for suffix in ("csv", "json"))


def read(file: Path) -> pd.DataFrame:
    """Return a table of predictions, in the order of paths; keys are text, whatever they look like."""
    table = pd.read_csv(file, dtype=dict.fromkeys(KEYS, str), keep_default_na=False)
    return table.sort_values("path", ignore_index=True)


def predictions_table(records: pd.DataFrame, probabilities, classes) -> pd.DataFrame:
    """Return path, label and patient of the records (N rows), and a column of probabilities per class."""
    table = records[KEYS].reset_index(drop=True)
    _, table[list(classes)] = checked(positions(table, classes), probabilities, classes)
    return table


def arrays(table: pd.DataFrame, classes) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (N,) int, as positions in ``classes``, and probabilities (N, C) of predictions.

    Raises ValueError for no rows, missing columns or cells, a path twice, and values that
    ``scoring.checked`` refuses.
    """
    labels = positions(table, classes, also=classes)
    return checked(labels, table[list(classes)].to_numpy(), classes)


def positions(table: pd.DataFrame, classes, also=()) -> np.ndarray:
    """Return the label of each row as its position in ``classes``; raise ValueError for a bad table."""
    needed = [*KEYS, *also]
    if missing := [column for column in needed if column not in table]:
        raise ValueError(f"predictions lack the columns {missing}")
    if table[needed].isna().any(axis=None):
        raise ValueError("predictions have empty cells")
    if table["path"].duplicated().any():  # their order would be undefined
        raise ValueError("predictions have a path twice")
    if unknown := sorted(set(table["label"]) - set(classes)):
        raise ValueError(f"unknown labels {unknown}; the classes are {list(classes)}")
    return pd.Index(list(classes)).get_indexer(table["label"])
