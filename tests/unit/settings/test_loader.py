"""Where settings come from, and what a wrong one is told."""

from pathlib import Path

import pytest

from server.settings.loader import SettingsError, load


def _write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_without_any_file_the_safe_defaults_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packaged install must start without a configuration."""
    monkeypatch.chdir(tmp_path)

    loaded = load(None, {})

    assert loaded.source is None
    assert loaded.settings.sftp.port == 2022
    assert loaded.settings.webdav.secret.enabled is False


def test_the_path_given_wins_over_the_variable_and_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scripts rely on the order that the interface names."""
    here = _write(tmp_path / "kagikura.toml", 'node = "here"')
    variable = _write(tmp_path / "variable.toml", 'node = "variable"')
    given = _write(tmp_path / "given.toml", 'node = "given"')
    monkeypatch.chdir(tmp_path)
    environ = {"KAGIKURA_CONFIG": str(variable)}

    assert load(given, environ).settings.node == "given"
    assert load(None, environ).settings.node == "variable"
    assert load(None, {}).settings.node == "here"
    assert load(None, {}).source == here


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A container sets a port without touching the file."""
    config = _write(tmp_path / "k.toml", "[sftp]\nport = 1\nhandles_max = 7")

    settings = load(
        config,
        {
            "KAGIKURA_SFTP__PORT": "2022",
            "KAGIKURA_WEBDAV__SECRET__TLS": "false",
            "KAGIKURA_SFTP__HOST": "127.0.0.1, ::1",
            "KAGIKURA_WEBDAV__NAMES": '["store.example"]',
        },
    ).settings

    assert settings.sftp.port == 2022
    assert settings.sftp.handles_max == 7
    assert settings.sftp.host == ("127.0.0.1", "::1")
    assert settings.webdav.names == ("store.example",)
    assert settings.webdav.secret.tls is False


def test_relative_paths_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    """The store must not move with the directory a command is typed in."""
    config = _write(tmp_path / "k.toml", 'state_dir = "var/state"')

    assert load(config, {}).settings.state_dir == tmp_path / "var" / "state"


def test_one_text_stands_for_a_list_of_one(tmp_path: Path) -> None:
    """`host = "127.0.0.1"` is what most people write."""
    config = _write(tmp_path / "k.toml", '[sftp]\nhost = "127.0.0.1"')

    assert load(config, {}).settings.sftp.host == ("127.0.0.1",)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[sftp]\nport = 99999", ["sftp.port = 99999", "integer, 0 to 65535"]),
        ("[sftp]\nprot = 1", ["unknown key sftp.prot = 1", "did you mean port?"]),
        ('[audit]\ndurability = "no"', ['audit.durability = "no"', '"disk" or']),
        ('[webdav.secret]\ntls = "?"', ["webdav.secret.tls", "true or false"]),
        ("storage = 3", ["storage = 3", "a section"]),
        ("surprise = 3", ["unknown key surprise", "allowed here: state_dir"]),
        ("node = \nx", ["no TOML", "line 1"]),
    ],
)
def test_a_bad_file_is_told_by_file_key_value_and_remedy(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    """An operator mends a configuration from the message alone."""
    config = _write(tmp_path / "k.toml", text)

    with pytest.raises(SettingsError) as caught:
        load(config, {})

    for part in [str(config), *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("KAGIKURA_SFTP__PORT", "x", "integer, 0 to 65535"),
        ("KAGIKURA_SURPRISE", "1", "unknown key surprise"),
        ("KAGIKURA_STORAGE", "1", "a section"),
        ("KAGIKURA_NODE__X", "1", "node"),
        ("KAGIKURA_SFTP__HOST", "[x", "a list of texts"),
    ],
)
def test_a_bad_variable_is_told_by_its_own_name(
    tmp_path: Path, name: str, value: str, part: str
) -> None:
    """The file is not to blame for what the environment says."""
    config = _write(tmp_path / "k.toml", 'node = "a"')

    with pytest.raises(SettingsError) as caught:
        load(config, {name: value})

    assert name in str(caught.value)
    assert part in str(caught.value)


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    """A misspelt --config must not fall back to other settings."""
    with pytest.raises(SettingsError, match="no such file"):
        load(tmp_path / "none.toml", {})


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Nobody should mend ten keys in ten runs."""
    config = _write(tmp_path / "k.toml", "x = 1\n[sftp]\nport = -1\ny = 2")

    with pytest.raises(SettingsError) as caught:
        load(config, {})

    assert len(str(caught.value).splitlines()) == 3
