"""What metrics.json holds beyond the scores on the test split."""

import pandas as pd

from ..config.schema import Run
from . import calibration, conformal, groups, intervals


def further(run: Run, test: pd.DataFrame, validation: pd.DataFrame, sizes) -> dict:
    """Return more results of a run, from its predictions on both splits.

    validation: the same scores on validation; a run is chosen by these alone. worst_group_accuracy and
    auroc_misleading: of the test split, and in validation of that; None where ``sizes``, those of the
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
    scores = intervals.metrics(validation, classes, "val", *how)["scores"]
    return {
        **by_split["test"],
        "validation": scores | by_split["val"],
        "calibration": calibration.report(test, validation, classes, *how),
        "conformal": conformal.report(test, validation, classes, *how),
    }
