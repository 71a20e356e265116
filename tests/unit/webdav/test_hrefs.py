"""Names as parts of hrefs."""

from hypothesis import given
from hypothesis import strategies as st

from server.webdav.hrefs import href_of, hrefs_of

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"))


@given(names=st.lists(NAMES, min_size=1))
def test_many_names_are_escaped_as_one_is(names: list[str]) -> None:
    """Else a listing would name what no request can ask for."""
    assert hrefs_of(names) == [href_of(name) for name in names]
