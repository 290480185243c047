"""Audit of a study's radiographs: duplicates, likely label errors, and what file sizes give away."""

import io
from typing import NamedTuple

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import triu
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors

from ..config.files import load_study
from ..config.schema import Study
from ..data.archive import SPLITS, DataError
from ..data.lungs import load_lungs, masks_source
from ..data.records import file_features, load_images, load_records, write_csv
from ..data.splits import EXAMPLE, connected, split
from . import embedding
from .embedding import Embedding

ALIKE = 25  # nearest pairs of two classes that are kept
# Two chest radiographs may differ in 2 of 64 bits of their perceptual hashes, so pixels decide as well:
# thumbnails of two radiographs correlate by 0.975 at most, those of altered copies by 0.989 at least.
BITS, CORRELATION = 10, 0.98
FOLDS = 5


class Audit(NamedTuple):
    """The results of an audit."""

    table: pd.DataFrame  # one row per record; the columns of audit.csv
    pairs: pd.DataFrame  # duplicates, as from `pairs`
    alike: pd.DataFrame  # the nearest pairs of two classes: first, second, cosine
    embedding: Embedding


def explore(study: Study) -> Audit:
    """Return the audit of a study, and write its table to ``audit.csv`` in the study's artifacts.

    Columns: path; patient_images; duplicate_group ("" for none); other (path of the nearest image of another
    class) and cosine; x and y (a map of the embedding); a probability per class; guess, confidence,
    label_quality and suspect (see `label_errors`).
    """
    records, images = load_records(study), load_images(study)
    embedded = embedding.embed(study, records)
    duplicates = pairs(records, images)
    nearest = nearest_of_another_class(records, embedded.values)
    probabilities = out_of_fold(embedded.values, records, study)
    table = records[["path"]].assign(
        patient_images=records.groupby("patient").path.transform("size"),
        duplicate_group=duplicate_groups(duplicates, records),
        other=records.path.to_numpy()[nearest.other],
        cosine=nearest.cosine,
    )
    table[["x", "y"]] = embedding.plane(embedded.values)
    table[study.classes] = probabilities
    table = table.join(label_errors(records, probabilities, study))
    write_csv(table.round(5), study.artifacts / "audit.csv")
    return Audit(table, duplicates, closest_pairs(nearest, ALIKE), embedded)


def load_audit(study: Study) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the study's audit.csv and embedding (N, D); raise DataError if 2-explore has not made them."""
    file = study.artifacts / "audit.csv"
    if not file.exists():
        raise DataError(f"study {study.name} has no audit yet: run notebook 2-explore or `make report`")
    texts = dict.fromkeys(("path", "duplicate_group", "other", "guess"), str)
    table = pd.read_csv(file, dtype=texts, keep_default_na=False)
    return table, np.load(study.artifacts / "embedding.npz")["values"]


# ---- tables and words for the page ---------------------------------------------------------------


def composition(records: pd.DataFrame) -> pd.DataFrame:
    """Return images and patients of each class in each split, and in all, as text for the data card."""
    margins = {"margins": True, "margins_name": "all"}
    images = pd.crosstab(records.split, records.label, **margins)
    patients = pd.crosstab(records.split, records.label, records.patient, aggfunc="nunique", **margins)
    patients = patients.reindex_like(images).fillna(0).astype(int)
    table = images.astype(str) + patients.map(lambda n: f" ({n} patient{'s' * (n != 1)})")
    return table.reindex([name for name in (*SPLITS, EXAMPLE, "all") if name in table.index])


def split_table(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Return the split of each image under this study's protocol and those that it is compared with.

    Columns: file (its name), label, patient, one per protocol (`patient split`, `image split`),
    duplicate_group (the name of its first file, "" for none), likelier_class, label_quality and
    doubtful_label (of `label_errors`), and where there are lung masks true_width and true_height (pixels of
    the original) and mask_id (the publisher's, whose files have no other name). The protocols split the same
    radiographs, so the splits of the others follow from these records.
    """
    records = load_records(study)
    result = records[["label", "patient"]].copy()
    result.insert(0, "file", records.path.str.rsplit("/", n=1).str[-1])
    for each in (study, *map(load_study, study.compare_with)):
        result[f"{each.split} split"] = records.split if each is study else split(records, each)
    result["duplicate_group"] = table.duplicate_group.str.rsplit("/", n=1).str[-1]
    result["likelier_class"], result["doubtful_label"] = table.guess, table.suspect
    result["label_quality"] = table.label_quality.round(4)
    if lungs := load_lungs(study, records):
        sizes = lungs.table.loc[lungs.known, ["width", "height"]]  # the others have those of the copy
        sizes = sizes.reindex(lungs.table.index).set_axis(records.index)
        result = result.join(sizes.astype("Int64").add_prefix("true_")).join(mask_ids(), on="file")
    return result.sort_values("file", ignore_index=True)


def mask_ids() -> pd.Series:
    """Return the publisher's id of each lung mask by its radiograph's name, from the table in ``MASKS``."""
    source = masks_source()
    tables = [name for name in source.names() if name.lower().endswith(".csv")] if source else []
    ids = [pd.read_csv(io.BytesIO(source.read(name))) for name in tables]
    known = next(
        (each for each in ids if {"file", "v7_id"} <= set(each)), pd.DataFrame(columns=["file", "v7_id"])
    )
    return known.set_index("file").v7_id.astype("Int64").rename("mask_id")


def verdict(study: Study, records: pd.DataFrame, found: Audit, sizes: pd.Series | None) -> str:
    """Return what was found of duplicates, labels and file sizes (of `size_scores`), in words."""
    pairs, suspect = found.pairs, found.table.suspect
    kinds = " and ".join(f"{(pairs.kind == kind).sum()} {kind}" for kind in ("exact", "near"))
    apart = {name: (~pairs[f"same_{name}"]).sum() for name in ("patient", "label", "split")}
    crossed = suspect & ((records.label == study.healthy) != (found.table.guess == study.healthy))
    words = (
        f"Duplicates: {kinds} pairs; {apart['patient']} join two patients, {apart['label']} two classes, "
        f"{apart['split']} two splits. Likely label errors: {suspect.sum()} ({suspect.mean():.1%}), "
        f"{crossed.sum()} of them between {study.healthy} and another class."
    )
    if sizes is None:
        return words
    words += (
        f" File sizes alone ({sizes['columns']}) predict the class of {sizes.accuracy:.0%} of the images; "
        f"the most frequent class has {sizes.most_frequent:.0%}."
    )
    if "auroc_pneumonia" in sizes:
        words += f" They predict pneumonia with an AUROC of {sizes.auroc_pneumonia:.2f}."
    return words


# ---- duplicates ----------------------------------------------------------------------------------


def pairs(records: pd.DataFrame, images) -> pd.DataFrame:
    """Return pairs of records with the same content (exact) or the same picture (near), most alike first.

    Recompressed, resized and brighter copies are found; cropped, shifted and mirrored ones are not. A row has
    first and second (positions of the records), kind, correlation (of thumbnails), bits (in which the
    perceptual hashes differ), same_label, same_patient and same_split.
    """
    small = embedding.thumbnails(images, records.row).reshape(len(records), -1)
    small = embedding.unit(small - small.mean(axis=1, keepdims=True))
    search = NearestNeighbors(radius=1 - CORRELATION, metric="cosine", algorithm="brute").fit(small)
    found = np.stack(triu(search.radius_neighbors_graph(), k=1).nonzero()).astype(int)
    hashes = perceptual_hashes(images, records.row)
    bits = (hashes[found[0]] != hashes[found[1]]).sum(axis=1)
    first, second = found[:, bits <= BITS]
    one, other = (records.iloc[each].reset_index(drop=True) for each in (first, second))
    table = {
        "first": first,
        "second": second,
        "kind": np.where(one.sha256 == other.sha256, "exact", "near"),
        "correlation": (small[first] * small[second]).sum(axis=1),
        "bits": bits[bits <= BITS],
    }
    table |= {f"same_{name}": one[name] == other[name] for name in ("label", "patient", "split")}
    order = ["correlation", "first", "second"]
    return pd.DataFrame(table).sort_values(order, ascending=[False, True, True], ignore_index=True)


def perceptual_hashes(images, rows) -> np.ndarray:
    """Return the pHash (N, 64) bool of grey images: the signs of their low frequencies."""
    return np.stack([imagehash.phash(Image.fromarray(images[row])).hash.ravel() for row in rows])


def duplicate_groups(found: pd.DataFrame, records: pd.DataFrame) -> pd.Series:
    """Return the duplicate group of each record: the first path in it; "" without duplicates."""
    group = pd.Series(connected(found["first"], found["second"], len(records)), index=records.index)
    paths = records.path.groupby(group)
    return paths.transform("min").where(paths.transform("size") > 1, "")


def nearest_of_another_class(records: pd.DataFrame, values: np.ndarray) -> pd.DataFrame:
    """Return for each record the nearest one of another class in an embedding (N, D): other and cosine."""
    labels = records.label.to_numpy()
    other, cosine = np.empty(len(records), int), np.empty(len(records))
    for label in np.unique(labels):
        here, there = np.flatnonzero(labels == label), np.flatnonzero(labels != label)
        search = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(values[there])
        distance, place = search.kneighbors(values[here])
        other[here], cosine[here] = there[place[:, 0]], 1 - distance[:, 0]
    return pd.DataFrame({"other": other, "cosine": cosine}, index=records.index)


def closest_pairs(nearest: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the `count` pairs of `nearest_of_another_class` with the highest cosine, each once."""
    ends = np.sort(np.column_stack([np.arange(len(nearest)), nearest.other]), axis=1)
    table = pd.DataFrame({"first": ends[:, 0], "second": ends[:, 1], "cosine": nearest.cosine.to_numpy()})
    table = table.sort_values(["cosine", "first", "second"], ascending=[False, True, True])
    return table.drop_duplicates(["first", "second"]).head(count)


# ---- labels --------------------------------------------------------------------------------------


def out_of_fold(features, records: pd.DataFrame, study: Study, classifier=None) -> np.ndarray:
    """Return the probabilities (N, C) of the study's classes, by a classifier that never saw the group.

    The default classifier, a logistic regression, is for features of length 1.
    """
    classifier = classifier or LogisticRegression(C=10, max_iter=2000)
    fewest = records.groupby("label").group.nunique().min()
    folds = StratifiedGroupKFold(min(FOLDS, fewest), shuffle=True, random_state=study.seed)
    labels = records.label.map(study.classes.index).to_numpy()
    return cross_val_predict(
        classifier, features, labels, groups=records.group, cv=folds, method="predict_proba"
    )


def label_errors(records: pd.DataFrame, probabilities: np.ndarray, study: Study) -> pd.DataFrame:
    """Return likely label errors (cleanlab), from out-of-fold probabilities.

    Columns: guess (the most probable class), confidence (its probability), label_quality (the probability of
    the given label) and suspect (whether cleanlab counts the label as an error: another class is more
    probable than on average for images of that class).
    """
    from cleanlab.filter import find_label_issues

    labels = records.label.map(study.classes.index).to_numpy()
    return pd.DataFrame(index=records.index).assign(
        guess=np.array(study.classes)[probabilities.argmax(axis=1)],
        confidence=probabilities.max(axis=1),
        label_quality=probabilities[np.arange(len(labels)), labels],
        suspect=find_label_issues(labels, probabilities, filter_by="confident_learning", n_jobs=1),
    )


def size_scores(records: pd.DataFrame, study: Study) -> pd.Series | None:
    """Return how well gradient-boosted trees predict the class from file sizes alone, out of fold.

    The series has columns (those used), accuracy, most_frequent (the share of the most frequent class),
    f1_macro, and auroc_pneumonia if there is a healthy class. None if all sizes are equal.
    """
    table = file_features(records)
    if table.empty:
        return None
    trees = HistGradientBoostingClassifier(random_state=study.seed)
    found = out_of_fold(table.to_numpy(), records, study, trees)
    predicted = np.array(study.classes)[found.argmax(axis=1)]
    scores = {
        "columns": ", ".join(table.columns),
        "accuracy": (predicted == records.label).mean(),
        "most_frequent": records.label.value_counts(normalize=True).max(),
        "f1_macro": f1_score(records.label, predicted, average="macro"),
    }
    if study.healthy in study.classes:
        healthy = found[:, study.classes.index(study.healthy)]
        scores["auroc_pneumonia"] = roc_auc_score(records.label != study.healthy, 1 - healthy)
    return pd.Series(scores)
