"""Whatever an archive holds: sound images become records, the rest has a reason, nothing is written."""

import io
import zipfile

import numpy as np
import pytest

from support import hostile_archives
from support.hostile_archives import DAMAGED
from support.samples import NUMBERS, study_of
from xnn import DataError, wrangle
from xnn.data.archive import LITTER

NOTHING = ("empty", "two in one")  # of two zip files in one, what counts is the second, of three images


@pytest.fixture(scope="module")
def corpus():
    return list(hostile_archives.corpus(160))


@pytest.fixture
def wrangled(tmp_path, monkeypatch):
    """Call with a zip file's bytes: the records and what was set aside, or the one line of a DataError."""

    def ask(data):
        place = tmp_path / f"{next(NUMBERS)}/some/where"
        place.mkdir(parents=True)
        (place / "a.zip").write_bytes(data)
        monkeypatch.setenv("ARCHIVE", str(place / "a.zip"))
        try:
            found = wrangle(study_of(fractions=[0.5, 0.25, 0.25]))
        except DataError as error:
            found = str(error)
            assert len(found.splitlines()) == 1
        assert [file.name for file in place.parents[1].rglob("*") if file.is_file()] == ["a.zip"]
        return found

    return ask


def test_of_an_odd_archive_no_file_is_lost_without_a_word(wrangled, corpus):
    sound = {name for name, _ in hostile_archives.radiographs(np.random.default_rng(0))}
    for kind, data in corpus:
        if kind in (*DAMAGED, *NOTHING):
            continue
        records, aside = wrangled(data)
        names = (name.replace("\\", "/") for name in zipfile.ZipFile(io.BytesIO(data)).namelist())
        names = {name for name in names if not LITTER.search(name)}
        assert names == {*records.path, *aside.path}, kind
        assert aside.reason.str.len().gt(0).all(), kind
        assert sound <= set(records.path) or kind == "one name in two classes", kind


def test_damaged_archives_give_records_or_one_line(wrangled, corpus):
    assert sum(kind in DAMAGED for kind, _ in corpus) > 100
    for kind, data in corpus:
        if kind in (*DAMAGED, *NOTHING):
            found = wrangled(data)
            assert found if isinstance(found, str) else len(found.records) >= 12
