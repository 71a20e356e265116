"""The commands on a real store: what they print, and with which code they end."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from server.cli.main import main


@dataclass(frozen=True, slots=True)
class Ended:
    """What one command left behind."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:  # noqa: ANN401 - whatever JSON holds
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a demo, as `kagikura init --demo` makes it."""
    folder = tmp_path_factory.mktemp("store")
    config = folder / "kagikura.toml"
    config.write_text(
        'state_dir = "state"\ndata_dir = "data"\n'
        "[audit]\nreserve_bytes = 65536\n"
        "[auth]\nargon2_memory_kib = 19456\nargon2_iterations = 1\n"
    )
    with pytest.raises(SystemExit) as left:
        main(["--config", str(config), "init", "--demo"])
    assert left.value.code == 0
    return config


@pytest.fixture
def run(store: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run one command on the store."""

    def _run(*arguments: str) -> Ended:
        with pytest.raises(SystemExit) as left:
            main(["--config", str(store), *arguments])
        streams = capfd.readouterr()
        return Ended(int(left.value.code or 0), streams.out, streams.err)

    return _run


def test_init_leaves_what_a_client_needs_for_its_owner_alone(store: Path) -> None:
    """The demo's key must not be readable by others on the machine."""
    folder = store.parent / "state" / "demo"

    names = {path.name for path in folder.iterdir()}

    assert {"demo_key", "demo.pem", "server-ca.pem", "connect.txt"} <= names
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_init_is_refused_and_if_none_tells_again(run: Run) -> None:
    """`make serve` prints how to connect at each start, and never a second store."""
    assert run("init", "--demo").code == 1

    again = run("init", "--demo", "--if-none")

    assert again.code == 0
    assert "sftp -P 2022 -i" in again.out
    assert "line add main lan --network" in again.out
    assert "curl --cacert" in again.out


def test_contracts_come_and_go(run: Run) -> None:
    """The nouns' frame: add, list, show, remove, purge."""
    assert run("contract", "add", "north").code == 0
    assert run("contract", "add", "north").code == 1
    assert "north" in {row["name"] for row in run("contract", "list", "--json").data}
    assert run("contract", "show", "north", "--json").data["logins"] == 0
    assert run("contract", "purge", "north").code == 1
    assert "files are kept" in run("contract", "remove", "north").err
    assert run("contract", "purge", "north", "--yes").code == 0
    assert run("contract", "show", "north").code == 1


def test_lines_are_checked_before_anything_is_done(run: Run) -> None:
    """A slip in a network would open the store to strangers."""
    wrong = run("line", "add", "main", "slip", "--network", "10.0.0.1/8")

    assert wrong.code == 2
    assert "10.0.0.0/8" in wrong.err
    names = {line["name"] for line in run("line", "list", "main", "--json").data}
    assert "slip" not in names


def test_a_line_is_added_suspended_resumed_removed(run: Run) -> None:
    """What suspends says how many sessions it cut."""
    added = run(
        "line", "add", "main", "office", "--network", "203.0.113.0/28",
        "--network", "2001:db8::/48", "--ports", "1024-2047",
        "--valid-until", "2999-12-31", "--json",
    )  # fmt: skip

    assert added.data["ports"] == ["1024-2047"]
    assert "0 sessions were cut" in run("line", "suspend", "main", "office").err
    assert run("line", "resume", "main", "office", "--json").data["state"] == "active"
    assert run("line", "remove", "main", "office").code == 0
    assert run("line", "remove", "main", "office").code == 1


def test_a_line_is_changed_and_its_dangers_are_told(run: Run) -> None:
    """MAP-E parameters as the router shows them; warnings go to people."""
    added = run(
        "line", "add", "main", "flat", "--network", "100.64.7.9", "--map-e", "4:8:52",
        "--comment", "shared", "--json",
    )  # fmt: skip
    changed = run("line", "change", "main", "flat", "--network", "100.64.7.0/24")

    assert added.data["map_e"] == "4:8:0x34"
    assert "carrier-grade NAT" in added.data["warnings"][0]
    assert "Mind: 100.64.7.0/24 is carrier-grade NAT" in changed.err
    assert "0 sessions were cut" in changed.err
    twin = run("line", "add", "main", "twin", "--network", "100.64.7.128/25")
    assert "the line flat holds 100.64.7.0/24 too" in twin.err
    assert run("line", "add", "main", "all", "--network", "::/0").code == 2
    assert run("line", "change", "main", "flat").code == 2
    assert run("line", "change", "main", "none", "--always").code == 1
    for name in ("flat", "twin"):
        assert run("line", "remove", "main", name).code == 0


def test_bans_are_listed_and_only_real_ones_lifted(run: Run) -> None:
    """Wrong words are wrong usage, an address that is not banned is not found."""
    assert run("session", "ban", "list", "--json").data == []
    assert run("session", "ban", "lift", "192.0.2.7").code == 1
    assert run("session", "ban", "lift", "office").code == 2


def test_a_person_enrols_with_the_printed_code(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the person sets the password; the code is the data of `login add`."""
    added = run("login", "add", "alice@main", "--totp", "required")
    code = added.out.strip()
    assert f"enrol alice@main --code {code}" in added.err

    monkeypatch.setattr("server.cli.login.read_password", lambda: "correct horse 9")
    enrolled = run("enrol", "alice@main", "--code", code, "--password-stdin")

    assert enrolled.code == 0
    assert enrolled.out.startswith("otpauth://totp/")
    assert run("enrol", "alice@main", "--code", code, "--password-stdin").code == 1
    assert run("login", "show", "alice@main", "--json").data["state"] == "active"
    assert run("login", "disable", "alice@main").code == 0
    assert run("login", "reset", "alice@main", "--json").data["enrolment_code"] != code
    assert run("login", "remove", "alice@main").code == 0


def test_nobody_else_sets_a_persons_password(run: Run) -> None:
    """--password-stdin is for scanners, behind which nobody stands."""
    refused = run("login", "add", "bob@main", "--password-stdin")

    assert refused.code == 2
    assert run("login", "show", "bob@main").code == 1


def test_a_device_is_issued_locked_and_removed(run: Run, tmp_path: Path) -> None:
    """Files that are handed out are new and for their owner alone."""
    packed, key = tmp_path / "pc.p12", tmp_path / "pc.key"

    added = run(
        "device", "add", "demo@main", "pc", "--issue-certificate", str(packed),
        "--issue-ssh-key", str(key), "--secret", "--json",
    )  # fmt: skip

    assert added.data["certificate_password"]
    assert len(added.data["secret"]) > 20
    assert key.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert stat.S_IMODE(packed.stat().st_mode) == 0o600
    assert "sessions were cut" in run("device", "lock", "demo@main", "pc").err
    assert run("device", "show", "demo@main", "pc", "--json").data["state"] == "locked"
    assert run("device", "unlock", "demo@main", "pc").code == 0
    changed = run("device", "change", "demo@main", "pc", "--charset", "cp932", "--json")
    assert (changed.data["charset"], changed.data["secret"]) == ("cp932", "set")
    assert run("device", "change", "demo@main", "pc").code == 2
    assert run("device", "change", "demo@main", "none", "--note", "x").code == 1
    assert run("device", "remove", "demo@main", "pc").code == 0


def test_a_refused_device_leaves_no_file(run: Run, tmp_path: Path) -> None:
    """A file without a device behind it would be handed to somebody."""
    packed = tmp_path / "x.p12"

    assert (
        run(
            "device", "add", "nobody@main", "x", "--issue-certificate", str(packed)
        ).code
        == 1
    )
    assert not packed.exists()


def test_a_file_that_is_there_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    """Keys are not made twice."""
    packed = tmp_path / "x.p12"
    packed.write_bytes(b"old")

    ended = run("device", "add", "demo@main", "y", "--issue-certificate", str(packed))

    assert ended.code == 2
    assert packed.read_bytes() == b"old"
    assert run("device", "show", "demo@main", "y").code == 1


def test_folders_are_granted_to_logins_and_groups(run: Run) -> None:
    """A grant is the whole of what is allowed; `none` takes it away."""
    run("folder", "add", "main", "sales")
    run("group", "add", "main", "team")
    assert run("group", "join", "main", "team", "demo").code == 0
    assert run("folder", "grant", "main", "sales/2026", "@team", "viewer").code == 0
    assert run("folder", "grant", "main", "sales", "demo", "everything").code == 2

    listed = {f["folder"]: f for f in run("folder", "list", "--json").data}
    assert listed["sales"]["grants"] == [
        {"path": "sales/2026", "to": "@team", "rights": "list,read"}
    ]
    assert "sales/2026" in run("folder", "list", "main").out
    assert (listed["sales"]["case"], listed["sales"]["mac_files"]) == (
        "distinct",
        "keep",
    )
    changed = run("folder", "change", "main", "sales", "--mac-files", "drop", "--json")
    assert changed.data["mac_files"] == "drop"
    assert changed.data["case"] == "distinct"
    assert run("folder", "change", "main", "sales").code == 2
    assert run("folder", "change", "main", "none", "--case", "collide").code == 1
    assert run("group", "list", "main", "--json").data[0]["members"] == ["demo"]
    assert run("folder", "grant", "main", "sales/2026", "@team", "none").code == 0
    assert run("group", "leave", "main", "team", "demo").code == 0
    assert run("group", "remove", "main", "team").code == 0
    assert run("folder", "remove", "main", "sales").code == 0


def test_sessions_are_listed_and_an_unknown_one_is_not_found(run: Run) -> None:
    """An empty list is data, not an error."""
    assert run("session", "list", "--json").data == []
    assert run("session", "cut", "01m00000000000000000000000").code == 1


def test_what_may_pass_is_told_by_its_own_code(run: Run) -> None:
    """No daemon has indexed the trail yet: a script may try again."""
    assert run("audit", "search").code == 3
    assert run("status", "--json").code == 3


def test_the_trail_is_filtered_by_known_words_only(run: Run) -> None:
    """A misspelt operation would find nothing and calm somebody."""
    ended = run("audit", "search", "--operation", "reed")

    assert ended.code == 2
    assert "no operation 'reed'" in ended.err


def test_the_ca_is_printed_for_clients(run: Run) -> None:
    """`kagikura ca > ca.crt` must hold the certificate and nothing else."""
    printed = run("ca").out

    assert printed.startswith("-----BEGIN CERTIFICATE-----")
    assert printed.rstrip().endswith("-----END CERTIFICATE-----")


def test_without_a_store_a_command_says_what_to_do(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first mistake a newcomer makes."""
    config = tmp_path / "k.toml"
    config.write_text('state_dir = "state"\ndata_dir = "data"\n')

    with pytest.raises(SystemExit) as left:
        main(["--config", str(config), "contract", "list"])

    assert left.value.code == 3
    assert "kagikura init" in capfd.readouterr().err
    assert not (tmp_path / "state").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_the_owner_of_the_state(tmp_path: Path) -> None:
    """A command run as root must leave no file that the daemon cannot read."""
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 65534, 65534)

    script = (
        "import os, sys; from pathlib import Path;"
        "from server.cli.store import become_owner;"
        "become_owner(Path(sys.argv[1]));"
        "print(os.getuid(), os.geteuid(), os.getgid(), *os.getgroups())"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, state / "keys"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )

    assert set(done.stdout.split()) == {"65534"}
