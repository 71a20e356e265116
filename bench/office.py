"""A made-up office and its days, written as journals with a valid chain.

The skew is that of offices: a few people do most of the work, in office hours; a few
folders hold most of the files; new files are opened again soon, old ones hardly ever;
names are Japanese, with the odd English one; about two rows belong to each act.
"""

import itertools
import random
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from server.audit import hashchain, segment
from server.audit.segment import Position
from server.model.clock import rfc3339
from server.model.event import Fields

FIRST_DAY: Final = datetime(2026, 1, 5, tzinfo=UTC)
DAYS: Final = 300
SEGMENT_BYTES: Final = 64 << 20
_BLOCK: Final = 1000

_KINDS: Final = (
    ("list", 26),
    ("stat", 14),
    ("read", 33),
    ("write", 12),
    ("login", 4),
    ("logout", 4),
    ("mkdir", 1),
    ("rename", 2),
    ("delete", 2),
    ("copy", 1),
    ("refused", 1),
)
_EVENTS: Final = frozenset({"list", "stat", "login", "logout", "refused"})


def _words(text: str) -> list[str]:
    return text.split()


_DEPARTMENTS: Final = _words(
    "総務部 経理部 営業一課 営業二課 人事部 法務 設計 品質管理 sales projects "
    "購買 情報システム 役員室 支店/大阪 支店/福岡 scans"
)
_SUBJECTS: Final = _words(
    "請求書 見積書 契約書 議事録 給与明細 領収書 月次報告 税務申告 設計図 図面 "
    "写真 在庫表 発注書 納品書 社員名簿 予算案 決算短信 事業計画 invoice report "
    "contract minutes backup plan 源泉徴収 年末調整 経費精算 稟議書 覚書 仕様書"
)
_PARTNERS: Final = _words(
    "山田商店 佐藤工業 鈴木建設 高橋電機 田中製作所 東京物産 大阪鋼業 北海道水産 "
    "みずほ設計 さくら運輸 アルファ株式会社 ベータ商事 acme northwind 三和印刷 "
    "富士食品"
)
_ENDINGS: Final = (".pdf", ".pdf", ".pdf", ".xlsx", ".xlsx", ".docx", ".jpg", ".txt")
_FAMILIES: Final = _words(
    "sato suzuki takahashi tanaka ito watanabe yamamoto nakamura kobayashi kato "
    "yoshida yamada sasaki yamaguchi matsumoto inoue kimura hayashi shimizu saito"
)


class Person:
    """A login with its device and the line it usually comes through."""

    def __init__(self, number: int, chance: random.Random) -> None:
        family = _FAMILIES[number % len(_FAMILIES)]
        self.login = f"{family}{number // len(_FAMILIES) or ''}"
        self.fields: Fields = {
            "contract": "main" if number % 40 else "branch",
            "login": self.login,
            "device": ulid(chance, 1_700_000_000_000),
            "device_name": chance.choice(["laptop", "desk", "tablet"]) + f"-{number}",
            "device_key": f"{chance.getrandbits(256):064x}",
            "line": ("office", "office", "osaka", "fukuoka", "vpn")[number % 5],
            "source_ip": f"10.{number % 5}.{number // 250}.{number % 250 + 1}",
            "protocol": "webdav" if number % 3 == 0 else "sftp",
            "client": "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7"
            if number % 3
            else "Microsoft-WebDAV-MiniRedir/10.0.26100",
        }
        self.session = ""
        self.port = 0


class Office:
    """People, folders and files; says what is done next. Seeded, so repeatable."""

    def __init__(self, rows: int, seed: int) -> None:
        self.chance = chance = random.Random(seed)  # noqa: S311 - repeatable
        people = random.Random(7)  # noqa: S311 - the same ones in every stream
        self.people = [Person(number, people) for number in range(240)]
        self._busy = _zipf(len(self.people), 0.9)
        self.folders = [
            f"/shared/{department}/{year}年度/{subject}"
            for department in _DEPARTMENTS
            for year in range(2021, 2027)
            for subject in people.sample(_SUBJECTS, 12)
        ]
        people.shuffle(self.folders)
        self._used = _zipf(len(self.folders), 1.0)
        self.files = [self._name(chance) for _ in range(max(rows // 60, 50))]
        self._known = len(self.files)
        self._files_max = max(rows // 14, 100)

    def _name(self, chance: random.Random) -> str:
        folder = self.folders[_pick(chance, self._used)]
        number = chance.randrange(10_000)
        return (
            f"{folder}/{chance.choice(_SUBJECTS)}_{chance.choice(_PARTNERS)}_"
            f"{number:04d}{chance.choice(_ENDINGS)}"
        )

    def acts(self, rows: int) -> Iterator[tuple[int, list[Fields]]]:
        """Yield each act's time in microseconds and its records, until `rows`."""
        chance, told = self.chance, 0
        kinds = [kind for kind, weight in _KINDS for _ in range(weight)]
        for moment in _moments(rows, chance):
            person = self.people[_pick(chance, self._busy)]
            kind = chance.choice(kinds)
            if not person.session or chance.random() < 0.01:
                person.session = ulid(chance, moment // 1000)
                person.port = chance.randrange(32768, 61000)
            records = self._records(kind, person, moment)
            yield moment, records
            told += len(records)
            if told >= rows:
                return

    def _records(self, kind: str, person: Person, moment: int) -> list[Fields]:
        chance = self.chance
        whole: Fields = {
            **person.fields,
            "act": ulid(chance, moment // 1000),
            "session": person.session,
            "source_port": person.port,
            "operation": "login" if kind == "refused" else kind,
            "outcome": "refused" if kind == "refused" else "done",
        }
        if kind == "refused":
            whole.update(stage="password", rule="wrong", login=person.login)
        elif kind == "list":
            whole.update(path=self._folder(chance), folder="shared")
        elif kind not in {"login", "logout"}:
            whole.update(self._touched(kind, chance))
        if kind in _EVENTS:
            return [{**whole, "phase": "event"}]
        intent = {k: v for k, v in whole.items() if k not in {"outcome", "sha256"}}
        outcome: Fields = {
            **whole,
            "phase": "outcome",
            "duration_us": chance.randrange(800, 90_000),
        }
        if chance.random() < 0.004:
            outcome.update(outcome="aborted", reason="session_ended")
        return [{**intent, "phase": "intent"}, outcome]  # type: ignore[typeddict-item]  # a record without its outcome

    def _folder(self, chance: random.Random) -> str:
        if chance.random() < 0.3:
            return chance.choice(("/private", "/shared", "/", "/shared/経理部"))
        return self.folders[_pick(chance, self._used)]

    def _touched(self, kind: str, chance: random.Random) -> Fields:
        new = kind in {"write", "mkdir", "copy"} and self._known < self._files_max
        path = self._name(chance) if new else self._old(chance)
        if new:
            self.files.append(path)
            self._known += 1
        facts: Fields = {"path": path, "folder": "shared"}
        if kind in {"rename", "copy"}:
            facts["target"] = path.replace("_", "_済_", 1)
        if kind in {"read", "write"}:
            size = int(chance.lognormvariate(12, 2))
            facts.update(size=size, bytes=size, ranges=[[0, size]])
        if kind == "write":
            facts["sha256"] = f"{chance.getrandbits(256):064x}"
        return facts

    def _old(self, chance: random.Random) -> str:
        """Mostly a recent file."""
        back = int(chance.paretovariate(0.35))
        if back > self._known:
            back = chance.randrange(1, self._known + 1)
        return self.files[-back]


def write_stream(journal: Path, node: str, slot: str, *, rows: int, seed: int) -> int:
    """Write one stream with at least so many records; returns how many."""
    folder = journal / slot
    folder.mkdir(parents=True)
    office = Office(rows, seed)
    stream = f"{node}/{slot}"
    prev, seq, first, offset = hashchain.GENESIS, 0, 1, 0
    boot = f"{seed:032x}"
    file = (folder / segment.plain_name(1)).open("wb")
    for moment, records in office.acts(rows):
        for after_us, fields in enumerate(records):
            seq += 1
            at = moment + after_us * 900
            line, prev = hashchain.seal({
                **fields,
                "id": f"{stream}:{seq}",
                "time": rfc3339(at),
                "mono_ns": at * 1000,
                "boot": boot,
                "node": node,
                "prev": prev,
            })
            file.write(line)
            offset += len(line)
        if offset > SEGMENT_BYTES:
            file.close()
            first, offset = seq + 1, 0
            file = (folder / segment.plain_name(first)).open("wb")
    file.close()
    if not offset:
        (folder / segment.plain_name(first)).unlink()
        first = segment.segments(folder)[-1].first
        offset = segment.segments(folder)[-1].path.stat().st_size
    synced = segment.format_synced(Position(seq, first, offset))
    (folder / segment.SYNCED).write_bytes(synced)
    return seq


_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(chance: random.Random, time_ms: int) -> str:
    """A ULID of this moment."""
    number = time_ms << 80 | chance.getrandbits(80)
    return "".join(_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))


def _moments(rows: int, chance: random.Random) -> Iterator[int]:
    """Ascending times, most of them on working days between 8 and 19 o'clock."""
    open_hours = [
        (day, hour)
        for day in range(DAYS)
        for hour in range(24)
        if (day % 7 < 5 and 8 <= hour < 19) or chance.random() < 0.04
    ]
    each = rows / 1.5 / len(open_hours)
    for day, hour in open_hours:
        begin = FIRST_DAY + timedelta(days=day, hours=hour - 9)
        start_us = int(begin.timestamp() * 1_000_000)
        count = int(each * chance.uniform(0.7, 1.3)) + 1
        yield from sorted(
            start_us + chance.randrange(3_600_000_000) for _ in range(count)
        )
    last = start_us + 3_600_000_000
    yield from itertools.count(last, 50_000)


def _zipf(count: int, exponent: float) -> list[float]:
    return list(
        itertools.accumulate(1 / rank**exponent for rank in range(1, count + 1))
    )


def _pick(chance: random.Random, weights: list[float]) -> int:
    return bisect_right(weights, chance.random() * weights[-1])
