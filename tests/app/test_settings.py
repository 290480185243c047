import socket

import pytest

from xnn.app import settings


def test_settings_come_from_the_environment(monkeypatch):
    for name, value in {"XNN_PORT": "9", "XNN_HOSTS": "a, b", "XNN_MODEL": "", "PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    found = settings.load()
    assert (found.port, found.hosts, found.model) == (9, ["a", "b"], settings.MODEL)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("XNN_PORT", "many", "XNN_PORT=many: input should be a valid integer"),
        ("XNN_SLOTS", "0", "XNN_SLOTS=0: input should be greater than or equal to 1"),
        ("XNN_READY_SECONDS", "-1", "XNN_READY_SECONDS=-1: input should be greater than 0"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line(monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    with pytest.raises(settings.SettingsError) as caught:
        settings.load()
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_a_port_in_use_names_the_port_and_the_variable():
    with settings.listen("127.0.0.1", 0, "XNN_") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(settings.SettingsError) as caught:
            settings.listen("127.0.0.1", port, "XNN_UI_")
    assert str(caught.value) == f"XNN_UI_PORT={port} on XNN_UI_HOST=127.0.0.1: address already in use"


def test_addresses_may_be_of_version_6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with settings.listen("::1", 0, "XNN_") as found:
        assert found.family is socket.AF_INET6
