"""How to connect to a fresh store, ready to paste."""

import ipaddress
import shlex
import socket
from pathlib import Path
from typing import Final

from server.cli.output import Facts
from server.settings.schema import Settings

_SOMEWHERE: Final = ("192.0.2.1", 9)
"""TEST-NET-1: asking which way leads there sends nothing."""


def commands(facts: Facts, settings: Settings, kagikura: str) -> dict[str, str]:
    """The commands that a newcomer pastes, by what they do.

    Args:
        facts: What `initialise_demo` answered.
        settings: Where the store listens; port 0 stays for the reader to fill in.
        kagikura: How to call this program.
    """
    sftp_port = str(settings.sftp.port or "PORT")
    url = f"https://localhost:{settings.webdav.port or 'PORT'}/private/"
    sftp = ["sftp", "-P", sftp_port, "-i", _near(facts["ssh_key"])]
    sftp += ["-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=accept-new"]
    curl = ["curl", "--cacert", _near(facts["server_ca"])]
    curl += ["--cert", _near(facts["certificate"])]
    curl += ["-u", f"{facts['login']}:{facts['password']}"]
    return {
        "sftp_command": shlex.join([*sftp, f"{facts['login']}@localhost"]),
        "webdav_url": url,
        "curl_put_command": shlex.join([*curl, "-T", "README.md", url]),
        "curl_get_command": shlex.join([*curl, f"{url}README.md"]),
        "tail_command": f"{kagikura} audit tail -f",
        "line_add_command": (
            f"{kagikura} line add {facts['contract']} lan --network {_lan()}"
        ),
    }


def words(facts: Facts, pasted: dict[str, str], admin: Facts) -> str:
    """All of it as a page for a person."""
    return f"""\
A demo store for this machine alone (line `loopback`). One-time codes are off for
this login; a real one has them unless you say otherwise.

  login        {facts["login"]}, device {facts["device"]}
  password     {facts["password"]}
  device key   {_near(facts["ssh_key"])}
  certificate  {_near(facts["certificate"])}
  folders      /private, {facts["folder"]}

SFTP (it asks for the password):
  {pasted["sftp_command"]}

WebDAV at {pasted["webdav_url"]}
  {pasted["curl_put_command"]}
  {pasted["curl_get_command"]}

Watch the trail:
  {pasted["tail_command"]}

Let your network in (check that it is yours):
  {pasted["line_add_command"]}

{_admin(admin)}"""


def _admin(admin: Facts) -> str:
    if not admin:
        return ""
    return (
        f"The contract's admin is {admin['admin']}; the code to enrol with, until "
        f"{admin['enrolment_until']}:\n  {admin['enrolment_code']}\n\n"
        "The public key that proves the trail; keep it somewhere else:\n"
        f"  {admin['audit_key']}\n"
    )


def _near(path: object) -> str:
    """The path as short as it can be typed here."""
    whole = Path(str(path))
    here = Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)


def _lan() -> str:
    """A guess at the network of this machine, to be checked by a person."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(_SOMEWHERE)
            own = ipaddress.ip_interface(f"{probe.getsockname()[0]}/24")
    except OSError:
        return "192.168.1.0/24"
    return "192.168.1.0/24" if own.is_loopback else str(own.network)
