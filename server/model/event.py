"""The fields of a record, as stored and exported (audit.md, "Fields")."""

from typing import TypedDict, cast

from server.model.identity import Actor

Json = str | int | bool | list["Json"] | dict[str, "Json"] | None
"""What a record may hold; no floats, so that canonical JSON (RFC 8785) is plain."""


class Fields(TypedDict, total=False):
    """One record. Empty fields are left out."""

    id: str
    act: str
    phase: str
    time: str
    mono_ns: int
    boot: str
    operation: str
    outcome: str
    recovered: bool
    reason: str
    stage: str
    rule: str
    contract: str
    login: str
    device: str
    device_name: str
    device_key: str
    line: str
    source_ip: str
    source_port: int
    via: str
    protocol: str
    session: str
    node: str
    folder: str
    path: str
    path_raw: str
    target: str
    size: int
    bytes: int
    ranges: Json
    sha256: str
    sha256_before: str
    duration_us: int
    client: str
    algorithms: str
    detail: Json
    prev: str
    hash: str


def actor_fields(actor: Actor) -> Fields:
    """The part of each of an actor's records that never changes."""
    source = actor.source
    fields: Fields = {
        "protocol": str(actor.protocol),
        "contract": actor.contract,
        "login": actor.login,
        "device": actor.device,
        "device_name": actor.device_name,
        "device_key": actor.device_key,
        "line": actor.line,
        "source_ip": source.ip if source else "",
        "source_port": source.port if source else 0,
        "via": source.via if source else "",
        "session": actor.session,
        "client": actor.client,
    }
    return without_empty(fields)


def without_empty(fields: Fields) -> Fields:
    """Leave out what says nothing: None and empty text; zero counts are kept.

    A source port of zero means "no source", so it goes too.
    """
    kept = {
        key: value for key, value in fields.items() if value is not None and value != ""
    }
    if kept.get("source_port") == 0:
        del kept["source_port"]
    return cast("Fields", kept)
