"""Which cryptography a connection may use, and which names of it are old.

`modern` is for everyone. `legacy` is for one line with a machine that knows nothing
newer, until a date; `legacy+group1` adds the 1024-bit group for the oldest of all.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum, unique
from typing import Final

from server.model.clock import parse_rfc3339, rfc3339

_DAY_US: Final = timedelta(days=1) // timedelta(microseconds=1)
_DATE_LENGTH: Final = len("2027-03-31")


@unique
class Profile(StrEnum):
    """What is offered; each holds all of the one before."""

    MODERN = "modern"
    LEGACY = "legacy"
    LEGACY_GROUP1 = "legacy+group1"


LEGACY: Final = frozenset({
    "diffie-hellman-group14-sha1",
    "diffie-hellman-group1-sha1",
    "ssh-rsa",
    "aes128-cbc",
    "aes192-cbc",
    "aes256-cbc",
    "hmac-sha1",
})
"""SSH algorithms over which only an old machine may log in (RFC 9142, 8332)."""

LINE_ONLY: Final = LEGACY | {
    "diffie-hellman-group14-sha256",
    "hmac-sha2-256",
    "hmac-sha2-512",
}
"""What only a line with an old machine is offered; these three to people there too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineCrypto:
    """A line's setting: old algorithms until a moment, or none at all."""

    profile: Profile = Profile.MODERN
    until_us: int = 0

    @classmethod
    def parse(cls, text: str) -> "LineCrypto":
        """Read `modern`, `legacy-until:DATE` or `legacy+group1-until:DATE`.

        A date alone means the end of that day, UTC.

        Raises:
            ValueError: It is none of these.
        """
        if text == Profile.MODERN:
            return cls()
        word, colon, date = text.partition("-until:")
        if not colon or word not in {Profile.LEGACY, Profile.LEGACY_GROUP1}:
            raise ValueError(
                f"{text!r}: write modern, legacy-until:2027-03-31 or "
                "legacy+group1-until:2027-03-31"
            )
        until_us = parse_rfc3339(date)
        if len(date) == _DATE_LENGTH:
            until_us += _DAY_US
        return cls(profile=Profile(word), until_us=until_us)

    def __str__(self) -> str:
        """As `parse` reads it."""
        if self.profile is Profile.MODERN:
            return str(self.profile)
        return f"{self.profile}-until:{rfc3339(self.until_us)}"

    def now(self, now_us: int) -> Profile:
        """What the line is offered at this moment."""
        return self.profile if now_us < self.until_us else Profile.MODERN


def old_algorithms(agreed: str) -> list[str]:
    """The old ones among the algorithms of a login record.

    Args:
        agreed: As recorded: `kex=… hostkey=… cipher=… mac=… userkey=…`.
    """
    named = [word.partition("=")[2] for word in agreed.split()]
    return [name for words in named for name in words.split(",") if name in LEGACY]
