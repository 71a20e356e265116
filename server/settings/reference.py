"""The configuration's two papers, written from the schema.

`annotated_toml` is `config/kagikura.toml` (a test holds the file equal to it);
`reference` is what `kagikura config reference` prints.
"""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic.fields import FieldInfo

from server.settings.bounds import allowed, section_of
from server.settings.schema import Section, Settings

_WIDTH: Final = 88
_HEAD: Final = """\
# Kagikura's configuration: every key with its meaning, bounds and default.
# Copy it to /etc/kagikura/kagikura.toml and take the mark off the lines you change.
# Any key may come from the environment instead: KAGIKURA_SFTP__PORT=2022.
# Relative paths count from this file's folder. An unknown key is an error.
"""


def annotated_toml() -> str:
    """The whole configuration as comments, defaults filled in."""
    blocks = [_HEAD]
    for name, section in _sections("", Settings):
        lines = [] if not name else [*_comment(_summary(section)), f"[{name}]"]
        for key, field in _values(section):
            lines += ["", *_comment(f"{field.description} ({allowed(field)})")]
            lines.append(f"#{key} = {_toml(field.default)}")
        blocks.append("\n".join(lines).strip("\n") + "\n")
    return "\n".join(blocks)


def reference() -> str:
    """Every key as a table of Markdown, one section after the other."""
    parts = ["# Configuration keys\n"]
    for name, section in _sections("", Settings):
        parts.append(f"## {f'[{name}]' if name else 'Top level'}\n")
        parts.append("| key | default | allowed | meaning |\n|---|---|---|---|")
        parts += [
            f"| `{key}` | {_cell(field)} | {allowed(field)} | {field.description} |"
            for key, field in _values(section)
        ]
        parts.append("")
    return "\n".join(parts)


def _sections(name: str, section: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    yield name, section
    for key, field in section.model_fields.items():
        inner = section_of(field)
        if inner is not None:
            yield from _sections(f"{name}.{key}".lstrip("."), inner)


def _values(section: type[Section]) -> Iterator[tuple[str, FieldInfo]]:
    for key, field in section.model_fields.items():
        if section_of(field) is None:
            yield key, field


def _summary(section: type[Section]) -> str:
    """The section's docstring without its own name in front."""
    text = (section.__doc__ or "").partition(": ")[2]
    return text[:1].upper() + text[1:]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent="# ",
        subsequent_indent="# ",
        break_long_words=False,
    )


def _cell(field: FieldInfo) -> str:
    default = _toml(field.default)
    return f"`{default}`" if default else ""


def _toml(value: object) -> str:
    """A default as TOML writes it; JSON's texts and lists are TOML's too."""
    if value is None:
        return '""'
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(value, ensure_ascii=False)
