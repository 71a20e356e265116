"""What the columns of an export are called, in English and in Japanese.

English headings are the fields' own names (audit.md, "Fields"), so that what is
written about them holds for the file too.
"""

from collections.abc import Iterable
from enum import StrEnum, unique
from typing import Final


@unique
class Language(StrEnum):
    """A language of headings."""

    EN = "en"
    JA = "ja"


JAPANESE: Final = {
    "row": "行番号",
    "id": "記録ID",
    "act": "操作ID",
    "phase": "段階",
    "time": "日時 (UTC)",
    "time_local": "日時 (現地)",
    "mono_ns": "単調時計 (ns)",
    "boot": "起動ID",
    "operation": "操作",
    "outcome": "結果",
    "recovered": "復旧",
    "reason": "理由",
    "stage": "判定段階",
    "rule": "判定規則",
    "contract": "契約",
    "login": "ログイン",
    "device": "端末ID",
    "device_name": "端末名",
    "device_key": "端末鍵",
    "line": "回線",
    "source_ip": "接続元IP",
    "source_port": "接続元ポート",
    "via": "経由",
    "protocol": "プロトコル",
    "session": "セッション",
    "node": "ノード",
    "folder": "フォルダ",
    "path": "パス",
    "path_raw": "パス (原文)",
    "target": "移動先",
    "size": "サイズ",
    "bytes": "転送バイト数",
    "ranges": "範囲",
    "sha256": "SHA-256",
    "sha256_before": "SHA-256 (変更前)",
    "duration_us": "所要時間 (μs)",
    "client": "クライアント",
    "algorithms": "暗号方式",
    "detail": "詳細",
    "prev": "前ハッシュ",
    "hash": "ハッシュ",
}


def headings(columns: Iterable[str], language: Language) -> list[str]:
    """The headings of these columns."""
    if language is Language.JA:
        return [JAPANESE[name] for name in columns]
    return list(columns)
