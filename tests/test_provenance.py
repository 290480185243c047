import json

import pytest

from xnn import load_run, load_study, provenance


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
