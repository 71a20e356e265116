"""A resource's part of a multistatus as text."""

import pytest
from lxml import etree

from server.storage.port import Attributes
from server.webdav.asked import Asked
from server.webdav.multistatus import Members, sheets

FOUND = Attributes(
    is_folder=False, size=1, mode=0o600, mtime_ns=0, atime_ns=0, ctime_ns=0, inode=1
)


@pytest.mark.parametrize(
    "name",
    ["{http://www.w3.org/XML/1998/namespace}a", "{urn:a%25&'}a", "a", "{DAV:}a"],
)
def test_an_unknown_property_is_named_as_it_was_asked_for(name: str) -> None:
    """A name that spoils the XML would spoil the whole listing."""
    of_files, _ = sheets(Asked("named", (name,)))

    text = of_files.responses("/", Members([("a", FOUND)]))

    found = etree.XML(b'<D:multistatus xmlns:D="DAV:">%b</D:multistatus>' % text)
    (prop,) = found.iter("{DAV:}prop")
    assert [element.tag for element in prop] == [name]
