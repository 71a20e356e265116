"""A client that speaks to `Requests` without a transport, packet by packet."""

from dataclasses import dataclass

from server.sftp import wire
from server.sftp.requests import Requests
from server.sftp.wire import Reader

INIT, VERSION = 1, 2
OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT, OPENDIR, READDIR = range(
    3, 13
)
REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME, READLINK, SYMLINK = range(13, 21)
STATUS, HANDLE, DATA, NAME, ATTRS = range(101, 106)
EXTENDED, EXTENDED_REPLY = 200, 201
OK, EOF, NO_SUCH_FILE, DENIED, FAILURE = range(5)
UNSUPPORTED = 8

FLAG_READ, FLAG_WRITE, FLAG_APPEND, FLAG_CREAT, FLAG_TRUNC, FLAG_EXCL = (
    1 << bit for bit in range(6)
)
NO_ATTRS = wire.u32(0)


@dataclass(frozen=True)
class Answer:
    """A reply: its type, and the rest behind the id."""

    kind: int
    body: memoryview

    @property
    def reader(self) -> Reader:
        return Reader(self.body)

    @property
    def status(self) -> int:
        assert self.kind == STATUS
        return self.reader.u32()

    @property
    def message(self) -> str:
        reader = self.reader
        reader.u32()
        return reader.text()

    @property
    def handle(self) -> bytes:
        assert self.kind == HANDLE, self.message
        return bytes(self.reader.string())

    @property
    def content(self) -> bytes:
        assert self.kind == DATA
        return bytes(self.reader.string())


class Client:
    """Numbers its requests and checks the numbers of the replies."""

    def __init__(self, requests: Requests) -> None:
        self.requests = requests
        self._id = 0

    def greet(self, version: int = 3) -> Reader:
        reply = self.requests.answer(memoryview(bytes([INIT]) + wire.u32(version)))
        reader = Reader(memoryview(reply))
        assert reader.u32() == len(reply) - 4
        assert reader.byte() == VERSION
        return reader

    def ask(self, kind: int, *fields: bytes) -> Answer:
        self._id += 1
        packet = bytes([kind]) + wire.u32(self._id) + b"".join(fields)
        reply = memoryview(self.requests.answer(memoryview(packet)))
        reader = Reader(reply)
        assert reader.u32() == len(reply) - 4
        answered = reader.byte()
        assert reader.u32() == self._id
        return Answer(answered, reply[9:])

    def extended(self, name: str, *fields: bytes) -> Answer:
        return self.ask(EXTENDED, wire.text(name), *fields)

    def open(self, path: str, pflags: int) -> Answer:
        return self.ask(OPEN, wire.text(path), wire.u32(pflags), NO_ATTRS)

    def write(self, handle: bytes, offset: int, content: bytes) -> Answer:
        fields = (wire.string(handle), wire.u64(offset), wire.string(content))
        return self.ask(WRITE, *fields)

    def read(self, handle: bytes, offset: int, length: int) -> Answer:
        fields = (wire.string(handle), wire.u64(offset), wire.u32(length))
        return self.ask(READ, *fields)

    def close(self, handle: bytes) -> Answer:
        return self.ask(CLOSE, wire.string(handle))

    def put(self, path: str, content: bytes) -> None:
        handle = self.open(path, FLAG_WRITE | FLAG_CREAT | FLAG_TRUNC).handle
        assert self.write(handle, 0, content).status == OK
        assert self.close(handle).status == OK

    def get(self, path: str) -> bytes:
        handle = self.open(path, FLAG_READ).handle
        content = self.read(handle, 0, 1 << 20).content
        assert self.close(handle).status == OK
        return content

    def names(self, path: str) -> list[str]:
        handle = self.ask(OPENDIR, wire.text(path)).handle
        names: list[str] = []
        while (reply := self.ask(READDIR, wire.string(handle))).kind == NAME:
            reader = reply.reader
            for _ in range(reader.u32()):
                names.append(reader.text())
                reader.text()
                skip_attributes(reader)
            reader.end()
        assert reply.status == EOF
        assert self.close(handle).status == OK
        return names


def skip_attributes(reader: Reader) -> None:
    """The fixed fields that this server sends."""
    assert reader.u32() == 0xF
    reader.u64()
    for _ in range(5):
        reader.u32()
