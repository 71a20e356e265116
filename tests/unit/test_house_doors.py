"""Doors that the import contracts cannot watch."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "server").rglob("*.py"))

# Who may know where the files lie: `daemon.parts` hands the folder to storage, and
# `access.initialise` makes it.
_MAY_KNOW_DATA_DIR = {
    "server/daemon/parts.py",
    "server/access/initialise.py",
    "server/settings/schema.py",
}
_MAY_KNOW_PACKAGES = ("server/vfs/", "server/storage/")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _names_in(path: Path) -> set[str]:
    """Every name, attribute and keyword; texts and comments do not count."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.arg(arg=name):
                found.add(name)
            case ast.keyword(arg=str(name)):
                found.add(name)
    return found


def test_only_the_vfs_and_storage_touch_the_files() -> None:
    """An act that reaches a file by another way would leave no record."""
    knowing = {_name(path) for path in MODULES if "data_dir" in _names_in(path)}

    strangers = {
        name
        for name in knowing - _MAY_KNOW_DATA_DIR
        if not name.startswith(_MAY_KNOW_PACKAGES)
    }

    assert strangers == set()


def test_nobody_switches_a_check_off_without_a_reason() -> None:
    """`# noqa: CODE - why` and `# type: ignore[code]  # why` only."""
    silent = re.compile(
        r"# noqa(?!: [A-Z0-9, ]+ - \S)|# type: ignore(?!\[[\w-]+\]  # \S)"
    )

    found = [
        f"{_name(path)}:{number}: {line.strip()}"
        for path in MODULES
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if silent.search(line)
    ]

    assert found == []
