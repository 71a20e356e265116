"""A few hundred names that have broken a server or a client, as the bytes on the wire.

Windows' devices and characters, endings, lengths around the limit, both normal forms,
characters that turn, hide or spoil what is shown, Shift_JIS, and bytes at random.
"""

import random
import unicodedata
from typing import Final

_DEVICES: Final = (
    "CON", "con", "PRN", "AUX", "NUL", "COM1", "com9", "LPT1", "lpt0", "COM¹", "LPT³",
    "CONIN$", "CONOUT$", "COM10", "CONSOLE", "NULL", "xCON", "COM",
)  # fmt: skip
_DEVICE_FORMS: Final = ("{}", "{}.txt", "{}.tar.gz", "{} .txt", "{}x", "a.{}", "._{}")
_MARKS: Final = "<>:\"|?*\\;#%&+=@!'`~$^(){}[], "
_ENDINGS: Final = (".", " ", "..", ". .", "...", "\u3000", "\u00a0", "\uff0e")
_ODD: Final = (
    "\u202e", "\u202a", "\u2066", "\u200e", "\u061c", "\u200b", "\u200c", "\u200d",
    "\u2028", "\u2029", "\ufeff", "\ufffd", "\ufffe", "\uffff", "\ufdd0", "\U0001fffe",
    "\U0010ffff", "\u0085", "\u00ad", "\u2060", "\ue000", "\u0378", "\u0301", "\u3099",
    "\U000e0041", "\ufe0f", "\u115f", "\u3164",
)  # fmt: skip
_WORDS: Final = (
    "見積書 (2026年).pdf", "パンダ", "ガギグゲゴ", "\u01c4", "\ufb01", "\u00c5",
    "\u212b", "가각", "ﾃｽﾄ", "ｶﾞ", "\ufa19", "İstanbul", "ß", "ẞ", "Σς", "👩\u200d💻",
    "🇯🇵", "〜", "\u2212", "①㈱", "\u3007", "髙﨑", "𠮷野", "~$報告.docx", ".DS_Store",
    "._.", "._a", ".hidden", "-rf", "%2F", "%00", "%5c", "..%c0%af", "..;", "...a",
    "a..b", ".a.", "desktop.ini",
)  # fmt: skip
_CP932: Final = ("表", "ソート", "予定", "能", "十", "テスト表.pdf", "ﾃｽﾄ", "①")
_LENGTHS: Final = (254, 255, 256, 300)


def names() -> list[bytes]:
    """All of them, each once; none holds a slash, and none is `.` or `..`."""
    found = [form.format(one) for one in _DEVICES for form in _DEVICE_FORMS]
    found += [place.format(mark) for mark in _MARKS for place in ("{}a", "a{}", "a{}b")]
    found += [f"a{end}" for end in _ENDINGS] + [*_ENDINGS]
    found += [place.format(odd) for odd in _ODD for place in ("{}", "a{}b")]
    found += [f"c{chr(code)}d" for code in range(1, 32)] + ["c\x7fd", "\0", "a\0b"]
    found += _WORDS
    found += [unicodedata.normalize("NFD", word) for word in _WORDS]
    for length in _LENGTHS:
        found += ["a" * length, "b" * (length - 4) + ".pdf", "é" * (length // 2)]
        found += ["見" * (length // 3), "見" * (length // 3 + 1), "😀" * (length // 4)]
    raw = [name.encode() for name in found]
    raw += [word.encode("cp932") for word in _CP932]
    chance = random.Random(1)  # noqa: S311 - the same names each time
    raw += [chance.randbytes(chance.randint(1, 40)) for _ in range(60)]
    kept = (one for one in raw if b"/" not in one and one not in {b".", b".."})
    return list(dict.fromkeys(kept))
