import json

import pytest

from xnn import load_run, load_study, provenance

SOURCE = '''"""Words."""
import os  # why

X = "# no comment"


def f(a):
    """More words."""
    return a  # and more
'''


def test_words_do_not_change_the_hash_of_code():
    other = (
        SOURCE.replace("Words", "Others")
        .replace("# why", "")
        .replace("\n\n\n", "\n")
        .replace("and more", "-")
    )
    assert provenance._code(other) == provenance._code(SOURCE)


@pytest.mark.parametrize(("old", "new"), [("return a", "return -a"), ("# no", "# a"), ("def f", "def g")])
def test_code_does(old, new):
    assert provenance._code(SOURCE.replace(old, new)) != provenance._code(SOURCE)


def test_every_module_can_be_hashed():
    names = [file.stem for file in provenance.PACKAGE.glob("*.py")]
    assert len({provenance.code_sha256(name) for name in names}) == len(names)


def test_a_stamp_has_what_the_contract_names(small):
    wanted = {
        *("commit", "dirty", "params_sha256", "records_sha256", "seed"),
        *("versions", "device", "started", "seconds"),
    }
    for subject in (load_study(small), load_run(small, "plain")):
        stamp = provenance.timed(provenance.stamp(subject))
        assert set(stamp) == wanted
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
