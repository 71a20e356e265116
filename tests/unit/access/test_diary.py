"""Plain words for failed handshakes."""

import pytest

from server.access.diary import hint
from server.model.algorithms import Profile
from server.model.event import Json

GROUP1 = "diffie-hellman-group1-sha1"
GROUP14 = "diffie-hellman-group14-sha1"


def told(missing: list[Json], offer: dict[str, Json]) -> dict[str, Json]:
    return {"missing": missing, "offer": offer}


@pytest.mark.parametrize(
    ("offer", "profile", "words"),
    [
        ({"kex": [GROUP14, GROUP1]}, Profile.MODERN, "--crypto legacy-until:DATE"),
        ({"kex": [GROUP1]}, Profile.MODERN, "--crypto legacy+group1-until:DATE"),
        ({"kex": [GROUP1]}, Profile.LEGACY, "--crypto legacy+group1-until:DATE"),
        ({"mac": ["hmac-sha2-256"]}, Profile.MODERN, "--crypto legacy-until:DATE"),
        ({"cipher": ["3des-cbc"]}, Profile.MODERN, "newer firmware"),
        ({"cipher": ["3des-cbc"]}, Profile.LEGACY_GROUP1, "newer firmware"),
        ({"kex": [GROUP14], "cipher": ["arcfour"]}, Profile.MODERN, "newer firmware"),
    ],
)
def test_a_hint_names_what_helps_and_nothing_else(
    offer: dict[str, Json], profile: Profile, words: str
) -> None:
    """To open a line for a machine that still cannot connect would be the worst."""
    assert words in hint("no_common_algorithm", told([*offer], offer), profile)


def test_a_rule_without_a_hint_has_none() -> None:
    """Bounds and bans explain themselves."""
    assert not hint("sftp.connections_max", {}, Profile.MODERN)
    assert not hint("no_common_algorithm", {}, Profile.MODERN)
