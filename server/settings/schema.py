"""Every setting: its bound, unit, help and safe default.

`config/kagikura.toml` is generated from this page. Units end a name (`_s`, `_bytes`);
the bound's side comes last (`_max`, `_min`). Unknown keys are errors.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 takes a free one, which the ready line names."""


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text))


def _loopback(text: str) -> str:
    address = ipaddress.ip_address(text)
    if not address.is_loopback:
        raise ValueError("only a loopback address, 127.0.0.1 or ::1")
    return str(address)


def _startups(text: str) -> str:
    begin, percent, full = map(int, text.split(":"))
    if not 1 <= begin < full or percent > PERCENT_MAX:
        raise ValueError("write begin:percent:full, begin below full")
    return text


PERCENT_MAX: Final = 100
Network = Annotated[str, AfterValidator(_network)]
"""CIDR, without bits behind the prefix."""

Startups = Annotated[
    str, Field(pattern=r"^\d{1,5}:\d{1,3}:\d{1,5}$"), AfterValidator(_startups)
]
"""OpenSSH's `MaxStartups`: begin, per cent, full."""


class Section(BaseModel):
    """Common rules: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ListenerSettings(Section):
    """What every listener has."""

    enabled: bool = Field(default=True, description="Serve it.")
    host: tuple[str, ...] = Field(
        ("0.0.0.0", "::"),  # noqa: S104 - the line check decides who is heard
        description="Addresses to listen on; IPv4 and IPv6 use sockets of their own.",
    )
    port: Port = Field(0, description="TCP port; 0 takes a free one.")
    proxy_protocol: Literal["off", "required"] = Field(
        "off",
        description="required: every connection begins with a PROXY header (v1 or v2), "
        "which names the client; off: none is believed.",
    )
    proxy_trusted: tuple[Network, ...] = Field(
        (), description="Proxies that are heard when it is required, as CIDR."
    )
    startups: Startups = Field(
        "10:30:100",
        description="Connections that have not logged in: from 10 on 30 % of new ones "
        "need the place of the oldest silent one, rising to all at 100.",
    )
    startups_source_max: int = Field(
        50,
        ge=1,
        le=10000,
        description="The same for one IPv4 address or IPv6 /64.",
    )


class SftpSettings(ListenerSettings):
    """`[sftp]`: the SSH listener."""

    port: Port = Field(2022, description="TCP port; 0 takes a free one.")
    algorithms: Literal["modern", "strict"] = Field(
        "modern",
        description="strict: only the key exchange that withstands quantum computers "
        "(ML-KEM: OpenSSH 9.9 or newer); lines opened by --crypto keep "
        "theirs.",
    )
    connections_max: int = Field(256, ge=1, le=4096, description="SSH connections.")
    login_grace_s: int = Field(
        60, ge=5, le=600, description="Seconds from connect to a finished login."
    )
    login_tries_max: int = Field(
        6, ge=1, le=10, description="Failed tries before the connection is closed."
    )
    key_queries_max: int = Field(
        20, ge=1, le=100, description="Unsigned public-key queries per connection."
    )
    channels_max: int = Field(4, ge=1, le=64, description="Channels per connection.")
    handles_max: int = Field(
        256, ge=1, le=4096, description="Open files and folders per channel."
    )
    packet_bytes_max: int = Field(
        262144, ge=35000, le=1048576, description="Longest SSH or SFTP packet."
    )
    idle_timeout_s: int = Field(
        3600, ge=10, le=86400, description="Silence before a session is closed."
    )


class WebListenerSettings(ListenerSettings):
    """What both WebDAV listeners have: clients open several connections at once."""

    startups: Startups = Field(
        "100:30:400",
        description="Connections that have not logged in: from 100 on 30 % of new ones "
        "need the place of the oldest silent one, rising to all at 400.",
    )
    startups_source_max: int = Field(
        200,
        ge=1,
        le=10000,
        description="The same for one IPv4 address or IPv6 /64.",
    )


class SecretSettings(WebListenerSettings):
    """`[webdav.secret]`: WebDAV with device secrets, for Windows and Finder."""

    enabled: bool = Field(default=False, description="Serve it.")
    port: Port = Field(8445, description="TCP port; 0 takes a free one.")
    tls: bool = Field(
        default=True,
        description="false only on loopback or behind a trusted proxy.",
    )


class WebdavSettings(WebListenerSettings):
    """`[webdav]`: the HTTPS listener that asks for a device's certificate."""

    port: Port = Field(8443, description="TCP port; 0 takes a free one.")
    names: tuple[str, ...] = Field(
        (),
        description="More names and addresses for the self-made server certificate.",
    )
    certificate: Path | None = Field(
        None, description="PEM file of a certificate of your own, chain included."
    )
    key: Path | None = Field(None, description="PEM file of its private key.")
    threads: int = Field(40, ge=4, le=512, description="Requests served at once.")
    connections_max: int = Field(
        500, ge=10, le=10000, description="Kept-alive connections."
    )
    request_timeout_s: int = Field(
        30, ge=5, le=600, description="Silence in a request before it is given up."
    )
    idle_timeout_s: int = Field(
        300, ge=5, le=3600, description="Silence between requests of a connection."
    )
    header_timeout_s: int = Field(
        10, ge=1, le=120, description="Seconds for a handshake or a whole header."
    )
    header_bytes_max: int = Field(
        65536, ge=4096, le=1048576, description="Longest request header."
    )
    body_bytes_max: int = Field(
        1099511627776, ge=1048576, description="Longest upload; 1 TiB by default."
    )
    xml_bytes_max: int = Field(
        1048576, ge=4096, le=16777216, description="Longest XML request body."
    )
    lock_timeout_s_max: int = Field(
        3600, ge=60, le=86400, description="Longest WebDAV lock before a refresh."
    )
    locks_login_max: int = Field(
        1000, ge=1, le=10000, description="Locks that a login holds at a time."
    )
    properties_max: int = Field(
        100, ge=0, le=1000, description="Dead properties of a file or folder."
    )
    property_bytes_max: int = Field(
        65536, ge=1024, le=1048576, description="Their names and values together."
    )
    secret: SecretSettings = Field(SecretSettings(), description="")


class AuthSettings(Section):
    """`[auth]`: passwords and one-time codes."""

    totp_default: Literal["required", "off"] = Field(
        "required", description="For new logins of people; intake never has a code."
    )
    unlock_hours: int = Field(
        12, ge=1, le=168, description="How long a proved code opens a WebDAV drive."
    )
    unlock_sftp: bool = Field(
        default=True,
        description="Whether it does so for SFTP too: clients connect per transfer.",
    )
    totp_drift_steps_max: int = Field(
        1, ge=0, le=3, description="30-second steps that a clock may be off."
    )
    argon2_memory_kib: int = Field(
        65536, ge=19456, le=1048576, description="Memory of one password check."
    )
    argon2_iterations: int = Field(3, ge=1, le=20, description="Passes.")
    argon2_parallel_max: int = Field(
        2, ge=1, le=64, description="Password checks at the same time."
    )
    password_minutes: int = Field(
        15,
        ge=0,
        le=720,
        description="How long a process knows a right password again without a check "
        "of that cost; 0: never. A wrong one always costs it.",
    )
    password_length_min: int = Field(
        10, ge=8, le=128, description="Characters a new password must have."
    )
    tries_free: int = Field(
        5,
        ge=1,
        le=100,
        description="Failures of a login on a device and line before each further one "
        "doubles a delay, from a second on.",
    )
    tries_delay_s_max: int = Field(60, ge=1, le=3600, description="Longest delay.")
    unknown_logins_max: int = Field(
        20,
        ge=2,
        le=500,
        description="Login names that do not exist, from one source in 15 minutes, "
        "before it is banned.",
    )
    ban_minutes: int = Field(
        10, ge=1, le=1440, description="A first ban; a further one is twice as long."
    )
    enrolment_hours: int = Field(
        72, ge=1, le=720, description="How long an enrolment code can be used."
    )
    pending_days: int = Field(
        7,
        ge=1,
        le=90,
        description="How long a key shown beside a right password can be approved.",
    )
    revision_poll_ms: int = Field(
        250, ge=50, le=2000, description="How often a changed account is looked for."
    )
    accounts_age_s_max: int = Field(
        30,
        ge=2,
        le=3600,
        description="Logins are refused when the accounts are older than this.",
    )


class AuditSettings(Section):
    """`[audit]`: the trail."""

    url: str = Field(
        "", description="SQLAlchemy URL of the audit DB; empty: SQLite in state_dir."
    )
    durability: Literal["disk", "process"] = Field(
        "disk",
        description="disk: a record counts once fdatasync returned; process: once "
        "written (survives a crash of the daemon, not a power cut).",
    )
    spool_bytes_max: int = Field(
        1073741824, ge=1048576, description="Records that the DB does not hold yet."
    )
    reserve_bytes: int = Field(
        67108864,
        ge=65536,
        le=1073741824,
        description="Kept free for outcomes and refusals when the disk is full.",
    )
    segment_bytes_max: int = Field(
        67108864, ge=65536, le=1073741824, description="Size of a journal file."
    )
    retention_days: int = Field(
        366, ge=1, le=36500, description="How long records are kept."
    )
    archive_dir: Path | None = Field(
        None,
        description="Where due records go, compressed, before they are dropped; "
        "unset: nowhere.",
    )
    checkpoint_s: int = Field(
        10, ge=1, le=3600, description="Seconds between checkpoints under traffic."
    )
    checkpoint_idle_s: int = Field(
        60, ge=1, le=3600, description="Seconds between checkpoints when idle."
    )
    checkpoint_copy_dir: Path | None = Field(
        None,
        description="A second folder for checkpoints, best on another disk or machine.",
    )
    content_hash: Literal["uploads", "all", "off"] = Field(
        "uploads", description="Whose SHA-256 is recorded when it went by whole."
    )
    listing_window_s: int = Field(
        5, ge=1, le=60, description="Repeated listings of a folder make one record."
    )
    query_timeout_s: int = Field(
        30, ge=1, le=3600, description="A search that takes longer is stopped."
    )


class DatabaseSettings(Section):
    """`[database]`: the accounts."""

    url: str = Field(
        "", description="SQLAlchemy URL of the accounts DB; empty: SQLite in state_dir."
    )


class StorageSettings(Section):
    """`[storage]`: the files."""

    sync: Literal["close", "never"] = Field(
        "close", description="close: data is on the disk before a close is answered."
    )
    trash_days: int = Field(
        30, ge=1, le=3650, description="How long replaced and deleted files are kept."
    )
    private_case: Literal["distinct", "collide"] = Field(
        "distinct",
        description="collide: private folders refuse a name that differs from another "
        "only in case or width. Shared folders: `kagikura folder change`.",
    )
    private_mac_files: Literal["keep", "hide", "drop"] = Field(
        "keep",
        description="What becomes of ._* and .DS_Store in private folders: hide keeps "
        "them out of listings, drop forgets new ones.",
    )
    keep_bytes_max: int = Field(
        16777216,
        ge=0,
        le=1099511627776,
        description="A file that is changed in place goes to the trash first: as a "
        "clone where the file system makes them, else as a copy up to this size.",
    )


class MetricsSettings(Section):
    """Numbers for monitoring, in Prometheus' format: `http://127.0.0.1:9464/metrics`."""

    enabled: bool = Field(default=False, description="Serve them.")
    host: Annotated[str, AfterValidator(_loopback)] = Field(
        "127.0.0.1", description="A loopback address: there is no login, and no name."
    )
    port: Port = Field(9464, description="TCP port; 0 takes a free one.")


class Settings(Section):
    """The whole configuration."""

    state_dir: Path = Field(
        Path("/var/lib/kagikura/state"), description="DBs, journal, keys, certificates."
    )
    data_dir: Path = Field(Path("/var/lib/kagikura/data"), description="The files.")
    node: str = Field(
        "node-1",
        pattern=r"^[a-z0-9][a-z0-9-]{0,30}$",
        description="This machine's name in the trail; unique among nodes.",
    )
    workers: int = Field(1, ge=1, le=64, description="Processes that serve clients.")
    drain_s: int = Field(
        30, ge=0, le=3600, description="Seconds that running requests get at a stop."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="How much the log on stderr says."
    )
    sftp: SftpSettings = Field(SftpSettings(), description="")
    webdav: WebdavSettings = Field(WebdavSettings(), description="")
    auth: AuthSettings = Field(AuthSettings(), description="")
    audit: AuditSettings = Field(AuditSettings(), description="")
    database: DatabaseSettings = Field(DatabaseSettings(), description="")
    storage: StorageSettings = Field(StorageSettings(), description="")
    metrics: MetricsSettings = Field(MetricsSettings(), description="")
