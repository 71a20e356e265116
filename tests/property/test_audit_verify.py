"""Whatever is done to a signed trail, the verifier finds it; it never cries wolf."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.audit import hashchain
from server.audit.note import Note, Signer
from server.audit.statements import (
    NOTHING,
    Certificate,
    Checkpoint,
    Dropped,
    Head,
    Retention,
    origin_of,
)
from server.audit.verify import Finding, Notes, Proof, Walk
from tests.support.proof import altered, relinked
from tests.support.trail import NODE, event

ONE, TWO = f"{NODE}/worker-1", f"{NODE}/worker-2"
ORIGIN = origin_of(NODE)
TIME = "2026-11-22T22:00:00.000000Z"
LENGTH = 40


@dataclass(frozen=True)
class Trail:
    """Two streams and what was signed about them; the last checkpoint covers all."""

    one: tuple[bytes, ...]
    two: tuple[bytes, ...]
    certificates: tuple[str, ...]
    checkpoints: tuple[str, ...]
    retentions: tuple[str, ...] = ()

    def verify(self) -> list[Finding]:
        """All findings."""
        notes = Notes(
            list(self.certificates),
            list(self.checkpoints),
            list(self.retentions),
            whole=True,
        )
        proof = Proof(notes, _signers()[0].key)
        found = list(proof.findings)
        for stream, lines in ((ONE, self.one), (TWO, self.two)):
            walk = Walk(stream, proof)
            wrong = walk.feed(lines) or walk.end()
            found += [wrong] if wrong else []
        return found


@cache
def _signers() -> list[Signer]:
    """The root and three daily keys."""
    return [Signer.load(ORIGIN, bytes([number]) * 32) for number in range(4)]


def _stream(stream: str) -> tuple[bytes, ...]:
    prev, lines = hashchain.GENESIS, []
    for seq in range(1, LENGTH + 1):
        fields = event(
            seq, path=f"/private/書類-{seq}", id=f"{stream}:{seq}", prev=prev
        )
        line, prev = hashchain.seal({**fields, "time": TIME})
        lines.append(line)
    return tuple(lines)


def _hash(lines: tuple[bytes, ...], seq: int) -> Head:
    return Head(seq, hashchain.parse(lines[seq - 1]).hash)


@cache
def good() -> Trail:
    """Eight checkpoints; the key is turned behind the third and the sixth."""
    one, two = _stream(ONE), _stream(TWO)
    signers = _signers()
    certificates = [
        _certificate(0, Head(0, NOTHING)),
        _certificate(1, Head(0, NOTHING)),
    ]
    checkpoints: list[str] = []
    prev, key = NOTHING, 1
    for number in range(1, 9):
        heads = {ONE: _hash(one, number * 5), TWO: _hash(two, number * 5)}
        made = Checkpoint(
            origin=ORIGIN, number=number, time=TIME, prev=prev, heads=heads
        )
        checkpoints.append(signers[key].sign(made.text()))
        prev = Note.parse(checkpoints[-1]).digest
        if number in {3, 6}:
            key += 1
            certificates.append(_certificate(key, Head(number, prev)))
    return Trail(one, two, tuple(certificates), tuple(checkpoints))


def _certificate(number: int, after: Head) -> str:
    text = Certificate(
        origin=ORIGIN,
        number=number,
        after=after,
        time=TIME,
        key=_signers()[number].key.public,
    ).text()
    return _signers()[max(number - 1, 0)].sign(text)


def _flipped(octets: bytes, chance: random.Random) -> bytes:
    changed = bytearray(octets)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _flip_line(trail: Trail, chance: random.Random) -> Trail:
    at = chance.randrange(LENGTH)
    lines = list(trail.one)
    lines[at] = _flipped(lines[at], chance)
    # A flipped line feed joins two lines, as in a file.
    joined = b"".join(lines)
    return replace(trail, one=tuple(joined.splitlines(keepends=True)))


def _delete(trail: Trail, chance: random.Random) -> Trail:
    at = chance.randrange(LENGTH)
    count = chance.randrange(1, 5)
    return replace(trail, one=trail.one[:at] + trail.one[at + count :])


def _swap(trail: Trail, chance: random.Random) -> Trail:
    lines = list(trail.one)
    a, b = chance.sample(range(LENGTH), 2)
    lines[a], lines[b] = lines[b], lines[a]
    return replace(trail, one=tuple(lines))


def _repeat(trail: Trail, chance: random.Random) -> Trail:
    lines = list(trail.one)
    lines.insert(chance.randrange(LENGTH), chance.choice(trail.one))
    return replace(trail, one=tuple(lines))


def _forge(trail: Trail, chance: random.Random) -> Trail:
    """Change a record and make hashes anew: its own, or all behind it too."""
    at = chance.randrange(LENGTH)
    lines = [*trail.one]
    lines[at] = altered(lines[at], login="mallory")
    if chance.random() < 0.5:
        lines = list(relinked(lines, at + 1))
    return replace(trail, one=tuple(lines))


def _insert(trail: Trail, chance: random.Random) -> Trail:
    """Insert a record, number all behind it anew and link them."""
    at = chance.randrange(1, LENGTH)
    lines = [*trail.one[:at], trail.one[at - 1], *trail.one[at:]]
    numbered = [
        altered(line, id=f"{ONE}:{number}") for number, line in enumerate(lines, 1)
    ]
    return replace(trail, one=tuple(relinked(numbered, at)))


def _cut(trail: Trail, chance: random.Random) -> Trail:
    return replace(trail, one=trail.one[: chance.randrange(LENGTH)])


def _swap_streams(trail: Trail, _: random.Random) -> Trail:
    return replace(trail, one=trail.two, two=trail.one)


def _flip_note(trail: Trail, chance: random.Random) -> Trail:
    field = chance.choice(["certificates", "checkpoints"])
    notes = list(getattr(trail, field))
    at = chance.randrange(len(notes))
    notes[at] = _flipped(notes[at].encode(), chance).decode("utf-8", "replace")
    return replace(trail, **{field: tuple(notes)})


def _lose_note(trail: Trail, chance: random.Random) -> Trail:
    """Take one away; that the last checkpoint is gone only a copy can tell."""
    field = chance.choice(["certificates", "checkpoints"])
    notes = list(getattr(trail, field))
    del notes[chance.randrange(1 if field == "checkpoints" else 0, len(notes) - 1)]
    return replace(trail, **{field: tuple(notes)})


def _resign(trail: Trail, chance: random.Random) -> Trail:
    """Rewrite from a record on, and all its checkpoints with today's key."""
    at = chance.randrange(30)
    lines = [*trail.one]
    lines[at] = altered(lines[at], login="mallory")
    one = tuple(relinked(lines, at + 1))
    made, prev = list[str](), NOTHING
    for written in trail.checkpoints:
        old = Checkpoint.parse(Note.parse(written).text)
        heads = {**old.heads, ONE: _hash(one, old.heads[ONE].seq)}
        text = replace(old, heads=heads, prev=prev).text()
        made.append(
            written if text == Note.parse(written).text else _signers()[3].sign(text)
        )
        prev = Note.parse(made[-1]).digest
    return replace(trail, one=one, checkpoints=tuple(made))


def _replace_key(trail: Trail, chance: random.Random) -> Trail:
    """A stranger's chain from some key on."""
    at = chance.randrange(len(trail.certificates))
    stranger = Signer.load(ORIGIN, b"x" * 32)
    old = Certificate.parse(Note.parse(trail.certificates[at]).text)
    made = stranger.sign(replace(old, key=stranger.key.public).text())
    return replace(
        trail,
        certificates=(
            *trail.certificates[:at],
            made,
            *trail.certificates[at + 1 :],
        ),
    )


def _false_retention(trail: Trail, chance: random.Random) -> Trail:
    """Call a deletion a retention, signed by nobody who may."""
    gone = chance.randrange(1, LENGTH)
    text = Retention(
        origin=ORIGIN,
        number=1,
        key=3,
        time=TIME,
        policy="days 1",
        streams={ONE: Dropped(head=_hash(trail.one, gone), count=gone, until=TIME)},
    ).text()
    stranger = Signer.load(ORIGIN, b"x" * 32)
    return replace(trail, one=trail.one[gone:], retentions=(stranger.sign(text),))


Mutation = Callable[[Trail, random.Random], Trail]
MUTATIONS: list[Mutation] = [
    _flip_line,
    _delete,
    _swap,
    _repeat,
    _forge,
    _insert,
    _cut,
    _swap_streams,
    _flip_note,
    _lose_note,
    _resign,
    _replace_key,
    _false_retention,
]


def test_the_trail_itself_is_good() -> None:
    """Else the tests below would find what they did not do."""
    assert good().verify() == []


@given(st.sampled_from(MUTATIONS), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_each_mutation_is_found(mutate: Mutation, chance: random.Random) -> None:
    """One hundred percent: a verifier that misses one is none."""
    changed = mutate(good(), chance)

    assert changed.verify()


@pytest.mark.soak
def test_a_hundred_thousand_mutations_are_found() -> None:
    """The number that reliability.md asks for."""
    chance = random.Random(20261122)  # noqa: S311 - the same run each time
    for _ in range(100_000):
        mutate = chance.choice(MUTATIONS)
        assert mutate(good(), chance).verify(), mutate


@given(st.integers(1, LENGTH), st.integers(0, LENGTH), st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_signed_retention_is_accepted_and_no_more(
    gone: int,
    begins: int,
    unfinished: bool,  # noqa: FBT001 - hypothesis gives values by position
) -> None:
    """Pruning never looks like tampering, nor tampering like pruning."""
    trail = good()
    text = Retention(
        origin=ORIGIN,
        number=1,
        key=3,
        time=TIME,
        policy="days 1",
        streams={ONE: Dropped(head=_hash(trail.one, gone), count=gone, until=TIME)},
    ).text()
    begins = min(begins, gone) if unfinished else begins
    pruned = replace(
        trail, one=trail.one[begins:], retentions=(_signers()[3].sign(text),)
    )

    found = pruned.verify()

    assert bool(found) == (begins > gone)
    assert json.dumps(found) == "[]" or str(found[0].where).startswith(ONE)
