"""Results of a sweep: one row per run, and means over seeds."""

import json
from typing import Any

import pandas as pd

from ..config.schema import Run
from ..config.sweep import Sweep


def results(sweep: Sweep) -> pd.DataFrame:
    """One row a run that has been evaluated, in the file's order.

    Columns: run (its point), setting, the varied values by their short names, validation (F1 of the epoch
    that was kept, weighted by class), value, low and high (weighted F1 on the test split), epochs, minutes.
    """
    rows = []
    for point, run in zip(sweep.expanded(), sweep.runs(), strict=True):
        if not (run.reports / "metrics.json").exists():
            continue
        metrics, record = (
            json.loads((run.reports / name).read_text()) for name in ("metrics.json", "training.json")
        )
        rows.append(
            {
                "run": point.name,
                "setting": point.setting,
                **{short: value_of(run, key) for key, short in sweep.varied.items()},
                "validation": max(row["val_f1"] for row in record["history"]),
                **metrics["scores"]["f1_weighted"],
                "epochs": len(record["history"]),
                "minutes": round(sum(row["seconds"] for row in record["history"]) / 60, 2),
            }
        )
    return pd.DataFrame(rows)


def value_of(run: Run, key: str) -> Any:
    """The value of a dotted key."""
    found = run
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else getattr(found, part, None)
    return found if isinstance(found, int | float | str | None) else json.dumps(found)


def by_setting(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``results`` as one a setting, the best on validation first: means over seeds, and their spread.

    Columns: seeds, validation, test (means), sd (of the test score, n - 1; NaN of one seed), lowest, highest,
    half_width (half the mean length of the 95 % intervals: what another draw of patients would do).
    """
    groups = table.assign(half=(table.high - table.low) / 2).groupby("setting", sort=False)
    found = groups.agg(
        seeds=("run", "size"),
        validation=("validation", "mean"),
        test=("value", "mean"),
        sd=("value", "std"),
        lowest=("value", "min"),
        highest=("value", "max"),
        half_width=("half", "mean"),
    )
    return found.sort_values("validation", ascending=False, kind="stable")
