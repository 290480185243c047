"""Planted copies are found, and radiographs that only look alike are not."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from xnn.data import phantom
from xnn.explore import audit


def jpeg(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=40)
    return Image.open(file)


COPIES = {
    "recompressed": jpeg,
    "resized": lambda image: image.resize((48, 48)).resize(image.size),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
}


@pytest.fixture(scope="module")
def drawn():
    """Thirty phantoms of 30 patients, and a copy of three of them, each altered otherwise."""
    labels = ["bacteria", "normal", "virus"] * 10
    images = [phantom.draw(label, i, 0, 96, 7, "random").image for i, label in enumerate(labels)]
    images += [np.asarray(alter(Image.fromarray(images[i]))) for i, alter in enumerate(COPIES.values())]
    records = pd.DataFrame({"label": [*labels, *labels[:3]], "row": range(33), "split": "train"})
    records["path"] = [f"{i:02d}.png" for i in records.row]
    records["patient"] = records["sha256"] = records.path
    return records, np.stack(images)


def test_altered_copies_are_near_and_nothing_else_is(drawn):
    found = audit.pairs(*drawn)
    assert sorted(zip(found["first"], found["second"], strict=True)) == [(0, 30), (1, 31), (2, 32)]
    assert set(found.kind) == {"near"}
    assert found.same_label.all()
    assert not found.same_patient.any()
    assert (found.correlation >= audit.CORRELATION).all()


def test_the_same_content_is_exact_and_groups_join_pairs(drawn):
    records, images = drawn
    images = images.copy()
    images[[5, 9]] = images[4]
    records = records.assign(sha256=records.sha256.replace({"05.png": "04.png", "09.png": "04.png"}))
    found = audit.pairs(records, images)
    exact = found[found.kind == "exact"]
    assert sorted(zip(exact["first"], exact["second"], strict=True)) == [(4, 5), (4, 9), (5, 9)]
    assert not exact.same_label.any() or exact.same_label.sum() < 3
    group = audit.duplicate_groups(found, records)
    assert set(group.index[group == "04.png"]) == {4, 5, 9}
    assert (group != "").sum() == 9


def test_a_hash_has_64_bits_and_forgets_little(drawn):
    hashes = audit.perceptual_hashes(drawn[1], range(33))
    assert hashes.shape == (33, 64)
    assert (hashes[:3] != hashes[30:]).sum(axis=1).max() <= audit.BITS


def test_no_pair_is_an_empty_table(drawn):
    records, images = drawn
    found = audit.pairs(records[:20], images)
    assert len(found) == 0
    assert (audit.duplicate_groups(found, records[:20]) == "").all()


def test_the_nearest_of_another_class():
    records = pd.DataFrame({"label": ["normal", "normal", "virus", "virus"]}, index=[7, 8, 9, 10])
    angle = np.array([0, 0.1, 0.3, 2])
    values = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    found = audit.nearest_of_another_class(records, values)
    assert found.other.tolist() == [2, 2, 1, 1]
    assert found.cosine.tolist() == pytest.approx(np.cos([0.3, 0.2, 0.2, 1.9]), abs=1e-6)
    pairs = audit.closest_pairs(found, 2)
    assert pairs[["first", "second"]].to_numpy().tolist() == [[1, 2], [0, 2]]
