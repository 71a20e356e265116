"""The names of the properties that every resource has, in Clark notation."""

from typing import Final

WIN32: Final = "{urn:schemas-microsoft-com:}"
CREATED: Final = f"{WIN32}Win32CreationTime"
MODIFIED: Final = f"{WIN32}Win32LastModifiedTime"
ACCESSED: Final = f"{WIN32}Win32LastAccessTime"
BITS: Final = f"{WIN32}Win32FileAttributes"

FOLDER_BITS: Final = "00000010"
FILE_BITS: Final = "00000020"
"""FILE_ATTRIBUTE_DIRECTORY and FILE_ATTRIBUTE_ARCHIVE, as Windows writes them."""

LIVE: Final = (
    "{DAV:}resourcetype",
    "{DAV:}creationdate",
    "{DAV:}getlastmodified",
    "{DAV:}displayname",
    "{DAV:}lockdiscovery",
    "{DAV:}supportedlock",
)
LIVE_OF_FILES: Final = (
    "{DAV:}getcontentlength",
    "{DAV:}getcontenttype",
    "{DAV:}getetag",
)
