"""Splits into training, validation and test, with all images of a patient in one of them."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from ..config.schema import Study
from .archive import DataError

EXAMPLE = "example"  # the split of images set aside for the app
FOLDS = 20  # stratified folds that are joined to splits: shares are exact to 5 %


def connected(first, second, count: int) -> np.ndarray:
    """Return the component (count,) int of each of `count` items, which are linked in pairs."""
    links = coo_matrix((np.ones(len(first)), (first, second)), shape=(count, count))
    return connected_components(links, directed=False)[1]


def groups(records: pd.DataFrame) -> np.ndarray:
    """Return the group (N,) int of each record: a patient, or all patients who share an image."""
    patient = pd.factorize(records.patient)[0]
    content = pd.factorize(records.sha256)[0] + patient.max() + 1
    return connected(patient, content, content.max() + 1)[patient]


def split(records: pd.DataFrame, study: Study) -> pd.Series:
    """Return the split of each record: train, val, test, or example for the few set aside for the app.

    By ``patient``, each group stays in one split; by ``image``, it does not (to measure the leakage);
    ``official`` keeps the publishers' test images and takes val from the rest, by patient. All are
    stratified by class and seeded.
    """
    result = pd.Series("", index=records.index)
    result[_examples(records, study)] = EXAMPLE
    train, val, test = study.fractions
    shares = {"test": test, "val": val, "train": train}
    if study.split == "official":
        published = records.source_split == "test"
        if not published.any():
            raise DataError(f"study {study.name}: split: official needs an archive with a test folder")
        result[published & (result == "")] = "test"
        shares = {"val": val / (train + val), "train": train / (train + val)}
    rest = records[result == ""]
    result[rest.index] = _stratified(rest, shares, study)
    return result


def _examples(records: pd.DataFrame, study: Study) -> pd.Index:
    """Return the images to set aside: of patients with the fewest, and not of the publishers' test."""
    pool = records
    if study.split == "official":
        pool = records[~records.source_split.eq("test").groupby(records.group).transform("any")]
    images = pool.groupby("group").path.transform("size")
    fewest = images == images.groupby(pool.label).transform("min")
    patients = pool[fewest].drop_duplicates("group")
    if patients.groupby("label").size().reindex(study.classes, fill_value=0).min() < study.set_aside:
        raise DataError(
            f"study {study.name}: set_aside: some class has fewer than {study.set_aside} patients with the "
            "fewest images; set it lower, or to 0"
        )
    chosen = patients.groupby("label").sample(study.set_aside, random_state=study.seed)
    return records.index[records.group.isin(chosen.group)]


def _stratified(records: pd.DataFrame, shares: dict[str, float], study: Study) -> np.ndarray:
    """Return the split of each record: stratified folds, joined in turn until each split has its share."""
    units = np.arange(len(records)) if study.split == "image" else records.group.to_numpy()
    counts = pd.Series(units).groupby(records.label.to_numpy()).nunique()
    fewest = counts.reindex(study.classes, fill_value=0).min()
    if fewest < 2:
        raise DataError(f"study {study.name}: too few patients of some class to be split")
    folds = StratifiedGroupKFold(min(FOLDS, int(fewest)), shuffle=True, random_state=study.seed)
    ends = np.round(np.cumsum(list(shares.values())) * folds.n_splits)
    result = np.empty(len(records), object)
    for number, (_, members) in enumerate(folds.split(records, records.label, units)):
        result[members] = list(shares)[int(np.searchsorted(ends, number, side="right"))]
    if missing := set(shares) - set(result):
        raise DataError(f"study {study.name}: too few patients for a {' and a '.join(missing)} split")
    return result
