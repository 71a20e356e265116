"""Replies leave in order, in packets that fit, whatever the window does."""

from hypothesis import given
from hypothesis import strategies as st

from server.sftp.train import HEAD, LENGTH_BYTES, TAG_BYTES, Departure, Train

DATA_BYTES = 100
CAPACITY = 1000


def data_of(departure: Departure) -> bytes:
    """What a client reads from these packets, whose form is checked."""
    data, at = departure.first, 0
    for wagon in departure.wagons:
        length, padding, kind, channel, count = HEAD.unpack_from(departure.whole, at)
        assert (kind, channel) == (94, 7)
        assert length == HEAD.size - LENGTH_BYTES + count + padding
        assert length % 16 == 0
        assert 4 <= padding < 20
        assert count <= DATA_BYTES
        assert len(wagon.plain) == length == len(wagon.sealed) - TAG_BYTES
        packet = departure.whole[at : at + LENGTH_BYTES + length + TAG_BYTES]
        assert bytes(wagon.head) == bytes(packet[:LENGTH_BYTES])
        assert wagon.plain == packet[LENGTH_BYTES:-TAG_BYTES]
        data += bytes(packet[HEAD.size : HEAD.size + count])
        assert bytes(wagon.message[9:]) == data[len(data) - count :]
        at += len(packet)
    assert at == len(departure.whole)
    return data


steps = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 250)),
    st.tuples(st.just("read"), st.integers(1, 250)),
    st.tuples(st.just("leave"), st.integers(0, 300)),
)


@given(st.lists(steps, max_size=60))
def test_what_was_added_leaves_in_order(steps: list[tuple[str, int]]) -> None:
    """Short replies, file content read into place, and any window, mixed."""
    train = Train(channel=7, data_bytes=DATA_BYTES, capacity=CAPACITY)
    added = left = b""
    for number, (step, size) in enumerate(steps):
        reply = bytes((number + n) % 251 for n in range(size))
        if step == "leave":
            departure = train.leave(size)
            part = data_of(departure)
            assert len(part) <= size
            left += part
            train.through()
        elif train.room < size + 13:
            continue
        elif step == "add":
            train.add(reply)
            added += reply
        else:
            at = 0
            for gap in train.gaps(train.used + 13, size):
                gap[:] = reply[at : at + len(gap)]
                at += len(gap)
            short = size // 2  # the file ended
            train.extend(b"h" * 13, short)
            added += b"h" * 13 + reply[:short]
        assert train.waiting == len(added) - len(left)
    while train.waiting:
        left += data_of(train.leave(37))
        train.through()

    assert left == added
    train.rest()
    assert train._memory is None


def test_padding_tells_nothing_of_earlier_replies() -> None:
    """What lay in the slot before must not go out behind a shorter reply."""
    train = Train(channel=7, data_bytes=DATA_BYTES, capacity=CAPACITY)
    read(train, b"s" * (DATA_BYTES - 13))
    data_of(train.leave(DATA_BYTES))
    train.through()
    read(train, b"short")

    (wagon,) = train.leave(DATA_BYTES).wagons

    assert b"s" * 4 not in bytes(wagon.plain).replace(b"short", b"")


def read(train: Train, content: bytes) -> None:
    """Content that a READ finds goes to its place."""
    at = 0
    for gap in train.gaps(train.used + 13, len(content)):
        gap[:] = content[at : at + len(gap)]
        at += len(gap)
    train.extend(b"h" * 13, len(content))


def test_short_replies_leave_together_and_touch_no_memory() -> None:
    """An idle drive that looks at files holds no train for it."""
    train = Train(channel=7, data_bytes=DATA_BYTES, capacity=CAPACITY)
    train.add(b"one")
    train.add(b"two")

    assert train.leave(DATA_BYTES).first == b"onetwo"
    assert train._memory is None
