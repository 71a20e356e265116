"""The first minutes of a store: folders, keys, contract `main`, the first admin."""

from pathlib import Path
from typing import Final

from server.access.administration import Administration
from server.access.bureau import Facts
from server.access.devices import Offer, Package
from server.access.keystore import KeyStore, make_private_folder, write_private
from server.auth.secret import new_enrolment_code
from server.db.migrate import Chain, upgrade
from server.model.errors import ExistsError
from server.model.identity import LoginKind
from server.model.operation import PRESETS
from server.settings.places import Places
from server.settings.schema import Settings

CONTRACT: Final = "main"
ADMIN: Final = f"admin@{CONTRACT}"
DEMO: Final = f"demo@{CONTRACT}"
DEMO_DEVICE: Final = "laptop"
DEMO_FOLDER: Final = "office"


def prepare_state(settings: Settings) -> KeyStore:
    """Make folders, keys and the accounts database, as far as they are missing.

    It needs no trail, because the trail's own folder comes from here.

    Raises:
        OSError: A folder or key cannot be written.
        DatabaseError: The accounts database cannot be reached or changed.
    """
    make_private_folder(settings.state_dir)
    make_private_folder(settings.state_dir / "journal")
    make_private_folder(settings.data_dir)
    keys = KeyStore(settings.state_dir)
    keys.prepare()
    upgrade(Places(settings).accounts_url, Chain.ACCOUNTS)
    upgrade(Places(settings).store_url, Chain.STORE)
    return keys


def initialise(administration: Administration) -> Facts:
    """Add the contract `main` and its first admin.

    Returns:
        `contract`, `admin` and the admin's `enrolment_code`, shown this once.

    Raises:
        ExistsError: The store has a contract already.
    """
    if administration.contracts.list():
        raise ExistsError("This store is initialised already.")
    administration.contracts.add(CONTRACT)
    admin = administration.logins.add(ADMIN, kind=LoginKind.ADMIN)
    return {
        "contract": CONTRACT,
        "admin": ADMIN,
        "enrolment_code": admin["enrolment_code"],
        "enrolment_until": admin["enrolment_until"],
    }


def initialise_demo(
    administration: Administration, keys: KeyStore, folder: Path
) -> Facts:
    """Add what a newcomer needs to try the store from this machine alone.

    A line `loopback`, a login `demo` without one-time codes, its device `laptop` (one
    key for SSH and TLS) and a shared folder. What the client needs is written to
    `folder`, readable by its owner only.

    Returns:
        Names, the password, and the paths of the files.

    Raises:
        OSError: The files cannot be written.
    """
    administration.lines.add(CONTRACT, "loopback", networks=("127.0.0.0/8", "::1/128"))
    added = administration.logins.add(DEMO, totp_rule="off")
    password = new_enrolment_code()
    administration.logins.enrol(DEMO, str(added["enrolment_code"]), password)
    _, issued = administration.devices.add(DEMO, DEMO_DEVICE, Offer(issue=Package.PEM))
    administration.folders.add(CONTRACT, DEMO_FOLDER)
    administration.folders.grant(CONTRACT, DEMO_FOLDER, "demo", PRESETS["editor"])
    make_private_folder(folder)
    files = {
        "ssh_key": ("demo_key", issued.ssh_private_key.encode()),
        "certificate": ("demo.pem", issued.file),
        "server_ca": ("server-ca.pem", keys.server_ca.read_bytes()),
        "password_file": ("password", f"{password}\n".encode()),
    }
    for name, content in files.values():
        write_private(folder / name, content)
    return {
        "login": "demo",
        "contract": CONTRACT,
        "device": DEMO_DEVICE,
        "password": password,
        "totp": "off",
        "folder": f"/shared/{DEMO_FOLDER}",
        **{what: str(folder / name) for what, (name, _) in files.items()},
    }
