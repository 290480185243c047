"""Images that are there twice, as the same content or the same picture, and those that only look alike.

Recompressed, resized, brighter: those are found. Cropped, shifted and mirrored copies are not.
"""

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import NearestNeighbors

from .embedding import thumbnails, unit

# Two chest radiographs may differ in 2 of 64 bits of their perceptual hashes, so it takes the pixels too:
# small copies of two pictures correlate by 0.975 at most, those of one, altered, by 0.989 at least.
BITS = 10
CORRELATION = 0.98


def perceptual_hashes(images, rows) -> np.ndarray:
    """(N, 64) bool: imagehash's pHash of grey images, a sign for each of their low frequencies."""
    return np.stack([imagehash.phash(Image.fromarray(images[row])).hash.ravel() for row in rows])


def pairs(records: pd.DataFrame, images) -> pd.DataFrame:
    """Pairs of records with one content (exact) or one picture (near), the most alike first.

    Parameters
    ----------
    records : N rows with path, label, patient, split, sha256 and row.
    images : store of grey images, uint8.

    Returns
    -------
    A row a pair: first and second (positions of the records), kind (exact or near), correlation (of small
    copies), bits (in which the hashes differ), and same_label, same_patient and same_split.
    """
    small = thumbnails(images, records.row).reshape(len(records), -1)
    small = unit(small - small.mean(axis=1, keepdims=True))
    search = NearestNeighbors(radius=1 - CORRELATION, metric="cosine", algorithm="brute").fit(small)
    around = search.radius_neighbors(return_distance=False)
    both = np.array([(i, j) for i, found in enumerate(around) for j in found if i < j], int).reshape(-1, 2)
    hashes = perceptual_hashes(images, records.row)
    first, second = both[(hashes[both[:, 0]] != hashes[both[:, 1]]).sum(axis=1) <= BITS].T
    one, other = (records.iloc[each].reset_index(drop=True) for each in (first, second))
    table = {
        "first": first,
        "second": second,
        "kind": np.where(one.sha256 == other.sha256, "exact", "near"),
        "correlation": (small[first] * small[second]).sum(axis=1),
        "bits": (hashes[first] != hashes[second]).sum(axis=1),
    }
    table |= {f"same_{name}": one[name] == other[name] for name in ("label", "patient", "split")}
    order = ["correlation", "first", "second"]
    return pd.DataFrame(table).sort_values(order, ascending=[False, True, True], ignore_index=True)


def groups(found: pd.DataFrame, records: pd.DataFrame) -> pd.Series:
    """Duplicate group of each record, pairs joined: the first path of its images, "" where it is alone."""
    n = len(records)
    joined = coo_matrix((np.ones(len(found)), (found["first"], found["second"])), shape=(n, n))
    group = pd.Series(connected_components(joined, directed=False)[1], index=records.index)
    first = records.path.groupby(group).transform("min")
    return first.where(group.groupby(group).transform("size") > 1, "")


def across_classes(records: pd.DataFrame, values: np.ndarray) -> pd.DataFrame:
    """For each record the image of another class that is nearest in an embedding (N, D).

    Returns
    -------
    Rows as the records: other (its position) and cosine (of the two vectors).
    """
    result = pd.DataFrame({"other": -1, "cosine": np.nan}, index=records.index)
    labels = records.label.to_numpy()
    for label in np.unique(labels):
        here, there = np.flatnonzero(labels == label), np.flatnonzero(labels != label)
        search = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(values[there])
        distance, place = search.kneighbors(values[here])
        result.iloc[here, 0], result.iloc[here, 1] = there[place[:, 0]], 1 - distance[:, 0]
    return result


def nearest_pairs(others: pd.DataFrame, count: int) -> pd.DataFrame:
    """The `count` pairs of `across_classes` with the highest cosine, each once: first, second, cosine."""
    table = others.reset_index(drop=True).rename_axis("first").reset_index()
    ends = np.sort(table[["first", "other"]].to_numpy(), axis=1)
    table["first"], table["second"] = ends.T
    table = table.sort_values(["cosine", "first", "second"], ascending=[False, True, True])
    return table.drop_duplicates(["first", "second"])[["first", "second", "cosine"]].head(count)
