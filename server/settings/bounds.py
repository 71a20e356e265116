"""What a key of the schema allows, in words, for errors and for the reference."""

from pathlib import Path
from typing import Final, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from server.settings.schema import Section

_WORDS: Final[dict[object, str]] = {
    bool: "true or false",
    str: "text",
    Path: "a path",
}


def section_of(field: FieldInfo) -> type[Section] | None:
    """The section that a key opens, or None when it holds a value."""
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, Section):
        return kind
    return None


def is_list(field: FieldInfo) -> bool:
    """Whether the key holds a list of texts."""
    return get_origin(field.annotation) is tuple


def is_path(field: FieldInfo) -> bool:
    """Whether the key holds a path (or nothing)."""
    return Path in {field.annotation, *get_args(field.annotation)}


def allowed(field: FieldInfo) -> str:
    """Say what the key allows: `integer, 1 to 4096`, `"disk" or "process"` ..."""
    if section_of(field) is not None or is_list(field):
        return "a list of texts" if is_list(field) else "a section"
    if field.annotation is int:
        return _integer(field)
    choices = get_args(field.annotation)
    if get_origin(field.annotation) is Literal:
        return " or ".join(f'"{choice}"' for choice in choices)
    if choices:
        return f"{_WORDS[choices[0]]}, or left out"
    return _WORDS[field.annotation] + _pattern(field)


def _integer(field: FieldInfo) -> str:
    lowest = _constraint(field, "ge")
    highest = _constraint(field, "le")
    if lowest is None and highest is None:
        return "integer"
    if highest is None:
        return f"integer, at least {lowest}"
    return f"integer, {lowest} to {highest}"


def _pattern(field: FieldInfo) -> str:
    pattern = _constraint(field, "pattern")
    return "" if pattern is None else f" matching {pattern}"


def _constraint(field: FieldInfo, name: str) -> object:
    found = (getattr(part, name, None) for part in field.metadata)
    return next((value for value in found if value is not None), None)
