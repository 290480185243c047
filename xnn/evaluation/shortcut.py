"""The shortcut baseline: how far one gets from the file and its brightness, without a look at the lungs.

Where the sizes of files or images differ by class, a network may learn them instead of the disease.
"""

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from ..config.schema import Study
from ..data.records import SIZES, load_images, load_records
from .intervals import metrics, predictions_table


def features(records: pd.DataFrame, images) -> pd.DataFrame:
    """Width, height, aspect and bytes of each record's file, and the mean grey level of its image.

    Columns that are the same everywhere, and so tell nothing, are left out.
    """
    table = records[SIZES].astype(float)
    table["aspect"] = table.width / table.height
    table["mean intensity"] = [images[row].mean() for row in records.row]
    return table.loc[:, table.nunique() > 1]


def baseline(study: Study, resamples: int = 2000) -> dict:
    """Scores of gradient-boosted trees on those features, trained on train and asked about test.

    Returns
    -------
    What ``evaluation.metrics`` does, and ``features``: the names of those used.
    """
    records = load_records(study)
    records = records[records.split.isin(["train", "test"])].reset_index(drop=True)
    table = features(records, load_images(study))
    train, test = records.split == "train", records.split == "test"
    trees = HistGradientBoostingClassifier(random_state=study.seed)
    trees.fit(table[train].to_numpy(), records.label[train])
    found = trees.predict_proba(table[test].to_numpy())
    order = [int(np.flatnonzero(trees.classes_ == name)[0]) for name in study.classes]
    predictions = predictions_table(records[test], found[:, order], study.classes)
    result = metrics(predictions, study.classes, "test", resamples, study.seed)
    return result | {"features": list(table.columns)}
