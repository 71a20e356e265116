"""Names in CP932, as old scanners and Windows programs in Japan send them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.model.charset import Charset

BACKSLASH_WORDS = ("表", "ソ", "能力", "申請書", "予定表.pdf", "十貼暴")
"""Characters whose second byte is 0x5C, the backslash, or another mark of ASCII."""


def sent(octets: bytes) -> str:
    """Bytes as the door reads them."""
    return octets.decode("utf-8", "surrogateescape")


@pytest.mark.parametrize("word", BACKSLASH_WORDS)
def test_a_second_byte_that_looks_like_a_backslash_is_none(word: str) -> None:
    """Taken byte by byte, a folder named 表 would be a broken name or a way out."""
    assert Charset.CP932.read(sent(word.encode("cp932"))) == word
    assert Charset.CP932.written(word) == word.encode("cp932")


def test_half_width_katakana_is_not_taken_for_utf8() -> None:
    """Their bytes may be valid UTF-8; the administrator said what the device sends."""
    raw = sent("ﾃｽ".encode("cp932"))
    assert raw == "ý"

    assert Charset.CP932.read(raw) == "ﾃｽ"


@given(st.binary(max_size=60))
def test_no_byte_makes_or_hides_a_slash(octets: bytes) -> None:
    """A path is cut at its slashes before anybody knows the character set."""
    read = Charset.CP932.read(sent(octets))

    assert read.count("/") == octets.count(b"/")
    assert read.count("\0") == octets.count(b"\0")


@pytest.mark.parametrize(
    "name",
    ["10〜20", "a\u2212b", "한글.txt", "é.txt", "〜한글", "ガ", "plain", "%41", "%E3x"],
)
def test_what_is_shown_leads_back_to_the_stored_name(name: str) -> None:
    """A device that lists a folder must be able to ask for what it was shown."""
    shown = Charset.CP932.read(sent(Charset.CP932.written(name)))

    assert name in {shown, *Charset.CP932.spellings(shown)}


def test_an_escape_never_hides_a_slash_or_a_dot() -> None:
    """`%2F` and `%2E` are letters here, nothing else."""
    for spelling in Charset.CP932.spellings("%2F..%2E%E3%2F"):
        assert "/" not in spelling
        assert "%2F..%2E" in spelling


def test_utf8_knows_the_spelling_of_a_mac_only() -> None:
    """Data that was copied from a Mac bears names in NFD."""
    assert Charset.UTF8.spellings("ガ.txt") == ("カ\u3099.txt",)
    assert Charset.UTF8.spellings("見積.txt") == ()
