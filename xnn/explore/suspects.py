"""Labels that the other patients' images speak against, and what image sizes alone would tell."""

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from ..config.schema import Study
from ..data.records import file_features

FOLDS = 5


def out_of_fold(features, records: pd.DataFrame, study: Study, classifier=None) -> np.ndarray:
    """(N, C) probabilities of the study's classes for each record, by a classifier of the other folds.

    Folds keep patients whole. Without a classifier: logistic regression, for features of length 1.
    """
    classifier = classifier or LogisticRegression(C=10, max_iter=2000)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=study.seed)
    labels = records.label.map(study.classes.index).to_numpy()
    return cross_val_predict(
        classifier, features, labels, groups=records.group, cv=folds, method="predict_proba"
    )


def suspects(records: pd.DataFrame, probabilities: np.ndarray, study: Study) -> pd.DataFrame:
    """What cleanlab says of each label, from probabilities of a model that never saw its patient.

    Returns
    -------
    Rows as the records: guess (the likeliest class), confidence (its probability), label_quality (the
    probability of the label as it stands, 0 to 1) and suspect (whether cleanlab counts it among the
    errors: another class is likelier than the images of that class find it on average).
    """
    from cleanlab.filter import find_label_issues

    labels = records.label.map(study.classes.index).to_numpy()
    return pd.DataFrame(
        {
            "guess": np.array(study.classes)[probabilities.argmax(axis=1)],
            "confidence": probabilities.max(axis=1),
            "label_quality": probabilities[np.arange(len(labels)), labels],
            "suspect": find_label_issues(labels, probabilities, filter_by="confident_learning", n_jobs=1),
        },
        index=records.index,
    )


def by_size(records: pd.DataFrame, study: Study) -> pd.Series | None:
    """What gradient-boosted trees get out of width, height, aspect and bytes of the files alone.

    Returns
    -------
    columns (those used), accuracy, most_frequent (the accuracy of always naming the commonest class),
    f1_macro, auroc_pneumonia where there is a class normal; out of fold. None where all sizes are alike.
    """
    table = file_features(records)
    if table.empty:
        return None
    trees = HistGradientBoostingClassifier(random_state=study.seed)
    found = out_of_fold(table.to_numpy(), records, study, trees)
    named = np.array(study.classes)[found.argmax(axis=1)]
    scores = {
        "columns": ", ".join(table.columns),
        "accuracy": (named == records.label).mean(),
        "most_frequent": records.label.value_counts(normalize=True).max(),
        "f1_macro": f1_score(records.label, named, average="macro"),
    }
    if "normal" in study.classes:
        ill = records.label != "normal"
        scores["auroc_pneumonia"] = roc_auc_score(ill, 1 - found[:, study.classes.index("normal")])
    return pd.Series(scores)
