"""Virtual paths: one parser for both doors, so that both give the same verdict."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.model.errors import PathRefusedError
from server.model.name import NAME_BYTES_MAX, NameRule
from server.model.path import VirtualPath, absolute

NAME_UTF16_MAX = 255
"""What NTFS and HFS+ hold of a name."""

_ANY = st.text(st.characters(exclude_categories=()), max_size=300)
"""Lone surrogates too, for bytes that are no text."""


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        ("", "absolute"),
        ("private/a", "absolute"),
        ("/private/../etc", "dots"),
        ("/private/./a", "dots"),
        ("/private/a\0b", "control_character"),
        ("/private/a\nb", "control_character"),
        ("/private/a\x9fb", "control_character"),
        ("/private/a\\b", "windows_character"),
        ("/private/a:b", "windows_character"),
        ("/private/what?", "windows_character"),
        ("/private/end.", "windows_ending"),
        ("/private/end ", "windows_ending"),
        ("/private/CON", "windows_device"),
        ("/private/aux.txt", "windows_device"),
        ("/private/com1 .log", "windows_device"),
        ("/private/\udce3\udc81", "utf8"),
        ("/private/\u202egnp.exe", "direction_character"),
        ("/private/a\u2028b", "control_character"),
        ("/private/\ufeffa", "control_character"),
        ("/private/a\uffff", "no_character"),
        ("/private/a\ufdd0", "no_character"),
        ("/private/a\U0001fffe", "no_character"),
        ("/private/" + "a" * 256, "name_length"),
        ("/private/" + "見" * 86, "name_length"),
        ("/" + "a/" * 65, "path_depth"),
        ("/" + "a" * 5000, "path_length"),
        ("/private/" + "/".join(["b" * 200] * 30), "path_length"),
    ],
)
def test_a_bad_spelling_is_refused_by_the_rule_it_breaks(raw: str, rule: str) -> None:
    """The trail names the rule, so that an admin can tell a person what to change."""
    with pytest.raises(PathRefusedError) as refused:
        VirtualPath.parse(raw)

    assert refused.value.rule == rule


@pytest.mark.parametrize(
    "name",
    [
        "見積書 (2026年).pdf",
        "a b c",
        "😀.txt",
        "👩\u200d💻.txt",
        ".hidden",
        "a..b",
        "nul-1",
        "con_",
        "~$見積.xlsx",
        "._ガ",
        "._.",
    ],
)
def test_an_ordinary_name_is_kept_as_it_is(name: str) -> None:
    """Japanese names, spaces and emoji survive."""
    assert VirtualPath.parse(f"/private/{name}").name == name


def test_a_name_in_nfd_becomes_nfc() -> None:
    """Finder sends NFD; both spellings must meet the same file."""
    nfd = unicodedata.normalize("NFD", "ガ.txt")

    assert VirtualPath.parse(f"/private/{nfd}").name == "ガ.txt"


def test_empty_parts_are_dropped() -> None:
    """`//` and a last `/` are no different place (POSIX, section 4.13)."""
    assert str(VirtualPath.parse("//private//a/")) == "/private/a"
    assert str(VirtualPath.parse("/")) == "/"


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("a:b?.pdf", "a：b？.pdf"),  # noqa: RUF001 - full width is meant
        ("表\\ソ", "表＼ソ"),  # noqa: RUF001 - full width is meant
        ("con.txt", "_con.txt"),
        ("x. .", "x．\u3000．"),  # noqa: RUF001 - full width is meant
        ("scan\udc83\udca1.pdf", "scan%83%A1.pdf"),
        ("a\n\u202eb", "a%0A%E2%80%AEb"),
        ("%0\ufffe\u0301", "%0%EF%BF%BÉ"),
    ],
)
def test_a_scanner_gets_its_name_mapped_instead(raw: str, kept: str) -> None:
    """A scanner cannot choose its names, and a scan must not be lost over one."""
    assert VirtualPath.parse(f"/private/{raw}", NameRule.MAP).name == kept


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("", "/private"),
        (".", "/private"),
        ("a", "/private/a"),
        ("./a/../b", "/private/b"),
        ("..", "/"),
        ("/private/x/..", "/private"),
        ("/private/.", "/private"),
        ("/../etc", "/../etc"),
        ("../../etc", "../../etc"),
    ],
)
def test_dots_are_resolved_for_sftp_but_never_above_the_root(
    raw: str, text: str
) -> None:
    """filexfer-02 section 6.2; a climb comes back unchanged and is then refused."""
    assert absolute(raw, "/private") == text


@given(_ANY)
def test_what_is_accepted_is_safe_and_stable(raw: str) -> None:
    """Whatever a client sends: refused, or a path without any way out of the tree."""
    try:
        path = VirtualPath.parse("/" + raw)
    except PathRefusedError:
        return

    for part in path.parts:
        assert part not in {"", ".", ".."}
        assert "/" not in part
        assert "\0" not in part
        assert len(part.encode()) <= NAME_BYTES_MAX
        assert len(part.encode("utf-16-le")) // 2 <= NAME_UTF16_MAX
    assert VirtualPath.parse(str(path)) == path


def test_a_scan_with_a_name_that_is_too_long_keeps_its_kind_and_is_told_apart() -> None:
    """A title read from the page may be long; its extension opens the right program."""
    names = {
        VirtualPath.parse(f"/private/{'請求' * 60}{end}.pdf", NameRule.MAP).name
        for end in "AB"
    }

    assert len(names) == 2
    for name in names:
        assert name.startswith("請求請求")
        assert name.endswith(".pdf")
        assert NAME_BYTES_MAX - 4 < len(name.encode()) <= NAME_BYTES_MAX


@given(_ANY)
def test_what_a_scanner_sends_is_safe_too(raw: str) -> None:
    """Mapping never makes a name that the strict rule would refuse."""
    try:
        path = VirtualPath.parse("/" + raw, NameRule.MAP)
    except PathRefusedError:
        return

    assert VirtualPath.parse(str(path)) == path
