"""Makes the vectors anew: `python -m tests.vectors.make`. The same bytes each time.

The keys' secrets are 32 equal bytes each: 0x00 the root's, 0x01 and 0x02 the days'.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from server.audit import hashchain, note
from server.audit.note import Note, Signer
from server.audit.statements import (
    NOTHING,
    Certificate,
    Checkpoint,
    Dropped,
    Head,
    Manifest,
    Retention,
    origin_of,
)

FOLDER = Path(__file__).parent
ORIGIN = origin_of("node-1")
TIME = "2026-11-22T22:00:00.00000{}Z"
RECORDS: list[dict[str, object]] = [
    {"phase": "event", "operation": "system.segment", "detail": {"open": []}},
    {"phase": "intent", "operation": "write", "path": "/private/a.txt"},
    {"phase": "outcome", "operation": "write", "path": "/private/a.txt", "bytes": 5},
    {"phase": "event", "operation": "delete", "path": "/shared/office/書類「一」.txt"},
    {"phase": "event", "operation": "delete", "path": 'q"b\\s\tc\u0001\u007f\u2028'},
    {
        "phase": "event",
        "operation": "stat",
        "detail": {"😀": 1, "\ufb33": 2, "a": None},
    },
    {
        "phase": "event",
        "operation": "stat",
        "path_raw": "base64:/w==",
        "recovered": True,
    },
    {"phase": "event", "operation": "read", "mono_ns": 9007199254740991, "size": 0},
]


def signers() -> list[Signer]:
    """The root and the keys of two days."""
    return [Signer.load(ORIGIN, bytes([number]) * 32) for number in range(3)]


def lines(stream: str) -> list[bytes]:
    """A stream of eight records."""
    made, prev = [], hashchain.GENESIS
    for seq, record in enumerate(RECORDS, start=1):
        fields = {
            "act": f"01M82{seq}",
            **record,
            "id": f"{stream}:{seq}",
            "node": "node-1",
            "prev": prev,
            "time": TIME.format(seq),
        }
        line, prev = hashchain.seal(fields)  # type: ignore[arg-type]  # odd on purpose
        made.append(line)
    return made


def _checkpoints(streams: Mapping[str, list[bytes]]) -> list[str]:
    """Three: two of the first day, one of the second."""
    _, first, second = signers()
    made: list[str] = []
    for number, (seq, key) in enumerate(((3, first), (5, first), (8, second)), 1):
        checkpoint = Checkpoint(
            origin=ORIGIN,
            number=number,
            time=TIME.format(seq),
            prev=Note.parse(made[-1]).digest if made else NOTHING,
            heads={
                f"node-1/{name}": Head(seq, stream[seq - 1][-67:-3].decode())
                for name, stream in streams.items()
            },
        )
        made.append(key.sign(checkpoint.text()))
    return made


def _certificates(checkpoints: list[str]) -> list[str]:
    """The root's and the days'; the second day began behind the second checkpoint."""
    root, first, second = signers()
    nothing, behind = Head(0, NOTHING), Head(2, Note.parse(checkpoints[1]).digest)
    made = []
    for number, (signer, key, after) in enumerate((
        (root, root, nothing),
        (root, first, nothing),
        (first, second, behind),
    )):
        certificate = Certificate(
            origin=ORIGIN,
            number=number,
            after=after,
            time=TIME.format(number),
            key=key.key.public,
        )
        made.append(signer.sign(certificate.text()))
    return made


def files() -> Mapping[str, bytes]:
    """Every vector file by name."""
    root, _, second = signers()
    streams = {name: lines(f"node-1/{name}") for name in ("cli", "worker-1")}
    checkpoints = _checkpoints(streams)
    gone = Head(2, streams["worker-1"][1][-67:-3].decode())
    stub = Retention(
        origin=ORIGIN,
        number=1,
        key=2,
        time=TIME.format(9),
        policy="days 366",
        streams={"node-1/worker-1": Dropped(head=gone, count=2, until=TIME.format(2))},
    )
    exported = b"".join(streams["worker-1"])
    return {
        "public-key.txt": f"{root.key}\n".encode(),
        "keys.notes": note.join(_certificates(checkpoints)).encode(),
        "checkpoints.notes": note.join(checkpoints).encode(),
        "retention.notes": note.join([second.sign(stub.text())]).encode(),
        "manifest.note": second.sign(_manifest(exported).text()).encode(),
        "records.json": _records(streams["worker-1"]),
        **{f"{name}.jsonl": b"".join(made) for name, made in streams.items()},
    }


def _manifest(exported: bytes) -> Manifest:
    return Manifest(
        origin=ORIGIN,
        key=2,
        time=TIME.format(9),
        form="jsonl",
        query="{}",
        records=len(RECORDS),
        first="node-1/worker-1:1",
        last=f"node-1/worker-1:{len(RECORDS)}",
        bytes=len(exported),
        sha256=sha256(exported).hexdigest(),
    )


def _records(made: list[bytes]) -> bytes:
    """Each record as fields, as the hashed text and as hash."""
    told = [
        {
            "fields": hashchain.parse(line).fields,
            "hashed": hashchain.body_of(line).decode(),
            "hash": hashchain.parse(line).hash,
        }
        for line in made
    ]
    return (json.dumps(told, ensure_ascii=True, indent=1) + "\n").encode()


if __name__ == "__main__":
    for name, content in files().items():
        (FOLDER / name).write_bytes(content)
