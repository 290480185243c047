"""Parts of radiographs: what is removed is gone, and what is kept is unchanged."""

import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xnn.config.schema import Study
from xnn.data import phantom, regions
from xnn.data.archive import DataError
from xnn.data.images import write_images
from xnn.data.lungs import MISSING, store


@pytest.fixture(scope="module")
def drawn():
    return phantom.draw("bacteria", 3, 0, 96, seed=0)


def test_a_lesion_lies_in_the_lungs():
    for label in ("bacteria", "virus"):
        for patient in range(8):
            each = phantom.draw(label, patient, 0, 96, seed=0)
            assert (each.mask & each.lungs).sum() > 0.95 * each.mask.sum()
            assert 0.15 < each.lungs.mean() < 0.5


@pytest.mark.parametrize("fill", regions.FILLS)
@pytest.mark.parametrize("name", [name for name in regions.INPUTS if name not in regions.UNFILLED])
def test_nothing_of_a_removed_part_is_left(drawn, name, fill):
    """A part filled in one image is filled alike in another that differs only there."""
    kept = regions.part(drawn.image, drawn.lungs, name, fill) == drawn.image
    removed = regions._removed(drawn.lungs, name)
    assert kept[~removed].all()
    other = np.where(removed, 255 - drawn.image, drawn.image).astype(np.uint8)
    filled = [regions.part(image, drawn.lungs, name, fill) for image in (drawn.image, other)]
    np.testing.assert_array_equal(*filled)


def test_the_parts_are_what_their_names_say(drawn):
    lungs = drawn.lungs
    sizes = {name: regions._removed(lungs, name).mean() for name in regions.INPUTS[1:-1]}
    assert sizes["lungs_removed"] == lungs.mean() == pytest.approx(1 - sizes["lungs_only"])
    assert sizes["lungs_removed"] < sizes["lungs_removed_wide"]
    assert sizes["lungs_only"] > sizes["lungs_only_wide"]
    rows, columns = np.nonzero(regions.box(lungs))
    assert lungs[rows.min()].any()
    assert lungs[:, columns.max()].any()
    assert set(np.unique(regions.part(drawn.image, lungs, "outline_only"))) == set(regions.OUTLINE)
    assert regions.part(drawn.image, lungs, "whole") is drawn.image


def test_a_margin_is_a_distance():
    mask = np.zeros((112, 112), bool)
    mask[56, 56] = True
    grown = regions.wider(mask)
    assert (grown[56, 60], grown[52, 56], grown[56, 61], grown[59, 59]) == (True, True, False, False)


@given(st.integers(0, 2**32 - 1), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_any_mask_can_be_painted_over(seed, percent):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (32, 32), dtype=np.uint8)
    removed = rng.random((32, 32)) < percent / 100
    filled = regions.inpaint(image, removed)
    assert filled.dtype == np.uint8
    assert (filled[~removed] == image[~removed]).all()


COLUMNS = np.arange(200, dtype=np.uint8) * np.ones((200, 1), np.uint8)  # each pixel's column


@pytest.mark.parametrize(("first", "last", "left", "right"), [(60, 140, 52, 148), (0, 100, 0, 110)])
def test_the_box_of_the_lungs_has_a_margin_of_a_tenth_within_the_image(first, last, left, right):
    lungs = np.zeros((200, 200), bool)
    lungs[first:last, 90:110] = True
    seen = regions.lungs_box(COLUMNS.T, lungs)
    assert seen.shape == (200, 200)
    assert seen[[0, -1], 100] == pytest.approx([left, right], abs=1)
    assert np.abs(seen - (left + (right - left) * (COLUMNS.T + 0.5) / 200 - 0.5)).max() <= 1
    across = regions.lungs_box(COLUMNS, lungs)
    assert across[100, [0, -1]] == pytest.approx([88, 112], abs=1)


@given(st.integers(1, 3000), st.integers(1, 3000))
@settings(max_examples=30, deadline=None)
def test_the_letterbox_has_the_aspect_ratio_of_the_original(width, height):
    seen = regions.letterbox(np.full((224, 224), 200, np.uint8), width, height)
    rows, columns = seen.any(axis=1), seen.any(axis=0)
    assert max(rows.sum(), columns.sum()) == 224
    wanted = 224 * np.array([height, width]) / max(width, height)
    np.testing.assert_allclose([rows.sum(), columns.sum()], np.maximum(wanted, 1), atol=0.51)
    assert (seen[np.ix_(rows, columns)] == 200).all()
    assert abs(np.flatnonzero(rows).mean() + np.flatnonzero(columns).mean() - 223) <= 1  # centred


def test_the_letterbox_of_a_square_original_is_the_whole(drawn):
    np.testing.assert_array_equal(regions.letterbox(drawn.image, 900, 900), drawn.image)


@pytest.fixture
def masked():
    """A study of two masked radiographs and one without a mask, all of which were 1000 x 500 pixels."""
    study = Study(title="regions", source="archive", classes=["a", "b"], image_size=64, name="regions-seen")
    shutil.rmtree(study.artifacts, ignore_errors=True)
    study.artifacts.mkdir(parents=True)
    table = pd.DataFrame({"path": ["one", "two", "three"], "label": "a", "split": "train"})
    table = table.assign(sha256=["1", "2", "3"], row=[2, 0, 1])
    table.to_csv(study.artifacts / "records.csv", index=False)
    images = np.random.default_rng(0).integers(1, 256, (3, 64, 64), np.uint8)
    write_images(study.artifacts / "images.npy", 3, 64, images)
    mask = np.zeros((64, 64), bool)
    mask[20:40, 10:50] = True
    found = [(mask, ""), (mask & False, MISSING), (mask.T, "")]
    store(study, table, np.tile([1000, 500], (3, 1)), found)
    return study, table, images


def test_a_network_sees_its_region_of_the_radiographs_with_a_mask(masked):
    study, _, images = masked
    for region, wanted in {
        "letterbox": regions.letterbox(images[2], 1000, 500),
        "lungs_box": np.array(Image.fromarray(images[2]).resize((64, 64), 2, (6, 18, 54, 42))),
    }.items():
        for _ in range(2):  # made, and kept
            records, seen = regions.load_seen(study, region)
            assert records.path.tolist() == ["one", "three"]
            np.testing.assert_array_equal(seen[records.row[0]], wanted)
    assert not (seen[1] == images[1]).all()
    assert not seen[0].any()


def test_a_letterbox_needs_the_sizes_of_the_originals(masked):
    study, table, _ = masked
    store(study, table, np.full((3, 2), 224), [(np.ones((64, 64), bool), "")] * 3)
    with pytest.raises(DataError, match="width and height beside the lung masks"):
        regions.load_seen(study, "letterbox")
    (study.artifacts / "lungs.csv").unlink()
    with pytest.raises(DataError, match="letterbox needs lung masks"):
        regions.load_seen(study, "letterbox")


def test_unknown_names_are_refused(drawn):
    with pytest.raises(ValueError, match="lungs_removed"):
        regions.part(drawn.image, drawn.lungs, "heart_removed")
    with pytest.raises(ValueError, match="inpainted"):
        regions.part(drawn.image, drawn.lungs, "lungs_removed", "white")
