"""What counts as Basic credentials."""

import base64

import pytest

from server.webdav.authentication import parse_basic


def _basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("text", "user", "password"),
    [
        ("demo:secret", "demo", "secret"),
        ("demo:", "demo", ""),
        ("alice+laptop:a:b", "alice+laptop", "a:b"),
        ("alice:パス ワード", "alice", "パス ワード"),
    ],
)
def test_credentials_are_read_as_utf_8(text: str, user: str, password: str) -> None:
    """RFC 7617: the first colon parts them, the realm says UTF-8."""
    assert parse_basic(_basic(text)) == (user, password)
    assert parse_basic(_basic(text).replace("Basic", "bAsIc")) == (user, password)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic QQ",
        "Basic QUJD",
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        _basic(":x"),
        _basic("a\x00:x"),
        _basic("a:x\n"),
        "Bearer abc",
        "Digest username=demo",
    ],
)
def test_anything_else_is_no_credentials(header: str) -> None:
    """Wsgidav answers some of these with a 500."""
    assert parse_basic(header) is None
