"""Records and images, read back."""

import errno
import os

import pandas as pd
import pytest

from support.samples import data_error, study_of
from xnn.data import records
from xnn.data.records import load_records


def test_records_that_are_not_there_say_what_to_run():
    message = data_error(load_records, study_of())
    assert "has no records yet: run notebook 1-wrangle or `make report`" in message


def test_a_table_that_cannot_be_written_leaves_the_older_one(tmp_path, monkeypatch):
    file = tmp_path / "table.csv"
    records.write_csv(pd.DataFrame({"a": [1]}), file)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        records.write_csv(pd.DataFrame({"a": [2]}), file)
    assert os.listdir(tmp_path) == ["table.csv"]
    assert file.read_text() == "a\n1\n"


def test_real_radiographs_have_no_masks():
    assert records.load_masks(study_of()) is None
