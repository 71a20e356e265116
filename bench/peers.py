"""Reference servers, each on a free loopback port with a temporary root.

`with Workspace(folder) as workspace: peer = workspace.start("openssh")`. Names are in
`PEERS`; those ending in `-tls` speak HTTPS with a throw-away certificate. Apache and
nginx ask for a password as `htpasswd` keeps it by default; the others let everybody in.
"""

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

HOST: Final = "127.0.0.1"
USER: Final = "alice"
PASSWORD: Final = "a password on loopback"  # noqa: S105 - thrown away with its server
WITH_PASSWORD: Final = ("apache", "nginx")
"""The peers that ask for a name and a password (HTTP Basic)."""
_APACHE_MODULES = Path("/usr/lib/apache2/modules")
_NGINX_DAV_EXT = Path("/usr/lib/nginx/modules/ngx_http_dav_ext_module.so")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a peer is to serve, and where."""

    name: str
    port: int
    home: Path
    root: Path

    @property
    def tls(self) -> bool:
        return self.name.endswith("-tls")

    def write(self, name: str, text: str) -> str:
        path = self.home / name
        path.write_text(text)
        return str(path)


@dataclass(frozen=True, slots=True)
class Peer:
    """A running server."""

    plan: Plan
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def program(*names: str) -> str | None:
    """The first of these that is installed, looked for in sbin too."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return next(
        (found for name in names if (found := shutil.which(name, path=path))), None
    )


class Workspace:
    """A folder with keys and one folder a peer; peers stop when it is left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._peers: list[Peer] = []
        self.user = getpass.getuser()
        self.client_key = self._ssh_key("client_key")
        self.host_key = self._ssh_key("host_key")
        self.certificate = folder / "tls.crt"
        self.certificate_key = folder / "tls.key"
        self._make_certificate()
        self.passwords = folder / "htpasswd"
        self.passwords.write_text(f"{USER}:{_apr1(PASSWORD)}\n")
        self.passwords.chmod(0o644)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self._peers:
            peer.stop()

    def start(self, name: str) -> Peer:
        """Start a peer and wait until it accepts."""
        home = self._folder / name
        (home / "root").mkdir(parents=True)
        plan = Plan(name, free_port(), home, home / "root")
        with (home / "server.log").open("wb") as log:
            process = subprocess.Popen(
                PEERS[name](self, plan),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        peer = Peer(plan, process)
        self._peers.append(peer)
        _wait_for_port(peer)
        return peer

    def _ssh_key(self, name: str) -> Path:
        path = self._folder / name
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
        subprocess.run(argv, check=True)
        return path

    def _make_certificate(self) -> None:
        argv = [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj",
            "/CN=localhost", "-keyout", str(self.certificate_key),
            "-out", str(self.certificate),
        ]  # fmt: skip
        subprocess.run(argv, check=True, stderr=subprocess.DEVNULL)


def _apr1(password: str) -> str:
    argv = ["openssl", "passwd", "-apr1", "-stdin"]
    done = subprocess.run(
        argv, input=password.encode(), capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def _wait_for_port(peer: Peer) -> None:
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        if peer.process.poll() is not None:
            raise RuntimeError(f"{peer.plan.name} ended with {peer.process.returncode}")
        try:
            socket.create_connection((HOST, peer.plan.port), 0.5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{peer.plan.name} did not open its port")


def _openssh(workspace: Workspace, plan: Plan) -> list[str]:
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    config = f"""\
Port {plan.port}
ListenAddress {HOST}
HostKey {workspace.host_key}
AuthorizedKeysFile {workspace.client_key}.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
MaxStartups 100
Subsystem sftp internal-sftp
ForceCommand internal-sftp -d {plan.root}
"""
    return [
        program("sshd") or "sshd",
        "-D",
        "-e",
        "-f",
        plan.write("sshd_config", config),
    ]


def _paramiko(workspace: Workspace, plan: Plan) -> list[str]:
    script = Path(__file__).with_name("stock_sftp.py")
    where = [str(plan.port), str(plan.root), str(workspace.host_key)]
    return [sys.executable, str(script), *where]


def _rclone_sftp(workspace: Workspace, plan: Plan) -> list[str]:
    keys = ["--key", str(workspace.host_key)]
    keys += ["--authorized-keys", f"{workspace.client_key}.pub"]
    return ["rclone", "serve", "sftp", str(plan.root), *keys, *_rclone_at(plan)]


def _rclone_webdav(workspace: Workspace, plan: Plan) -> list[str]:
    tls = [
        "--cert",
        str(workspace.certificate),
        "--key",
        str(workspace.certificate_key),
    ]
    options = [*(tls if plan.tls else []), *_rclone_at(plan)]
    return ["rclone", "serve", "webdav", str(plan.root), *options]


def _rclone_at(plan: Plan) -> list[str]:
    return ["--addr", f"{HOST}:{plan.port}", "--config", str(plan.home / "none.conf")]


def _apache(workspace: Workspace, plan: Plan) -> list[str]:
    names = ["mpm_event", "authz_core", "authn_core", "authn_file", "authz_user"]
    names += ["auth_basic", "dav", "dav_fs", *(["ssl"] if plan.tls else [])]
    modules = "\n".join(
        f"LoadModule {name}_module {_APACHE_MODULES}/mod_{name}.so" for name in names
    )
    (plan.home / "locks").mkdir()
    who = ""
    if os.getuid() == 0:
        account = pwd.getpwnam("www-data")
        who = f"User #{account.pw_uid}\nGroup #{account.pw_gid}"
        for folder in (plan.root, plan.home / "locks"):
            os.chown(folder, account.pw_uid, account.pw_gid)
    tls = f"""\
SSLEngine on
SSLCertificateFile {workspace.certificate}
SSLCertificateKeyFile {workspace.certificate_key}"""
    config = f"""\
ServerRoot {plan.home}
ServerName localhost
Listen {HOST}:{plan.port}
{modules}
{who}
PidFile {plan.home}/pid
ErrorLog {plan.home}/error.log
DocumentRoot {plan.root}
DavLockDB {plan.home}/locks/db
KeepAlive On
MaxKeepAliveRequests 0
EnableSendfile On
{tls if plan.tls else ""}
<Directory {plan.root}>
  Dav On
  AuthType Basic
  AuthName store
  AuthUserFile {workspace.passwords}
  Require valid-user
</Directory>
"""
    apache = program("apache2", "httpd") or "apache2"
    return [apache, "-DFOREGROUND", "-f", plan.write("httpd.conf", config)]


def _nginx(workspace: Workspace, plan: Plan) -> list[str]:
    tls = (
        f"ssl_certificate {workspace.certificate};"
        f" ssl_certificate_key {workspace.certificate_key};"
    )
    temporary = " ".join(
        f"{kind}_temp_path {plan.home}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = f"""\
{f"load_module {_NGINX_DAV_EXT};" if _NGINX_DAV_EXT.exists() else ""}
{"user root;" if os.getuid() == 0 else ""}
daemon off;
pid {plan.home}/pid;
worker_processes auto;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on;
  keepalive_requests 1000000; client_max_body_size 0;
  {temporary}
  server {{
    listen {HOST}:{plan.port}{" ssl" if plan.tls else ""};
    {tls if plan.tls else ""}
    root {plan.root};
    auth_basic store;
    auth_basic_user_file {workspace.passwords};
    location / {{
      dav_methods PUT DELETE MKCOL COPY MOVE;
      dav_ext_methods PROPFIND OPTIONS;
      create_full_put_path on;
    }}
  }}
}}
"""
    log = str(plan.home / "error.log")
    return ["nginx", "-c", plan.write("nginx.conf", config), "-e", log]


def _wsgidav(workspace: Workspace, plan: Plan) -> list[str]:
    config = f"""\
host: {HOST}
port: {plan.port}
server: cheroot
block_size: 1048576
verbose: 1
provider_mapping: {{"/": "{plan.root}"}}
simple_dc: {{user_mapping: {{"*": true}}}}
"""
    if plan.tls:
        config += (
            f"ssl_certificate: {workspace.certificate}\n"
            f"ssl_private_key: {workspace.certificate_key}\nssl_adapter: builtin\n"
        )
    script = Path(sys.executable).with_name("wsgidav")
    return [str(script), "--config", plan.write("wsgidav.yaml", config)]


PEERS: Final[dict[str, Callable[[Workspace, Plan], list[str]]]] = {
    "openssh": _openssh,
    "paramiko": _paramiko,
    "rclone-sftp": _rclone_sftp,
    "apache": _apache,
    "apache-tls": _apache,
    "nginx": _nginx,
    "nginx-tls": _nginx,
    "rclone-webdav": _rclone_webdav,
    "rclone-webdav-tls": _rclone_webdav,
    "wsgidav": _wsgidav,
    "wsgidav-tls": _wsgidav,
}
