"""The frame of the command line: exit codes, and data apart from prose."""

import json
from pathlib import Path

import pytest

from server.cli.main import main


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


def test_a_good_configuration_is_told_to_people_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stdout stays free for data."""
    config = tmp_path / "k.toml"
    config.write_text("[sftp]\nport = 2222\n")

    assert _run("--config", str(config), "config", "check") == 0

    streams = capsys.readouterr()
    assert streams.out == ""
    assert str(config) in streams.err


def test_a_bad_configuration_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts tell a mistake from a refusal by the exit code."""
    config = tmp_path / "k.toml"
    config.write_text("[sftp]\nport = 222222\n")

    assert _run("--config", str(config), "config", "check") == 2
    assert "sftp.port = 222222" in capsys.readouterr().err


def test_an_unknown_command_is_wrong_usage() -> None:
    """The same code as a bad configuration."""
    assert _run("confg") == 2


def test_show_prints_what_holds_with_passwords_hidden(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The output ends up in tickets."""
    config = tmp_path / "k.toml"
    config.write_text("workers = 3\n")
    monkeypatch.setenv("KAGIKURA_DATABASE__URL", "postgresql://k:geheim@db/k")

    assert _run("--config", str(config), "config", "show", "--json") == 0

    shown = json.loads(capsys.readouterr().out)
    assert shown["workers"] == 3
    assert shown["database"]["url"] == "postgresql://k:***@db/k"


def test_reference_explains_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    """Both forms come from the schema."""
    assert _run("config", "reference") == 0
    assert "| `listing_window_s` |" in capsys.readouterr().out

    assert _run("config", "reference", "--json") == 0
    assert "properties" in json.loads(capsys.readouterr().out)
