"""What people do with OpenSSH's own client."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyotp
import pytest

from tests.support.openssh import OpenSsh
from tests.support.sftp import PASSWORD, Person, SftpHouse, new_key, open_house
from tests.support.waiting import until

NAMES = ["見積書 (2026年).pdf", "with two  spaces.txt", "😀🎉.txt", "é.txt", "-dash"]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SftpHouse]:
    with open_house(tmp_path) as house:
        yield house


@pytest.fixture
def alice(house: SftpHouse) -> Person:
    return house.add_person("alice")


@pytest.fixture
def client(house: SftpHouse, alice: Person) -> OpenSsh:
    return OpenSsh(house, alice, [alice.key])


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(3_000_001))
    return path


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_what_is_put_is_got_byte_for_byte(
    client: OpenSsh, big: Path, tmp_path: Path
) -> None:
    """Through 255 KiB requests, pipelined as OpenSSH does it."""
    got = tmp_path / "got.bin"

    done(client.sftp(f"put {big} big.bin", f"get big.bin {got}"))

    assert got.read_bytes() == big.read_bytes()
    assert (client.house.private(client.person) / "big.bin").exists()


@pytest.mark.parametrize("name", NAMES)
def test_names_of_people_survive(client: OpenSsh, tmp_path: Path, name: str) -> None:
    """Japanese, spaces, emoji and a leading dash are ordinary names."""
    source, got = tmp_path / "source", tmp_path / "got"
    source.write_text(name)

    listed = done(
        client.sftp(f'put {source} "./{name}"', "ls -1", f'get "./{name}" {got}')
    )

    assert name in listed.splitlines()
    assert got.read_text() == name


def test_cut_transfers_are_resumed(client: OpenSsh, big: Path, tmp_path: Path) -> None:
    """`reput` and `reget` append to what is there already."""
    part, got = tmp_path / "part.bin", tmp_path / "got.bin"
    part.write_bytes(big.read_bytes()[:1_000_000])
    got.write_bytes(big.read_bytes()[:500_000])

    done(
        client.sftp(
            f"put {part} big.bin", f"reput {big} big.bin", f"reget big.bin {got}"
        )
    )

    assert got.read_bytes() == big.read_bytes()


def test_overwriting_keeps_the_old_file_in_the_trash(
    client: OpenSsh, tmp_path: Path
) -> None:
    """A wrong upload must not destroy what was there."""
    old, new, got = tmp_path / "old", tmp_path / "new", tmp_path / "got"
    old.write_text("old and longer")
    new.write_text("new")

    done(client.sftp(f"put {old} a", f"put {new} a", f"get a {got}"))

    assert got.read_text() == "new"
    trash = client.house.settings.data_dir / client.house.contract_id / ".trash"
    kept = [path.read_text() for path in trash.rglob("*") if path.is_file()]
    assert "old and longer" in kept


def test_files_and_folders_are_moved_and_removed(
    client: OpenSsh, tmp_path: Path
) -> None:
    """Rename replaces, as the posix-rename extension has it."""
    (tmp_path / "one").write_text("one")
    (tmp_path / "two").write_text("two")

    listed = done(
        client.sftp(
            "mkdir box",
            f"put {tmp_path}/one box/one",
            f"put {tmp_path}/two two",
            "rename two box/one",
            "rename box case",
            "ls -1 case",
            "rm case/one",
            "rmdir case",
            "ls -1",
        )
    )

    assert listed.splitlines()[-1].endswith("ls -1")
    assert "case/one" in listed


def test_a_listing_reads_like_ls(client: OpenSsh, tmp_path: Path) -> None:
    """Mode, owner, size, time and name, in ls's order."""
    (tmp_path / "a").write_text("12345")

    listed = done(client.sftp("mkdir box", f"put {tmp_path}/a a.txt", "ls -la"))

    assert re.search(r"^drwx\S+ +1 alice +kagikura +\d+ .* box$", listed, re.MULTILINE)
    assert re.search(
        r"^-rw\S+ +1 alice +kagikura +5 \w{3} [ \d]\d \d\d:\d\d a.txt$",
        listed,
        re.MULTILINE,
    )


def test_modes_and_times_are_kept(client: OpenSsh, tmp_path: Path) -> None:
    """`put -p` keeps mode and time, `get -p` brings them back, chmod changes."""
    source, got = tmp_path / "source", tmp_path / "got"
    source.write_text("x")
    source.chmod(0o640)
    os.utime(source, (1_000_000_000, 1_100_000_000))

    done(client.sftp(f"put -p {source} a", f"get -p a {got}", "chmod 600 a"))

    assert got.stat().st_mtime == 1_100_000_000
    assert got.stat().st_mode & 0o777 == 0o640
    stored = client.house.private(client.person) / "a"
    assert stored.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("command", ["ln -s a b", "symlink a b"])
def test_links_are_refused_and_on_record(client: OpenSsh, command: str) -> None:
    """A link would lead around the rights."""
    result = client.sftp(command)

    assert result.returncode == 1
    assert "Operation unsupported" in result.stderr
    refused = client.house.records(operation="symlink", outcome="refused")
    assert [record["rule"] for record in refused] == ["no_links"]


def test_owner_changes_are_accepted_and_ignored(
    client: OpenSsh, tmp_path: Path
) -> None:
    """Synchronising clients chown as a matter of course."""
    (tmp_path / "a").write_text("x")

    done(client.sftp(f"put {tmp_path}/a a", "chown 12345 a"))

    assert (client.house.private(client.person) / "a").stat().st_uid == os.getuid()


def test_room_is_told(client: OpenSsh) -> None:
    """`df` uses statvfs@openssh.com."""
    assert re.search(r"\d+ +\d+ +\d+", done(client.sftp("df /private")))


def test_scp_copies_trees_both_ways(client: OpenSsh, tmp_path: Path) -> None:
    """Scp of OpenSSH 9 speaks SFTP, and looks at the exit status."""
    tree, back = tmp_path / "tree", tmp_path / "back"
    (tree / "sub").mkdir(parents=True)
    (tree / "見積書.pdf").write_bytes(os.urandom(70_000))
    (tree / "sub" / "b").write_text("b")

    done(client.scp("-rp", str(tree), "REMOTE:/private/tree"))
    done(client.scp("-rp", "REMOTE:tree", str(back)))

    assert (back / "見積書.pdf").read_bytes() == (tree / "見積書.pdf").read_bytes()
    assert (back / "sub" / "b").read_text() == "b"


def test_scp_of_a_missing_file_fails(client: OpenSsh, tmp_path: Path) -> None:
    """Scripts rely on the status."""
    assert client.scp("REMOTE:nothing", str(tmp_path / "x")).returncode != 0


def test_ports_are_not_forwarded(client: OpenSsh) -> None:
    """Else a login would be a way into the office's network."""
    result = client.ssh("-W", f"127.0.0.1:{client.house.port}")

    assert result.returncode != 0
    assert "SSH-2.0" not in result.stdout


def test_a_one_time_code_is_asked_after_the_password(tmp_path: Path) -> None:
    """Key, password and code, in one keyboard-interactive exchange; once only."""
    with open_house(tmp_path, unlock_sftp=False) as house:
        bob = house.add_person("bob", code=True)
        code = pyotp.TOTP(bob.totp_secret).now()

        done(OpenSsh(house, bob, [bob.key], code=code).sftp("ls"))
        again = OpenSsh(house, bob, [bob.key], code=code).sftp("ls")

        assert again.returncode != 0
        refused = house.records(operation="login", outcome="refused")
        assert [record["rule"] for record in refused] == ["replayed_code"]


def test_a_reconnecting_client_needs_one_code(house: SftpHouse) -> None:
    """A code for each transfer would make people copy files elsewhere."""
    bob = house.add_person("bob", code=True)
    code = pyotp.TOTP(bob.totp_secret).now()

    for _ in range(2):
        done(OpenSsh(house, bob, [bob.key], code=code).sftp("ls"))

    logins = house.records(operation="login", outcome="done")
    factors = [record["detail"]["factors"][-1] for record in logins]
    assert factors == ["code", "window"]


def test_a_registered_key_offered_fifth_still_logs_in(
    house: SftpHouse, alice: Person, tmp_path: Path
) -> None:
    """People have agents full of keys; unsigned queries are no failed tries."""
    strangers = [new_key(tmp_path / f"stranger{number}") for number in range(8)]
    keys = [*strangers[:4], alice.key, *strangers[4:]]

    with agent(tmp_path, keys) as told:
        done(OpenSsh(house, alice, [], more=told).sftp("ls"))

    assert not house.records(operation="login", outcome="refused")


@contextmanager
def agent(folder: Path, keys: Sequence[Path]) -> Iterator[list[str]]:
    """OpenSSH's own agent that holds these keys, as options of a client."""
    path = str(folder / "agent")
    with subprocess.Popen(
        ["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL
    ) as process:
        try:
            until(lambda: Path(path).exists(), what="the agent listens")
            for key in keys:
                subprocess.run(
                    ["ssh-add", "-q", key],
                    env={**os.environ, "SSH_AUTH_SOCK": path},
                    check=True,
                )
            yield [f"-oIdentityAgent={path}", "-oIdentitiesOnly=no"]
        finally:
            process.terminate()


@pytest.mark.parametrize(
    ("order", "rules"),
    [
        ("publickey,password", []),
        ("publickey,keyboard-interactive", []),
        ("password,publickey", ["no_key_proved"]),
        ("password", ["no_key_proved"]),
        ("keyboard-interactive", ["no_key_proved"]),
        ("publickey", ["gave_up"]),
    ],
)
def test_the_key_comes_first(
    house: SftpHouse, alice: Person, order: str, rules: list[str]
) -> None:
    """A right password before the key is refused like a wrong one, and forgotten."""
    preferred = [f"-oPreferredAuthentications={order}"]

    result = OpenSsh(house, alice, [alice.key], more=preferred).sftp("ls")

    until(lambda: house.records(operation="login"), what="the login's end is on record")
    refused = house.records(operation="login", outcome="refused")
    assert [one["rule"] for one in refused] == rules
    assert (result.returncode == 0) == (rules == [])


def test_rekeying_in_the_middle_of_a_transfer_loses_nothing(
    client: OpenSsh, big: Path, tmp_path: Path
) -> None:
    """Long transfers exchange keys again; OpenSSH is told to do so early."""
    got = tmp_path / "got.bin"
    eager = ["-oRekeyLimit=256K"]

    done(client.scp(*eager, str(big), "REMOTE:big.bin"))
    done(client.scp(*eager, "REMOTE:big.bin", str(got)))

    assert got.read_bytes() == big.read_bytes()


@pytest.mark.parametrize(
    "option",
    [
        "-oCiphers=aes256-gcm@openssh.com",
        "-oCiphers=aes256-ctr",
        "-oMACs=hmac-sha2-512-etm@openssh.com",
        "-oKexAlgorithms=diffie-hellman-group16-sha512",
        "-oKexAlgorithms=curve25519-sha256@libssh.org",
        "-oHostKeyAlgorithms=rsa-sha2-512",
    ],
)
def test_every_offered_algorithm_works(
    client: OpenSsh, big: Path, tmp_path: Path, option: str
) -> None:
    """Each is somebody's only one."""
    got = tmp_path / "got.bin"

    done(client.scp(option, str(big), "REMOTE:big.bin"))
    done(client.scp(option, "REMOTE:big.bin", str(got)))

    assert got.read_bytes() == big.read_bytes()


@pytest.mark.parametrize(
    "option",
    [
        "-oCiphers=aes128-cbc",
        "-oCiphers=3des-cbc",
        "-oMACs=hmac-sha1",
        "-oKexAlgorithms=diffie-hellman-group14-sha1",
        "-oKexAlgorithms=ecdh-sha2-nistp256",
    ],
)
def test_weak_algorithms_are_not_offered(client: OpenSsh, option: str) -> None:
    """What ssh-audit calls a failure."""
    # MACs count only beside a cipher that has none of its own.
    assert client.ssh(option, "-oCiphers=aes128-ctr", "true").returncode == 255
    assert not client.house.records(operation="login", outcome="done")


def test_the_daemon_serves_many_connections_one_after_another(
    client: OpenSsh, tmp_path: Path
) -> None:
    """Nothing of a finished connection is left behind."""
    for _ in range(3):
        done(client.sftp("ls"))

    began = time.monotonic()
    until(lambda: client.house.listener.connections == 0, what="all have gone")
    assert time.monotonic() - began < 5


@pytest.mark.skipif(shutil.which("rclone") is None, reason="rclone is not installed")
def test_rclone_goes_on_in_a_window_that_sftp_opened(house: SftpHouse) -> None:
    """It opens many connections and can answer no code."""
    bob = house.add_person("bob", code=True)
    code = pyotp.TOTP(bob.totp_secret).now()
    remote = (
        f":sftp,host=127.0.0.1,port={house.port},user=bob,key_file={bob.key},"
        f"pass={_obscured()},shell_type=none:"
    )

    def listed() -> int:
        command = ["rclone", "lsf", "--retries", "1", "--low-level-retries", "1"]
        done_ = subprocess.run(
            [*command, "--config", os.devnull, remote],
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done_.returncode

    before = listed()
    done(OpenSsh(house, bob, [bob.key], code=code).sftp("ls"))

    assert before != 0
    assert listed() == 0


def _obscured() -> str:
    """The password as rclone wants it."""
    return subprocess.run(
        ["rclone", "obscure", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
