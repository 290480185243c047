"""Folders and archives of images as people have them."""

import io
import unicodedata
import zipfile

import numpy as np
import pytest
from PIL import Image

from support.samples import NUMBERS, data_error, study_of
from xnn.data.archive import label_of
from xnn.data.wrangling import wrangle

TEXTURES = ["brick", "grass"]


def film(seed, kind="PNG", size=40, mode="L", **options):
    """Bytes of a small image of noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (size, size), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(file, kind, **options)
    return file.getvalue()


def films(*patterns, count=6, seed=0):
    """Different images under names with a {} for the number."""
    names = [pattern.format(number) for pattern in patterns for number in range(count)]
    return {name: film((seed, number)) for number, name in enumerate(names)}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Call with files to make a folder of them; the study of it is returned, with patterns of patients."""

    def study(files, patient=(), classes=TEXTURES, labels=None, **values):
        folder = tmp_path / f"images{next(NUMBERS)}"
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        monkeypatch.setenv("ARCHIVE", str(folder))
        archive = {"patient": list(patient), "labels": labels}
        return study_of(archive=archive, classes=list(classes), healthy=classes[0], **values)

    return study


# ---- identity -----------------------------------------------------------------------------------


@pytest.mark.parametrize("patient", [(), (r"^(p\d+)_",)])
@pytest.mark.parametrize("places", [TEXTURES, ["train/brick", "train/grass", "test/brick", "test/grass"]])
def test_files_numbered_afresh_in_each_folder_are_other_images_and_patients(own, patient, places):
    files = films(*(f"{place}/p{{:02}}_{image}.png" for place in places for image in (0, 1)))
    records, aside = wrangle(own(files, patient))
    assert sorted(records.path) == sorted(files)
    assert aside.empty
    assert records.patient.nunique() == len(files) / (2 if patient else 1)
    assert (records.groupby("patient").label.nunique() == 1).all()
    assert records.group.nunique() == records.patient.nunique()


def test_numbers_of_patients_that_go_on_through_all_folders_name_one_patient(own):
    """As no file name stands for two images, p00 with both diagnoses is one patient."""
    records = wrangle(own(films("brick/p{:02}_0.png", "grass/p{:02}_1.png"), [r"^(p\d+)_"])).records
    assert sorted(set(records.patient)) == [f"p{number:02}" for number in range(6)]
    assert (records.groupby("patient").split.nunique() == 1).all()


def test_equal_content_of_two_classes_is_set_aside_whatever_its_name(own):
    files = films("brick/{}.png", "grass/{}.png") | {"brick/a.png": film(99), "grass/b.png": film(99)}
    records, aside = wrangle(own(files))
    assert list(aside.path) == ["brick/a.png", "grass/b.png"]
    assert aside.reason.str.contains("two classes for one content: brick and grass").all()
    assert len(records) == 12


# ---- labels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "classes", "label"),
    [
        ("non-COVID/Non-Covid (1).png", ["COVID", "non-COVID"], "non-COVID"),
        ("COVID/Covid (1).png", ["COVID", "non-COVID"], "COVID"),
        ("Non-Covid (1).png", ["COVID", "non-COVID"], "non-COVID"),
        ("Viral Pneumonia/Viral Pneumonia-1.png", ["Pneumonia", "Viral Pneumonia"], "Viral Pneumonia"),
        ("viral_pneumonia/1.png", ["Pneumonia", "Viral Pneumonia"], "Viral Pneumonia"),
        ("viral pneumonia 1.png", ["Pneumonia", "Viral Pneumonia"], "Viral Pneumonia"),
        ("COVID/images/normal-1.png", ["COVID", "Normal"], "COVID"),
        ("ill/healthy/ill_1.png", ["healthy", "ill"], "healthy"),
        ("PNEUMONIA/person1_bacteria_1.jpeg", ["bacteria", "virus"], "bacteria"),
        (unicodedata.normalize("NFD", "SARCOÏDOSE/1.png"), ["sarcoïdose", "x"], "sarcoïdose"),
        ("sarcoïdose/1.png", [unicodedata.normalize("NFD", "Sarcoïdose"), "x"], "Sarcoi\u0308dose"),
        ("STRASSE/1.png", ["Straße", "x"], "Straße"),
        ("1/7.png", ["1", "7"], "1"),
        ("+/7.png", ["+", "-"], "+"),
    ],
)
def test_the_deepest_folder_gives_the_class_and_the_name_where_none_does(path, classes, label):
    assert label_of(path, classes) == label


def test_masks_and_thumbnails_beside_the_images_are_listed(own):
    files = films("brick/images/{}.png", "grass/images/{}.png")
    others = films("brick/masks/{}.png", "grass/images/{}_mask.png", "grass/thumbnails/{}.png", count=3)
    records, aside = wrangle(own(files | others))
    assert sorted(records.path) == sorted(files)
    assert sorted(aside.path) == sorted(others)
    assert set(aside.reason) == {"a mask or thumbnail: no radiograph"}
    assert label_of("with_mask/with_mask_1.png", ["with_mask", "without_mask"]) == "with_mask"


# ---- a table of labels --------------------------------------------------------------------------

CHEXPERT = "train/patient{:05}/study1/view1_frontal.png"


def table(files, columns="path,label", **more):
    """A CSV table of the files: every other one is brick."""
    rows = [[name, TEXTURES[number % 2]] for number, name in enumerate(files)]
    cells = [[*row, *(each[number] for each in more.values())] for number, row in enumerate(rows)]
    return "\n".join([",".join(["path", "label", *more]), *map(",".join, cells)]).encode("utf-8-sig")


def test_labels_come_from_a_table_and_patients_from_the_path(own):
    files = films(CHEXPERT, CHEXPERT.replace("study1", "study2"), count=10)
    study = own(files | {"labels.csv": table(files)}, [r"(patient\d+)/"], labels="labels.csv")
    records, aside = wrangle(study)
    assert aside.empty
    assert records.label.value_counts().to_dict() == {"brick": 10, "grass": 10}
    assert sorted(set(records.patient)) == [f"patient{number:05}" for number in range(10)]
    assert (records.groupby("patient").split.nunique() == 1).all()
    assert set(records.source_split) == {"train"}


def test_a_table_gives_patients_and_splits_too(own, root):
    files = films("images/{}.png", count=24)
    patients = [f"{number // 2}" for number in range(24)]
    splits = ["test" if number < 8 else "train" for number in range(24)]
    rows = [
        f"{name.replace('/', chr(92))},{TEXTURES[number // 2 % 2].upper()}"
        for number, name in enumerate(files)
    ]
    lines = ["path,label,patient,split", *map(",".join, zip(rows, patients, splits, strict=True))]
    (root / "mine.csv").write_text("\n".join(lines))
    records, aside = wrangle(own(files, labels="mine.csv", split="official"))
    assert aside.empty
    assert sorted(records.patient) == sorted(patients)
    assert ((records.split == "test") == (records.source_split == "test")).all()
    assert (records.split == "test").sum() == 8


def test_a_table_beside_the_images_names_them_from_there(own):
    files = films("set/images/{}.png", count=12)
    content = table([name.removeprefix("set/") for name in files])
    assert len(wrangle(own(files | {"set/labels.csv": content}, labels="set/labels.csv")).records) == 12


def test_files_and_rows_without_each_other_are_listed(own):
    files = films("{}.png", count=12)
    content = table(files) + b"\ngone.png,brick\nodd.png,stone"
    more = {"labels.csv": content, "odd.png": film(50), "extra.png": film(51)}
    records, aside = wrangle(own(files | more, labels="labels.csv"))
    assert len(records) == 12
    assert dict(zip(aside.path, aside.reason, strict=True)) == {
        "extra.png": "no class: labels.csv has no label for it",
        "odd.png": "no class: labels.csv has the label 'stone' for it",
        "gone.png": "no such file: labels.csv names it",
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "archive.labels: no table labels.csv in "),
        (b"", "no CSV table with columns path and label: No columns"),
        (b"path;label\na;b", "no CSV table with columns path and label"),
        (b"path,label\na,b,c,d\ne,f,g,h,i,j", "no CSV table with columns path and label"),
        (b"path,label\n\xff,b", "no CSV table with columns path and label"),
        (b"path,label,split\n0.png,brick,dev", "split 'dev' is none of train, val, test"),
        (b"path,label\n0.png,brick\n0.png,grass", "two rows for 0.png"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(own, content, said):
    files = films("{}.png") | ({} if content is None else {"labels.csv": content})
    message = data_error(wrangle, own(files, labels="labels.csv"))
    assert "archive.labels: " in message
    assert said in message


# ---- too few patients ---------------------------------------------------------------------------


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.1, 0.1, 0.8), (0.98, 0.01, 0.01)])
@pytest.mark.parametrize("set_aside", [0, 1, 3])
@pytest.mark.parametrize("split", ["patient", "image", "official"])
def test_the_number_of_patients_that_a_class_needs_is_enough_and_one_less_is_not(
    own, split, set_aside, fractions
):
    needed = (2 if split == "official" else 3) + set_aside
    tests = films("test/brick/t{}_0.png", "test/grass/t{}_0.png", seed=1) if split == "official" else {}
    for count in (needed, needed - 1):
        # the patients of grass have more and more images
        names = [
            f"train/grass/g{number}_{image}.png" for number in range(count) for image in range(number + 1)
        ]
        files = {name: film(100 + seed) for seed, name in enumerate(names)}
        files |= tests | films("train/brick/p{}_0.png", count=20)
        study = own(files, [r"^(\w+)_"], split=split, set_aside=set_aside, fractions=fractions)
        if count == needed:
            records = wrangle(study).records
            parts = {"train", "val", "test", *(["example"] if set_aside else [])}
            assert (records.groupby("label").split.agg(set) == parts).all()
            examples = records[records.split == "example"].groupby("label").patient.nunique()
            assert set(examples) == ({set_aside} if set_aside else set())
        else:
            message = data_error(wrangle, study)
            assert f"class 'grass' has {count} patients, at least {needed} are needed" in message


SIXTEEN = io.BytesIO()
Image.fromarray(np.full((40, 40), 999, np.uint16)).save(SIXTEEN, "PNG")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (film(0, size=20), "too small: 20 x 20 pixels, at least 32 per side are needed"),
        (SIXTEEN.getvalue(), "(16 bits or more): export it with 8 bits per channel"),
        (film(0, "WEBP"), "not a JPEG or PNG image, but WebP: convert it to PNG"),
        (film(0, "TIFF"), "not a JPEG or PNG image, but TIFF: convert it to PNG"),
        (b"\0\0\0\x18ftypheic" + bytes(50), "not a JPEG or PNG image, but HEIC or AVIF: convert it to PNG"),
        (POINTER, "a pointer of Git LFS: run `git lfs pull`"),
        (bytes(128) + b"DICM" + bytes(99), "but DICOM: convert it to PNG (only the app reads it"),
        (film(7), "two classes for one content: brick and grass; keep the right one"),
    ],
)
def test_a_class_without_enough_patients_says_what_was_found_and_the_commonest_reason(own, content, reason):
    bad = {f"grass/p{number}_0.png": content for number in range(9)}
    other = {"grass/q1_0.png": b"", "grass/q2_0.png": film(71), "README.md": b"text"}
    files = films("brick/{}.png", count=8) | {"brick/twin.png": film(7)} | bad | other
    message = data_error(wrangle, own(files, [r"(^q|\d)"]))
    assert "class 'grass' has 1 patients, at least 4 are needed" in message
    assert "11 files found, 10 set aside, 9 of them: " in message
    assert reason in message


# ---- patients -----------------------------------------------------------------------------------


def test_a_pattern_that_matches_no_file_is_an_error(own):
    study = own(films("brick/{}.png", "grass/{}.png"), [r"(\d)", r"^(patient\d+)_"])
    message = data_error(wrangle, study)
    assert r"study.yaml: archive.patient: '^(patient\\d+)_' is found in no path" in message
    assert "brick/0.png" in message
    assert not (study.artifacts / "records.csv").exists()


# ---- archives and folders as they are packed ----------------------------------------------------


def test_a_zip_with_backslashes_is_read_as_meant(tmp_path, monkeypatch):
    files = films("train\\brick\\{}.png", "train\\grass\\{}.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("train\\brick\\", b"")
        for name, content in files.items():
            archive.writestr(name, content)
    monkeypatch.setenv("ARCHIVE", str(tmp_path / "a.zip"))
    records, aside = wrangle(study_of(archive={"patient": []}, classes=TEXTURES))
    assert aside.empty
    assert sorted(records.path) == sorted(name.replace("\\", "/") for name in files)
    assert records.label.value_counts().to_dict() == {"brick": 6, "grass": 6}
    assert set(records.source_split) == {"train"}


def test_the_same_tree_twice_is_counted_once(own):
    files = films("set/train/brick/p{}_1.png", "set/train/grass/p{}_1.png", "set/test/grass/p{}_1.png")
    twice = {f"set/{name}": content for name, content in files.items()}
    records, aside = wrangle(own(files | twice, [r"^(p\d)_"]))
    assert len(records) == len(aside) == len(files)
    assert records.sha256.nunique() == len(files)
    assert records.patient.nunique() == 18
    assert set(aside.reason) == {"a copy of a file in another folder"}


def test_links_out_of_the_folder_are_not_followed_and_listed(own, tmp_path):
    study = own(films("brick/{}.png", "grass/{}.png"))
    [folder] = tmp_path.glob("images*")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.png").write_bytes(film(99))
    (folder / "brick/link.png").symlink_to(tmp_path / "outside/secret.png")
    (folder / "grass/more").symlink_to(tmp_path / "outside")
    records, aside = wrangle(study)
    assert len(records) == 12
    assert sorted(aside.path) == ["brick/link.png", "grass/more"]
    assert set(aside.reason) == {"a link that leads out of the folder: not followed"}
    assert aside.reason.value_counts().tolist() == [2]
