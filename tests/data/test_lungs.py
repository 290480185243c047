"""Lung masks are joined by name, and those that do not fit are refused with the reason."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xnn import load_lungs, load_records, load_study
from xnn.config.schema import Study
from xnn.data.archive import Archive, DataError
from xnn.data.lungs import MISSING, join

SIZE = 64


def disk(size=SIZE, radius=0.4) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    return np.hypot(rows, columns) < radius


def png(mask, mode="1") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.uint8(255 * mask)).convert(mode).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def study():
    made = Study(title="masked", source="archive", classes=["a", "b"], image_size=SIZE, name="lungs")
    made.artifacts.mkdir(parents=True, exist_ok=True)
    return made


def records(*names, width=100, height=80) -> pd.DataFrame:
    table = pd.DataFrame({"path": [f"a/{name}.jpeg" for name in names], "width": width, "height": height})
    return table.assign(sha256=[f"{n}" for n in range(len(names))])


def folder(tmp_path, files: dict[str, bytes]) -> Archive:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return Archive(tmp_path)


def test_masks_and_true_sizes_are_joined_by_name(study, tmp_path):
    sizes = b"file,width,height\none.jpeg,1500,900\nstranger.jpeg,1,1\n"
    files = {"masks/one.png": png(disk()), "masks/two.png": png(disk(), "L"), "sizes.csv": sizes}
    table = records("one", "two", "three")
    join(study, table, folder(tmp_path, files))
    found = load_lungs(study, table.iloc[::-1])
    assert found.known.tolist() == [False, True, True]
    np.testing.assert_array_equal(found.masks[2], disk())
    assert found.table.width.tolist() == [100, 100, 1500]
    assert found.table.height.tolist() == [80, 80, 900]
    assert found.table.reason.tolist() == [MISSING, "", ""]


def test_a_mask_of_the_original_s_size_is_resized(study, tmp_path):
    large = np.zeros((80, 100), bool)
    large[:, :50] = True
    table = records("one")
    join(study, table, folder(tmp_path, {"one.png": png(large)}))
    np.testing.assert_array_equal(load_lungs(study, table).masks[0].any(axis=0), np.arange(SIZE) < SIZE / 2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png(disk(50)), "50 x 50"),
        (png(disk() & False), "covers 0%"),
        (png(disk() | True), "covers 100%"),
        (b"not a picture", "no image"),
        (png(disk())[:60], "no image"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused_with_the_reason(study, tmp_path, content, reason):
    table = records("good", "bad")
    join(study, table, folder(tmp_path, {"good.png": png(disk()), "bad.png": content}))
    found = load_lungs(study, table)
    assert found.known.tolist() == [True, False]
    assert reason in found.table.reason[1]
    assert not found.masks[1].any()


def test_a_mask_for_two_radiographs_is_given_to_neither(study, tmp_path):
    table = records("one", "two", "one").assign(path=["a/one.png", "a/two.png", "b/one.png"])
    join(study, table, folder(tmp_path, {"one.png": png(disk()), "two.png": png(disk())}))
    found = load_lungs(study, table)
    assert found.known.tolist() == [False, True, False]
    assert "two radiographs" in found.table.reason[0]


def test_masks_of_another_data_set_are_an_error(study, tmp_path):
    with pytest.raises(DataError, match=f"no mask fits a radiograph: {MISSING}"):
        join(study, records("one"), folder(tmp_path, {"other.png": png(disk())}))
    assert load_lungs(study, records("one")) is None


def test_a_radiograph_with_another_content_loses_its_mask(study, tmp_path):
    table = records("one", "two")
    join(study, table, folder(tmp_path, {f"{name}.png": png(disk()) for name in ("one", "two")}))
    assert load_lungs(study, table.assign(sha256=["0", "other"])).known.tolist() == [True, False]


def test_phantoms_have_the_masks_that_they_were_drawn_with(small):
    study = load_study(small)
    table = load_records(study)
    found = load_lungs(study, table)
    assert found.known.all()
    assert (found.masks.mean((1, 2)) > 0.15).all()
