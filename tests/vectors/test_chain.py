"""The chain's published example: docs and other verifiers rely on these bytes.

Computed by hand with sha256sum: the first hash is that of the byte 01, 32 zero bytes
and the first body; the second that of 01, the first hash's bytes and the second body.
"""

import subprocess

from server.audit import hashchain

FIRST_BODY = (
    '{"id":"node-1/worker-1:1","operation":"mkdir","path":"/private/報告",'
    '"prev":"' + "0" * 64 + '"}'
)


FIRST_HASH = "75a624089525163556b5b45c0acc82441efece6c1200df31488b8cc97a0a23c2"


def _sha256sum(octets: bytes) -> str:
    """The hash by a tool that shares no code with us."""
    done = subprocess.run(["sha256sum"], input=octets, capture_output=True, check=True)
    return done.stdout.split()[0].decode()


def test_the_first_record_hashes_as_published() -> None:
    """A change here would make every existing journal unverifiable."""
    line, digest = hashchain.seal({
        "path": "/private/報告",
        "operation": "mkdir",
        "id": "node-1/worker-1:1",
        "prev": "0" * 64,
    })

    assert line.decode() == f'{FIRST_BODY[:-1]},"hash":"{digest}"}}\n'
    assert digest == FIRST_HASH


def test_the_example_is_what_sha256sum_says() -> None:
    """The vector was not made by the code under test."""
    assert _sha256sum(b"\x01" + bytes(32) + FIRST_BODY.encode()) == FIRST_HASH


def test_the_second_record_depends_on_the_first() -> None:
    """`prev` goes into the hash as bytes and into the line as text."""
    fields = {"id": "node-1/worker-1:2", "prev": FIRST_HASH}
    body = '{"id":"node-1/worker-1:2","prev":"' + FIRST_HASH + '"}'

    _, digest = hashchain.seal(fields)  # type: ignore[arg-type]  # a plain dict

    octets = b"\x01" + bytes.fromhex(FIRST_HASH) + body.encode()
    assert digest == _sha256sum(octets)
