"""What is known of every radiograph beside its record: a table for the page, for FiftyOne, and for anyone."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ..config.files import load_study
from ..config.schema import Study
from ..data.archive import SPLITS, DataError
from ..data.records import load_images, load_records, write_csv
from ..data.splits import split
from . import duplicates, embedding, suspects
from .embedding import Embedding

ALIKE = 25  # pairs of two classes that are kept


class Explored(NamedTuple):
    """A study's radiographs, looked at."""

    table: pd.DataFrame  # a row a record; the columns of audit.csv
    pairs: pd.DataFrame  # of `duplicates.pairs`
    alike: pd.DataFrame  # the nearest pairs of two classes: first, second, cosine
    embedding: Embedding


def explore(study: Study) -> Explored:
    """Embed a study's radiographs, find duplicates and doubtful labels; write ``audit.csv`` to its artifacts.

    Its columns: path; patient_images; duplicate_group ("" where there is none); other (the path of the
    nearest image of another class) and cosine; x and y (a map of the embedding); a probability each class,
    guess, confidence, label_quality and suspect (see `suspects`).
    """
    records, images = load_records(study), load_images(study)
    embedded = embedding.embed(study, records)
    pairs = duplicates.pairs(records, images)
    others = duplicates.across_classes(records, embedded.values)
    probabilities = suspects.out_of_fold(embedded.values, records, study)
    table = pd.DataFrame(
        {
            "path": records.path,
            "patient_images": records.groupby("patient").path.transform("size"),
            "duplicate_group": duplicates.groups(pairs, records),
            "other": records.path.to_numpy()[others.other],
            "cosine": others.cosine,
        }
    )
    table[["x", "y"]] = embedding.plane(embedded.values)
    table[study.classes] = probabilities
    table = table.join(suspects.suspects(records, probabilities, study))
    write_csv(table.round(5), study.artifacts / "audit.csv")
    return Explored(table, pairs, duplicates.nearest_pairs(others, ALIKE), embedded)


def composition(records: pd.DataFrame) -> pd.DataFrame:
    """Images and patients of each class in each split, and of all, as text for the data card."""
    margins = {"margins": True, "margins_name": "all"}
    images = pd.crosstab(records.split, records.label, **margins)
    patients = pd.crosstab(records.split, records.label, records.patient, aggfunc="nunique", **margins)
    patients = patients.reindex_like(images).fillna(0).astype(int)
    table = images.astype(str) + patients.map(" ({} patients)".format)
    return table.reindex([name for name in (*SPLITS, "example", "all") if name in table.index])


def split_table(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """The split of every image under the study's protocol and those that it is compared with.

    They split the same radiographs, so their splits follow from these records and their parameters.

    Returns
    -------
    file (its name), label, patient, a column a protocol (`patient split`, `image split`) and duplicate_group
    (the name of its first file, "" where there is none): for the public archive, whatever its folders.
    """
    records = load_records(study)
    result = records[["label", "patient"]].copy()
    result.insert(0, "file", records.path.str.rsplit("/", n=1).str[-1])
    for each in (study, *map(load_study, study.compare_with)):
        result[f"{each.split} split"] = records.split if each is study else split(records, each)
    result["duplicate_group"] = table.duplicate_group.str.rsplit("/", n=1).str[-1]
    return result.sort_values("file", ignore_index=True)


def load_audit(study: Study) -> tuple[pd.DataFrame, np.ndarray]:
    """The study's audit.csv and its embedding (N, D); raise DataError where 2-explore has not made them."""
    file = study.artifacts / "audit.csv"
    if not file.exists():
        raise DataError(f"study {study.name} has not been looked at: run notebook 2-explore or `make report`")
    texts = dict.fromkeys(("path", "duplicate_group", "other", "guess"), str)
    table = pd.read_csv(file, dtype=texts, keep_default_na=False)
    return table, np.load(study.artifacts / "embedding.npz")["values"]


def verdict(records: pd.DataFrame, found: Explored, sizes: pd.Series | None) -> str:
    """What was found of duplicates, doubtful labels and sizes (of `suspects.by_size`), in words."""
    pairs, doubtful = found.pairs, found.table.suspect
    torn = {name: int((~pairs[f"same_{name}"]).sum()) for name in ("patient", "label", "split")}
    kinds = " and ".join(f"{(pairs.kind == kind).sum()} {kind}" for kind in ("exact", "near"))
    crossed = doubtful & ((records.label == "normal") != (found.table.guess == "normal"))
    words = (
        f"Duplicates: {kinds} pairs, {torn['patient']} of two patients, {torn['label']} of two classes, "
        f"{torn['split']} in two splits. {doubtful.sum()} labels ({doubtful.mean():.1%}) are doubtful, "
        f"{crossed.sum()} of them between healthy and ill."
    )
    if sizes is not None:
        words += (
            f" File sizes alone ({sizes['columns']}) name the class of {sizes.accuracy:.0%} of the images"
        )
        words += f", the commonest class being {sizes.most_frequent:.0%}"
        if "auroc_pneumonia" in sizes:
            words += f", and tell pneumonia with an AUROC of {sizes.auroc_pneumonia:.2f}"
        words += "."
    return words
