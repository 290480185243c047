import json
import os
import shutil
import subprocess

import pytest

from xnn import load_run, load_study
from xnn.config import provenance


def test_a_stamp_has_what_the_contract_names(small):
    wanted = {
        *("commit", "dirty", "params_sha256", "records_sha256", "seed"),
        *("versions", "device", "started", "seconds"),
    }
    for subject in (load_study(small), load_run(small, "plain")):
        stamp = provenance.timed(provenance.stamp(subject))
        assert set(stamp) == wanted | {"no_commit"}  # the tests' own project is in no repository
        assert json.loads(json.dumps(stamp)) == stamp
        assert stamp["seconds"] >= 0
        assert "| seed | 0 |" in stamp._repr_markdown_()


def test_a_result_is_never_half_written(tmp_path):
    file = tmp_path / "result.json"
    provenance.write_json({"a": 1}, file)
    with pytest.raises(TypeError):
        provenance.write_json({"a": object()}, file)
    assert json.loads(file.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [file]


def git(folder, *arguments) -> str:
    """What git prints, whatever repository the tests themselves run in."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=outside).stdout.strip()


def repository(folder) -> str:
    """Make a repository of one commit; return the commit."""
    (folder / "xnn").mkdir(parents=True)
    (folder / "xnn/a.py").write_text("A = 1\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "--message", str(folder))
    return git(folder, "rev-parse", "HEAD")


def stamped(monkeypatch, folder) -> dict:
    monkeypatch.setenv("XNN_ROOT", str(folder))
    return provenance._git()


def without_commit(reason) -> dict:
    return {"commit": None, "dirty": None, "no_commit": reason}


def test_a_stamp_has_the_commit_of_the_project_and_whether_files_differ_from_it(tmp_path, monkeypatch):
    commit = repository(tmp_path / "project")
    assert stamped(monkeypatch, tmp_path / "project") == {"commit": commit, "dirty": False}
    (tmp_path / "project/notes.txt").write_text("of no result")
    assert stamped(monkeypatch, tmp_path / "project") == {"commit": commit, "dirty": False}
    (tmp_path / "project/xnn/a.py").write_text("A = 2\n")
    assert stamped(monkeypatch, tmp_path / "project") == {"commit": commit, "dirty": True}


def test_a_repository_that_is_reached_by_a_link_is_the_project_s_own(tmp_path, monkeypatch):
    commit = repository(tmp_path / "project")
    (tmp_path / "link").symlink_to(tmp_path / "project")
    assert stamped(monkeypatch, tmp_path / "link") == {"commit": commit, "dirty": False}


def test_the_commit_of_a_repository_around_the_project_is_not_its_own(tmp_path, monkeypatch):
    repository(tmp_path)
    (tmp_path / "project/xnn").mkdir(parents=True)
    wanted = without_commit("the project is inside another git repository")
    assert stamped(monkeypatch, tmp_path / "project") == wanted


def test_variables_of_git_do_not_lead_to_another_repository(tmp_path, monkeypatch):
    commit, other = (repository(tmp_path / name) for name in ("project", "other"))
    assert commit != other
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other/.git/index"))
    assert stamped(monkeypatch, tmp_path / "project") == {"commit": commit, "dirty": False}
    assert stamped(monkeypatch, tmp_path / "none") == without_commit("not a git repository")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_project_of_another_owner_has_its_commit(tmp_path, monkeypatch):
    commit = repository(tmp_path / "project")
    for path in (tmp_path / "project", *(tmp_path / "project").rglob("*")):
        os.chown(path, 12345, 12345)
    with pytest.raises(subprocess.CalledProcessError, match="128"):
        git(tmp_path / "project", "status")
    assert stamped(monkeypatch, tmp_path / "project") == {"commit": commit, "dirty": False}


def test_a_stamp_without_a_commit_says_why(tmp_path, monkeypatch):
    assert stamped(monkeypatch, tmp_path) == without_commit("not a git repository")
    git(tmp_path, "init", "--quiet")
    assert stamped(monkeypatch, tmp_path) == without_commit("git finds no commit that it can read")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("git") is None
    assert stamped(monkeypatch, tmp_path) == without_commit("git is not installed")


def test_a_result_without_a_value_is_json(tmp_path):
    values = {"a": [1.5, float("nan")], "b": {"c": float("inf")}, "d": (float("-inf"), "x", None)}
    provenance.write_json(values, tmp_path / "result.json")
    text = (tmp_path / "result.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": [1.5, None],
        "b": {"c": None},
        "d": [None, "x", None],
    }
