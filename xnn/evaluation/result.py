"""The content of metrics.json, from the predictions of a run."""

import pandas as pd

from ..config.schema import Run
from . import calibration, conformal, groups, intervals


def evaluated(run: Run, test: pd.DataFrame, validation: pd.DataFrame, sizes) -> dict:
    """Return the results of a run: those of ``intervals.metrics`` on the test split, and more.

    validation: the same scores on validation, with worst_group_accuracy: a run is chosen by these alone.
    worst_group_accuracy (of the test split, null where no sizes are recorded), calibration, conformal.
    ``sizes`` are those of the originals, as ``groups.by_size`` takes them.
    """
    classes, how = run.study.classes, (run.evaluation.resamples, run.seed)
    by_size = groups.by_size(run.study, {"val": validation, "test": test}, sizes, *how)
    chosen_by = intervals.metrics(validation, classes, "val", *how)["scores"]
    return {
        "study": run.study.name,
        "run": run.name,
        **intervals.metrics(test, classes, "test", *how),
        "worst_group_accuracy": groups.worst(by_size, "test"),
        "validation": {**chosen_by, "worst_group_accuracy": groups.worst(by_size, "val")},
        "calibration": calibration.report(test, validation, classes, *how),
        "conformal": conformal.report(test, validation, classes, *how),
    }
