"""Splits into training, validation and test, with all images of a patient in one of them."""

from pathlib import PurePosixPath

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
    patient, content = (pd.factorize(records[name])[0] for name in ("patient", "sha256"))
    return connected(patient, content + len(records), 2 * len(records) + 1)[patient]


def split(records: pd.DataFrame, study: Study, files: pd.DataFrame | None = None) -> pd.Series:
    """Return the split of each record: train, val, test, or example for the few set aside for the app.

    By ``patient``, each group stays in one split; by ``image``, it does not (to measure the leakage);
    ``official`` keeps the publishers' test images and takes val from the rest, by patient. All are
    stratified by class and seeded. Raises DataError if a class has too few patients, and says why by `files`
    (path, label, reason).
    """
    train, val, test = study.fractions
    shares = {"test": test, "val": val, "train": train}
    published = records.source_split.eq("test") & (study.split == "official")
    if study.split == "official":
        shares = {"val": val / (train + val), "train": train / (train + val)}
        if not published.any():
            raise DataError(f"study {study.name}: split: official needs an archive with a test folder")
    needed = len(shares) + study.set_aside
    free = records[~published].groupby("label").group.nunique().reindex(study.classes, fill_value=0)
    if free.min() < needed:
        why = "" if files is None else _account(files, free.idxmin())
        raise DataError(
            f"study {study.name}: class {free.idxmin()!r} has {free.min()} patients, at least {needed} are "
            f"needed ({', '.join(shares)} and {study.set_aside} set aside){why}"
        )
    result = pd.Series("", index=records.index).mask(published, "test")
    result[_examples(records[~published.groupby(records.group).transform("any")], study)] = EXAMPLE
    rest = records[result == ""]
    left = rest.groupby("label").group.nunique().reindex(study.classes, fill_value=0)
    if left.min() >= len(shares):
        result[rest.index] = _stratified(rest, shares, study)
    for part in shares:
        if missing := set(study.classes) - {*records.label[result == part]}:
            raise DataError(
                f"study {study.name}: class {min(missing)!r} has no patient left for {part}: too many of its "
                "patients have other classes as well, or share images"
            )
    return result


def _account(files: pd.DataFrame, label: str) -> str:
    """Return what became of a class's files, or of all where none is of it, and the commonest reason."""
    own, missing = files[files.label == label], ""
    if own.empty:
        folders = sorted({str(PurePosixPath(path).parent) for path in files.path})
        own, missing = files, f"is its folder missing among {', '.join(folders[:8]) or 'none'}? "
    aside = own.reason[own.reason != ""]
    kind = aside.str.split(":").str[0]  # the reason without its details
    often = [f"{count} of them: {aside[kind == each].iloc[0]}" for each, count in kind.value_counts().items()]
    return ", ".join([f": {missing}{len(own)} files found", f"{len(aside)} set aside", *often[:1]])


def _examples(records: pd.DataFrame, study: Study) -> pd.Index:
    """Return the images to set aside: of the patients with the fewest in each class."""
    images = records.groupby("group").path.transform("size")
    patients = records.assign(images=images).drop_duplicates(["label", "group"])
    rank = patients.groupby("label").images.rank(method="min")
    few, state = patients[rank <= max(1, study.set_aside)], np.random.RandomState(study.seed)
    chosen = (
        each.sample(min(study.set_aside, len(each)), random_state=state) for _, each in few.groupby("label")
    )
    return records.index[records.group.isin({group for each in chosen for group in each.group})]


def _stratified(records: pd.DataFrame, shares: dict[str, float], study: Study) -> np.ndarray:
    """Return the split of each record: stratified folds, joined in turn until each split has its share."""
    units = np.arange(len(records)) if study.split == "image" else records.group.to_numpy()
    fewest = pd.Series(units).groupby(records.label.to_numpy()).nunique().min()
    folds = StratifiedGroupKFold(max(len(shares), min(FOLDS, fewest)), shuffle=True, random_state=study.seed)
    ends, order = np.round(np.cumsum(list(shares.values())) * folds.n_splits), np.arange(len(shares))
    ends = np.clip(ends, order + 1, folds.n_splits - order[::-1])  # one fold or more for each split
    result = np.empty(len(records), object)
    for number, (_, members) in enumerate(folds.split(records, records.label, units)):
        result[members] = list(shares)[int(np.searchsorted(ends, number, side="right"))]
    return result
