"""Conditional requests and ranges."""

import pytest

from server.webdav.conditions import failed_condition, range_still_valid
from server.webdav.download import RangeError, wanted_ranges

NOW = "Thu, 01 Jan 2026 00:00:00 GMT"
NOW_S = 1767225600


@pytest.mark.parametrize(
    ("method", "headers", "etag", "status"),
    [
        ("PUT", {"HTTP_IF_MATCH": '"a"'}, "a", None),
        ("PUT", {"HTTP_IF_MATCH": '"b", "a"'}, "a", None),
        ("PUT", {"HTTP_IF_MATCH": '"b"'}, "a", 412),
        ("PUT", {"HTTP_IF_MATCH": 'W/"a"'}, "a", 412),
        ("PUT", {"HTTP_IF_MATCH": "*"}, "a", None),
        ("PUT", {"HTTP_IF_MATCH": "*"}, None, 412),
        ("PUT", {"HTTP_IF_NONE_MATCH": "*"}, None, None),
        ("PUT", {"HTTP_IF_NONE_MATCH": "*"}, "a", 412),
        ("GET", {"HTTP_IF_NONE_MATCH": '"a"'}, "a", 304),
        ("GET", {"HTTP_IF_NONE_MATCH": 'W/"a"'}, "a", 304),
        ("GET", {"HTTP_IF_NONE_MATCH": '"b"'}, "a", None),
        ("GET", {"HTTP_IF_MODIFIED_SINCE": NOW}, "a", 304),
        ("PUT", {"HTTP_IF_MODIFIED_SINCE": NOW}, "a", None),
        ("PUT", {"HTTP_IF_UNMODIFIED_SINCE": NOW}, "a", None),
        ("GET", {"HTTP_IF_MODIFIED_SINCE": "no date"}, "a", None),
    ],
)
def test_conditions_follow_rfc_9110(
    method: str, headers: dict[str, str], etag: str | None, status: int | None
) -> None:
    """Section 13: strong comparison for If-Match, weak for If-None-Match."""
    mtime_s = None if etag is None else NOW_S

    assert failed_condition(headers, method=method, etag=etag, mtime_s=mtime_s) == (
        status
    )


def test_a_file_that_changed_since_fails_the_older_condition() -> None:
    """Two people save the same file: the second must hear of the first."""
    headers = {"HTTP_IF_UNMODIFIED_SINCE": NOW}

    assert failed_condition(headers, method="PUT", etag="a", mtime_s=NOW_S + 1) == 412


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("bytes=0-9", [(0, 10)]),
        ("bytes=90-", [(90, 10)]),
        ("bytes=90-1000", [(90, 10)]),
        ("bytes=-5", [(95, 5)]),
        ("bytes=-500", [(0, 100)]),
        ("bytes=5-6, 0-1", [(5, 2), (0, 2)]),
        ("bytes=0-1,200-300", [(0, 2)]),
        ("bytes=0-5,5-6", None),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(6)), None),
        ("bytes=5-4", None),
        ("bytes=0-1,5-4", None),
        ("items=0-9", None),
        ("", None),
    ],
)
def test_ranges_are_answered_and_odd_ones_ignored(
    value: str, parts: list[tuple[int, int]] | None
) -> None:
    """RFC 9110 section 14.2 lets a server ignore a Range."""
    assert wanted_ranges(value, 100) == parts


@pytest.mark.parametrize("value", ["bytes=100-", "bytes=200-300", "bytes=-0"])
def test_a_range_outside_the_file_is_an_error(value: str) -> None:
    """416, so that a resumed download notices that the file became shorter."""
    with pytest.raises(RangeError):
        wanted_ranges(value, 100)


def test_a_range_of_another_version_is_the_whole_file() -> None:
    """If-Range: half of the old and half of the new is nobody's file."""
    assert range_still_valid({"HTTP_IF_RANGE": '"a"'}, etag="a")
    assert not range_still_valid({"HTTP_IF_RANGE": '"b"'}, etag="a")
    assert not range_still_valid({"HTTP_IF_RANGE": 'W/"a"'}, etag="a")


def test_a_date_does_not_say_which_version_a_range_is_of() -> None:
    """Two versions of one second have the same: it is a weak validator."""
    assert not range_still_valid({"HTTP_IF_RANGE": NOW}, etag="a")
