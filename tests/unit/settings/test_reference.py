"""The committed configuration and the reference follow the schema."""

import re
from pathlib import Path

from server.settings.loader import load
from server.settings.reference import annotated_toml, reference
from server.settings.schema import Settings

COMMITTED = Path(__file__).parents[3] / "config" / "kagikura.toml"


def test_the_committed_configuration_equals_the_generated_one() -> None:
    """`kagikura config reference --toml > config/kagikura.toml` renews it."""
    assert COMMITTED.read_text("utf-8") == annotated_toml()


def test_every_line_of_it_can_be_uncommented(tmp_path: Path) -> None:
    """What an operator takes the mark off must load, and say the default."""
    text = re.sub(r"^#(?=\w+ = )", "", annotated_toml(), flags=re.MULTILINE)
    config = tmp_path / "k.toml"
    config.write_text(text, "utf-8")

    assert load(config, {}).settings == Settings()
    assert text != annotated_toml()


def test_every_key_of_the_schema_is_explained() -> None:
    """A key without help is a key that nobody dares to set."""
    for page in (annotated_toml(), reference()):
        assert "listing_window_s" in page
        assert "webdav.secret" in page
    assert "None" not in reference()
