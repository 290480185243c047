"""The content of metrics.json, from the predictions of a run."""

import pandas as pd

from ..config.schema import Run
from . import calibration, conformal, groups, intervals


def evaluated(run: Run, test: pd.DataFrame, validation: pd.DataFrame, sizes) -> dict:
    """Return the results of a run: those of ``intervals.metrics`` on the test split, and more.

    validation: the same scores on validation; a run is chosen by these alone. worst_group_accuracy and
    auroc_misleading: of the test split, and in validation of that; null where ``sizes``, those of the
    originals for ``groups.quartered``, are not known. calibration and conformal: of those modules.
    """
    classes, how = run.study.classes, (run.evaluation.resamples, run.seed)
    images = groups.quartered(run.study, {"val": validation, "test": test}, sizes)
    by_size = groups.by_size(images, *how)
    by_split = {
        split: {
            "worst_group_accuracy": groups.worst(by_size, split),
            "auroc_misleading": groups.misleading(images, split, *how),
        }
        for split in ("val", "test")
    }
    chosen_by = intervals.metrics(validation, classes, "val", *how)["scores"]
    return {
        "study": run.study.name,
        "run": run.name,
        **intervals.metrics(test, classes, "test", *how),
        **by_split["test"],
        "validation": chosen_by | by_split["val"],
        "calibration": calibration.report(test, validation, classes, *how),
        "conformal": conformal.report(test, validation, classes, *how),
    }
