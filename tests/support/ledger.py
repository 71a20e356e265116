"""What clients asked for and what they were told: the outside half of the truth.

Each client writes `invoke` before it asks and `ok`, `fail` or `info` after the answer
(Jepsen's four states; `info` means that no answer came, so either may be true). The
file lies outside the store under test. Content is a pseudo-random stream of its seed,
so that every byte can be checked and a foreign byte is noticed.
"""

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["put", "write", "get", "rename", "delete", "mkdir"]
"""`put` brings a file whole or not at all, `write` does it in place (SFTP)."""
Answer = Literal["ok", "fail", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One act that a client asked for."""

    id: int
    client: str
    kind: Kind
    path: str
    target: str = ""
    seed: int = 0
    length: int = 0


@dataclass(slots=True)
class Entry:
    """An act and what came of it; `info` until an answer is written."""

    asked: Asked
    answer: Answer = "info"
    detail: str = ""


class RefusedByServerError(Exception):
    """The server answered, and the answer was no."""


def content(seed: int, length: int) -> bytes:
    """The bytes that `seed` stands for."""
    return random.Random(seed).randbytes(length)  # noqa: S311 - not for secrets


class Ledger:
    """The book of all clients of one run. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._next = 0
        self.entries: list[Entry] = []

    @contextmanager
    def asking(
        self,
        client: str,
        kind: Kind,
        path: str,
        *,
        target: str = "",
        seed: int = 0,
        length: int = 0,
    ) -> Iterator[None]:
        """Write `invoke`, then how the block ended.

        No error is `ok`; `RefusedByServerError` is `fail`; any other is `info`, and
        ends here too, so that the client can go on.
        """
        with self._lock:
            self._next += 1
            asked = Asked(
                id=self._next,
                client=client,
                kind=kind,
                path=path,
                target=target,
                seed=seed,
                length=length,
            )
            entry = Entry(asked)
            self.entries.append(entry)
            self._write({"state": "invoke", **asdict(asked)})
        try:
            yield
        except RefusedByServerError as error:
            self._answer(entry, "fail", str(error))
        except Exception as error:  # noqa: BLE001 - whatever it was, no answer came
            self._answer(entry, "info", repr(error))
        else:
            self._answer(entry, "ok", "")

    def close(self) -> None:
        self._file.close()

    def count(self, answer: Answer) -> int:
        """How many acts ended so."""
        return sum(entry.answer == answer for entry in self.entries)

    def _answer(self, entry: Entry, answer: Answer, detail: str) -> None:
        with self._lock:
            entry.answer, entry.detail = answer, detail
            self._write({"state": answer, "id": entry.asked.id, "detail": detail})

    def _write(self, line: dict[str, object]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
