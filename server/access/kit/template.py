"""The texts of a kit: files of this package with `~~name` where a value goes.

Not `$name`: half of the files are shell scripts. Every value is checked or made by us
(slugs, numbers, a host name), so none needs quoting for a shell; pages escape them.
"""

import html
import re
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Final

_PACKAGE: Final = files("server.access.kit") / "templates"
_SECTION: Final = re.compile(
    r"^<!-- (if|unless) (\w+) -->\n((?:(?!<!-- (?:if|unless) ).)*?)^<!-- end -->\n",
    re.DOTALL | re.MULTILINE,
)
"""The innermost: one that holds no other."""


class _Text(Template):
    delimiter = "~~"


def filled(name: str, values: Mapping[str, str]) -> str:
    """A template with its values.

    Raises:
        KeyError: It asks for a value that there is none of.
    """
    return _Text(_read(name)).substitute(values)


def page(name: str, values: Mapping[str, str]) -> str:
    """The same for a part of an HTML page.

    Sections between `<!-- if name -->` (or `unless`) and `<!-- end -->` stay when the
    value is not empty (or is).
    """

    def kept(section: re.Match[str]) -> str:
        wanted = section[1] == "if"
        return section[3] if bool(values[section[2]]) is wanted else ""

    text, found = _SECTION.subn(kept, _read(name))
    while found:
        text, found = _SECTION.subn(kept, text)
    escaped = {key: html.escape(value) for key, value in values.items()}
    return _Text(text).substitute(escaped)


def _read(name: str) -> str:
    return (_PACKAGE / name).read_text("utf-8")
