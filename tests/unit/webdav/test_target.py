"""Paths and destinations as requests name them."""

from typing import Any

import pytest
from wsgidav.dav_error import DAVError

from server.model.errors import PathRefusedError
from server.webdav.target import destination, requested, tokens_of


def _environ(**values: str) -> dict[str, Any]:
    return {"HTTP_HOST": "files.example:8443", "wsgi.url_scheme": "https", **values}


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/private/a%20b;c", "/private/a b;c"),
        ("/%E8%A6%8B%E7%A9%8D?x=/y", "/見積"),
        ("/a/../b/./c", "/a/../b/./c"),
        ("/a%00b", "/a\x00b"),
        ("/%82%a0", "/\udc82\udca0"),
        ("/100%", "/100%"),
        ("*", "/"),
    ],
)
def test_the_path_reaches_the_vfs_as_it_was_sent(target: str, path: str) -> None:
    """What is refused must be on record as sent, so nothing is repaired here."""
    assert requested({"REQUEST_URI": target}) == path


def test_an_encoded_slash_is_refused() -> None:
    """One server's separator is another one's letter."""
    with pytest.raises(PathRefusedError):
        requested({"REQUEST_URI": "/a%2Fb"})


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("https://files.example:8443/private/b", "/private/b"),
        ("HTTPS://FILES.example:8443/private/b", "/private/b"),
        ("/private/a;b%23c", "/private/a;b#c"),
        ("/private/\xe8\xa6\x8b", "/private/見"),
    ],
)
def test_a_destination_is_a_url_of_this_server_or_a_path(value: str, path: str) -> None:
    """Wsgidav drops what follows a `;` and moves to another name."""
    assert destination(_environ(HTTP_DESTINATION=value)) == path


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("", 400),
        ("private/b", 400),
        ("/b?x", 400),
        ("/b#x", 400),
        ("http://files.example:8443/b", 502),
        ("https://other.example/b", 502),
        ("https://[::1/b", 400),
    ],
)
def test_another_destination_is_refused(value: str, status: int) -> None:
    """Other servers are not ours to write to."""
    with pytest.raises(DAVError) as caught:
        destination(
            _environ(HTTP_DESTINATION=value, HTTP_X_FORWARDED_HOST="other.example")
        )
    assert caught.value.value == status


@pytest.mark.parametrize("value", ["<" * 60000, "(<a>)" + "(" * 60000, "", "()", "a"])
def test_a_malformed_if_is_refused_at_once(value: str) -> None:
    """Searched for its parts it kept the whole process for ten seconds."""
    with pytest.raises(DAVError) as caught:
        tokens_of({"HTTP_IF": value})

    assert caught.value.value == 400


def test_the_tokens_of_an_if_are_those_of_all_its_lists() -> None:
    """RFC 4918, section 10.4.2, with a tag and without."""
    tagged = '<http://a/b(1)> (<urn:a> ["x"]) (Not <urn:b>)'

    assert tokens_of({"HTTP_IF": tagged}) == {"urn:a", "urn:b"}
    assert tokens_of({"HTTP_IF": "(<urn:c>)"}) == {"urn:c"}
