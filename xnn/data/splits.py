"""Which radiographs are for training, validation and test, with no patient in two of them."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from ..config.schema import Study
from .sources import DataError

EXAMPLE = "example"  # the split of the images set aside for the app
FOLDS = 20  # a split is made of this many stratified folds: shares are exact to 5 %


def groups(records: pd.DataFrame) -> np.ndarray:
    """(N,) int: what must not be torn apart. A patient, joined with those who share an image."""
    patient = pd.factorize(records.patient)[0]
    content = pd.factorize(records.sha256)[0] + patient.max() + 1
    n = content.max() + 1
    joined = coo_matrix((np.ones(len(records)), (patient, content)), shape=(n, n))
    return connected_components(joined, directed=False)[1][patient]


def split(records: pd.DataFrame, study: Study) -> pd.Series:
    """Split of each record: train, val, test, or example for the few set aside for the app.

    ``patient`` keeps every group whole, ``image`` does not (to measure what that leaks), and
    ``official`` keeps the archive's own test images and takes val from the rest, by patient.
    Stratified by class and seeded.
    """
    result = pd.Series("", index=records.index)
    result[_examples(records, study)] = EXAMPLE
    train, val, test = study.fractions
    if study.split == "official":
        if not (records.source_split == "test").any():
            raise DataError(f"study {study.name}: split: official needs an archive with a test folder")
        result[(records.source_split == "test") & (result == "")] = "test"
        shares = {"val": val / (train + val), "train": train / (train + val)}
    else:
        shares = {"test": test, "val": val, "train": train}
    rest = records[result == ""]
    result[rest.index] = _stratified(rest, shares, study)
    return result


def _examples(records: pd.DataFrame, study: Study) -> pd.Index:
    """Images to set aside: of patients with as few images as there are, and never of the official test."""
    pool = records
    if study.split == "official":
        pool = records[~records.source_split.eq("test").groupby(records.group).transform("any")]
    images = pool.groupby("group").path.transform("size")
    fewest = images == images.groupby(pool.label).transform("min")
    patients = pool[fewest].drop_duplicates("group")
    if patients.groupby("label").size().reindex(study.classes, fill_value=0).min() < study.set_aside:
        raise DataError(
            f"study {study.name}: set_aside: fewer than {study.set_aside} patients of some class have as few "
            "images as any of it; set it lower, or to 0"
        )
    chosen = patients.groupby("label").sample(study.set_aside, random_state=study.seed)
    return records.index[records.group.isin(chosen.group)]


def _stratified(records: pd.DataFrame, shares: dict[str, float], study: Study) -> np.ndarray:
    """Assign many small stratified folds to splits, in turn, until each has its share."""
    whole = np.arange(len(records)) if study.split == "image" else records.group
    units = pd.Series(whole, index=records.index).groupby(records.label).nunique()
    units = units.reindex(study.classes, fill_value=0).min()
    if units < 2:
        raise DataError(f"study {study.name}: too few patients of some class to be split")
    folds = StratifiedGroupKFold(min(FOLDS, int(units)), shuffle=True, random_state=study.seed)
    ends = np.round(np.cumsum(list(shares.values())) * folds.n_splits)
    result = np.empty(len(records), object)
    for number, (_, members) in enumerate(folds.split(records, records.label, whole)):
        result[members] = list(shares)[int(np.searchsorted(ends, number, side="right"))]
    missing = set(shares) - set(result)
    if missing:
        raise DataError(f"study {study.name}: too few patients for a {' and a '.join(missing)} split")
    return result
