"""Settings from a TOML file and, over it, from the environment.

Where the file is looked for: the path given, `$KAGIKURA_CONFIG`, `./kagikura.toml`,
`/etc/kagikura/kagikura.toml`; without any, the defaults hold. The environment names a
key as `KAGIKURA_SFTP__PORT`. Relative paths count from the folder of the file that
names them, in the environment from the working directory.
"""

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from server.settings.bounds import allowed, is_list, is_path, section_of
from server.settings.schema import Section, Settings

PREFIX: Final = "KAGIKURA_"
CONFIG_VARIABLE: Final = "KAGIKURA_CONFIG"
_PLACES: Final = (Path("kagikura.toml"), Path("/etc/kagikura/kagikura.toml"))

Key = tuple[str, ...]
"""A dotted key, taken apart."""


class SettingsError(ValueError):
    """The configuration cannot be used; the message names place, key and remedy."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings and where they come from."""

    settings: Settings
    source: Path | None
    """The file, absolute; None when the defaults hold."""


def load(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Read the configuration.

    Args:
        path: The file asked for (`--config`), or None to look for one.
        environ: The environment; keys that begin with `KAGIKURA_` count.

    Raises:
        SettingsError: The file is missing or no TOML, or a key is unknown or bad.
    """
    source = _find(path, environ)
    values = _read(source) if source is not None else {}
    origins: dict[Key, str] = {}
    for name, text in sorted(environ.items()):
        if name.startswith(PREFIX) and name != CONFIG_VARIABLE:
            key = tuple(name.removeprefix(PREFIX).lower().split("__"))
            origins[key] = f"environment {name}"
            _put(values, key, _from_text(key, text), origins[key])
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        place = str(source) if source is not None else "configuration"
        raise SettingsError(_explain(error, place, origins)) from error
    return Loaded(settings, source)


def _find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = path or environ.get(CONFIG_VARIABLE)
    if named:
        if not _is_file(Path(named)):
            raise SettingsError(f"{named}: no such file")
        return Path(named).absolute()
    found = next((place for place in _PLACES if _is_file(place)), None)
    return found.absolute() if found is not None else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error


def _read(source: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(source.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{source}: no TOML: {error}") from error
    except OSError as error:
        raise SettingsError(f"{source}: {error.strerror}") from error
    _prepare(values, Settings, source.parent)
    return values


def _prepare(values: dict[str, Any], section: type[Section], folder: Path) -> None:
    """Anchor relative paths; let one text stand for a list of one."""
    for name, value in values.items():
        field = section.model_fields.get(name)
        if field is None:
            continue
        inner = section_of(field)
        if inner is not None and isinstance(value, dict):
            _prepare(value, inner, folder)
        elif is_path(field) and isinstance(value, str):
            values[name] = folder / value if value else None
        elif is_list(field) and isinstance(value, str):
            values[name] = [value]


def _from_text(key: Key, text: str) -> object:
    field = _field(key)
    if field is not None and is_path(field):
        return Path(text).absolute() if text else None
    return _list(text) if field is not None and is_list(field) else text


def _list(text: str) -> object:
    """Read a list as the environment gives it: JSON, or parted by commas."""
    if not text.lstrip().startswith("["):
        return [word.strip() for word in text.split(",") if word.strip()]
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _put(values: dict[str, Any], key: Key, value: object, origin: str) -> None:
    *sections, last = key
    for name in sections:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"{origin}: {name} holds a value, not a section")
        values = inner
    values[last] = value


def _field(key: Key) -> FieldInfo | None:
    section: type[Section] | None = Settings
    field: FieldInfo | None = None
    for name in key:
        field = section.model_fields.get(name) if section is not None else None
        section = section_of(field) if field is not None else None
    return field


def _explain(error: ValidationError, place: str, origins: Mapping[Key, str]) -> str:
    return "\n".join(
        _explain_one(
            found["type"], _names(found["loc"]), found["input"], place, origins
        )
        for found in error.errors(include_url=False)
    )


def _explain_one(
    kind: str, key: Key, value: object, place: str, origins: Mapping[Key, str]
) -> str:
    where = next(
        (origin for named, origin in origins.items() if _overlap(named, key)), place
    )
    dotted = ".".join(key)
    if kind == "extra_forbidden":
        return f"{where}: unknown key {dotted} = {_show(value)}; {_known(key)}"
    field = _field(key)
    rule = allowed(field) if field is not None else "something else"
    return f"{where}: {dotted} = {_show(value)} is not allowed; allowed: {rule}"


def _overlap(named: Key, key: Key) -> bool:
    shorter = min(len(named), len(key))
    return named[:shorter] == key[:shorter]


def _names(location: Iterable[int | str]) -> Key:
    return tuple(part for part in location if isinstance(part, str))


def _known(key: Key) -> str:
    parent = _field(key[:-1])
    section = Settings if parent is None else section_of(parent)
    names = list(section.model_fields) if section is not None else []
    close = difflib.get_close_matches(key[-1], names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}allowed here: {', '.join(names)}"


def _show(value: object) -> str:
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(value, ensure_ascii=False, default=str)
