"""What an administrator chooses for a folder: how its names are kept."""

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final


@unique
class CaseRule(StrEnum):
    """Whether a folder holds names that differ only in case or width."""

    DISTINCT = "distinct"
    """They are different files, as on Linux."""
    COLLIDE = "collide"
    """The second is refused, for Windows and macOS could reach one of them only."""


@unique
class MacFiles(StrEnum):
    """What becomes of `._*` and `.DS_Store`, which macOS puts beside people's files."""

    KEEP = "keep"
    """They are files as others."""
    HIDE = "hide"
    """They are kept and never listed."""
    DROP = "drop"
    """New ones are taken and forgotten; what is there already is hidden."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRules:
    """The choices for one folder and all below it."""

    case: CaseRule = CaseRule.DISTINCT
    mac_files: MacFiles = MacFiles.KEEP


USUAL: Final = FolderRules()
"""What holds where nobody chose."""
