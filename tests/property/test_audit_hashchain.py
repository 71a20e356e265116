"""The chain's text is RFC 8785, and nothing in it can change unseen."""

import json
from typing import Any, cast

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from server.audit import hashchain
from server.audit.hashchain import ChainError
from server.model.event import Fields

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NUMBERS = st.integers(-hashchain.EXACT_MAX, hashchain.EXACT_MAX)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
    ),
    max_leaves=12,
)
RECORDS = st.fixed_dictionaries(
    {"path": TEXT, "bytes": NUMBERS, "detail": JSON},
    optional={"recovered": st.booleans()},
)


def _fields(
    value: dict[str, Any], seq: int = 1, prev: str = hashchain.GENESIS
) -> Fields:
    return cast("Fields", {**value, "id": f"n/w:{seq}", "prev": prev})


@given(RECORDS)
def test_the_canonical_text_is_that_of_rfc_8785(value: dict[str, Any]) -> None:
    """Other people's verifiers must compute the same hash."""
    fields = _fields(value)

    assert hashchain.canonical(fields) == rfc8785.dumps(cast("Any", fields))


@given(RECORDS)
def test_a_stored_line_reads_back_as_the_record(value: dict[str, Any]) -> None:
    """What is searched and exported is what was recorded."""
    line, digest = hashchain.seal(_fields(value))

    link = hashchain.follow(line, stream="n/w", seq=1, prev=hashchain.GENESIS)

    assert link.fields == {**_fields(value), "hash": digest}
    assert hashchain.body_of(line) == hashchain.canonical(_fields(value))
    assert line.count(b"\n") == 1


@given(st.text(st.characters(codec=None, categories=["Cs", "L", "N"]), max_size=20))
def test_text_that_is_no_utf_8_never_breaks_the_chain(name: str) -> None:
    """A client chooses its bytes; the trail must hold them whatever they are."""
    line, _ = hashchain.seal(_fields({"path_raw": name, "detail": {name: [name]}}))

    stored = json.loads(line)["path_raw"]

    assert stored == hashchain.spell(name)
    hashchain.parse(line)


@given(RECORDS, st.data())
def test_any_changed_byte_is_found(value: dict[str, Any], data: st.DataObject) -> None:
    """One flipped bit anywhere in a line is enough."""
    line, _ = hashchain.seal(_fields(value))
    place = data.draw(st.integers(0, len(line) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = line[:place] + bytes([line[place] ^ flip]) + line[place + 1 :]

    with pytest.raises(ChainError):
        hashchain.follow(changed, stream="n/w", seq=1, prev=hashchain.GENESIS)


@given(RECORDS, st.data())
def test_any_cut_is_found(value: dict[str, Any], data: st.DataObject) -> None:
    """A torn line is never taken for a record."""
    line, _ = hashchain.seal(_fields(value))
    length = data.draw(st.integers(0, len(line) - 1))

    with pytest.raises(ChainError):
        hashchain.parse(line[:length])


@given(st.lists(RECORDS, min_size=3, max_size=6), st.data())
def test_a_record_that_is_missing_or_moved_breaks_the_chain(
    values: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Deleting or reordering whole lines must not go unseen either."""
    lines, prev = [], hashchain.GENESIS
    for seq, value in enumerate(values, 1):
        line, prev = hashchain.seal(_fields(value, seq, prev))
        lines.append(line)
    gone = data.draw(st.integers(0, len(lines) - 2))
    swapped = [*lines]
    swapped[gone], swapped[gone + 1] = swapped[gone + 1], swapped[gone]

    assert _follows(lines)
    assert not _follows(lines[:gone] + lines[gone + 1 :])
    assert not _follows(swapped)


def _follows(lines: list[bytes]) -> bool:
    prev = hashchain.GENESIS
    try:
        for seq, line in enumerate(lines, 1):
            prev = hashchain.follow(line, stream="n/w", seq=seq, prev=prev).hash
    except ChainError:
        return False
    return True
