"""Sizes that ruff cannot bound: bodies of 50 lines, modules of the product of 400.

The one file and the one function that keep growing are what makes a house tiring.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BODY_LINES_MAX = 50
MODULE_LINES_MAX = 400
MODULES = sorted([
    path
    for folder in ("server", "tests", "bench")
    for path in (ROOT / folder).rglob("*.py")
    if "migrations" not in path.parts
])


def _bodies(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            documented = ast.get_docstring(node) is not None and len(node.body) > 1
            first = node.body[1 if documented else 0]
            yield node.name, (node.end_lineno or 0) - first.lineno + 1


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_body_and_no_module_grows_beyond_its_limit(path: Path) -> None:
    """A body is read on one screen, a module in one sitting."""
    text = path.read_text("utf-8")
    long = {
        name: lines
        for name, lines in _bodies(ast.parse(text))
        if lines > BODY_LINES_MAX
    }

    assert long == {}
    if path.is_relative_to(ROOT / "server"):
        assert text.count("\n") <= MODULE_LINES_MAX
