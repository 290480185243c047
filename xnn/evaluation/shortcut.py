"""The shortcut baseline: scores that file size and brightness alone reach, without a look at the lungs.

Where the sizes of files or images differ by class, a network may learn them instead of the disease.
"""

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from ..config.schema import Study
from .intervals import metrics, predictions_table


def baseline(study: Study, records: pd.DataFrame, features: pd.DataFrame, resamples: int = 2000) -> dict:
    """Scores on the test split of gradient-boosted trees trained on the training split.

    Parameters
    ----------
    features : row for row as the records; ``data.records.file_features``.

    Returns
    -------
    What ``intervals.metrics`` does, and ``features``: the names of those used.
    """
    train, test = records.split == "train", records.split == "test"
    trees = HistGradientBoostingClassifier(random_state=study.seed)
    trees.fit(features[train].to_numpy(), records.label[train])
    found = trees.predict_proba(features[test].to_numpy())
    order = [int(np.flatnonzero(trees.classes_ == name)[0]) for name in study.classes]
    predictions = predictions_table(records[test], found[:, order], study.classes)
    result = metrics(predictions, study.classes, "test", resamples, study.seed)
    return result | {"features": list(features.columns)}
