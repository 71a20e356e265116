"""The composition root of the commands that prove and prune the trail."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from server.audit import evidence, exported, retention
from server.audit.checkpoint import CheckpointFolder
from server.audit.evidence import Report
from server.audit.note import NoteError, VerifierKey
from server.audit.recorder import Recorder
from server.audit.released import RowDropper
from server.audit.retention import Pruner
from server.daemon.parts import (
    AlreadyRunningError,
    kept_longer,
    only_one,
    require_initialised,
)
from server.daemon.reading import operator_fields
from server.daemon.supervisor import KEEPER
from server.daemon.trail import (
    SYSTEM,
    PassingTrail,
    checkpoint_folders,
    opened_trail,
    pruner,
    signing_keys,
)
from server.model.errors import UnavailableError
from server.model.event import Json
from server.model.operation import Operation, Outcome
from server.settings.places import Places
from server.settings.schema import Settings

Facts = dict[str, object]

_DRAIN_S: Final = 3600


class KeyTextError(UnavailableError):
    """What was given as a public key is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A file to verify, away from any store."""

    path: Path
    manifest: Path | None
    checkpoints: Path | None


def audit_key(settings: Settings) -> str:
    """The public key that proves the trail, as `name+id+key`.

    Raises:
        NotInitialisedError: `kagikura init` was not run.
        KeysMissingError: The store has no signing keys yet.
    """
    require_initialised(settings)
    return str(signing_keys(settings).root)


def public_key(text: str) -> VerifierKey | None:
    """Read a key as given: `name+id+key`, or a file that holds it; empty for none.

    Raises:
        KeyTextError: It is none.
        OSError: The file cannot be read.
    """
    if not text:
        return None
    try:
        told = text if "+" in text else Path(text).read_text("utf-8")
        return VerifierKey.parse(told)
    except (NoteError, UnicodeDecodeError) as error:
        raise KeyTextError(f"The public key cannot be read: {error}.") from error


def verify_store(
    settings: Settings,
    root: VerifierKey | None,
    *,
    journal: bool,
    database: bool,
    checkpoints: Path | None = None,
) -> list[Report]:
    """Verify what lies in the store that the settings name; `tell_verified` records it.

    Args:
        settings: Where it lies and which node it is.
        root: The root's public key; None trusts the store's own.
        journal: Verify the journals.
        database: Verify the audit DB.
        checkpoints: More checkpoints; then the DB must reach the last of all.

    Raises:
        UnavailableError: Something cannot be read.
        OSError: The same.
    """
    folders = checkpoint_folders(settings)
    if checkpoints is not None:
        folders.append(_node_folder(checkpoints, settings.node))
    places = Places(settings)
    reports = []
    if journal:
        reports.append(
            evidence.verify_journals(
                places.journal, folders, node=settings.node, root=root
            )
        )
    if database:
        reports.append(
            evidence.verify_database(
                places.audit_url, folders, root=root, strict=checkpoints is not None
            )
        )
    return reports


def tell_verified(settings: Settings, operator: str, reports: list[Report]) -> None:
    """Record that the trail was verified, and what it came to.

    Args:
        settings: Of the store.
        operator: Who did it, `os:NAME`.
        reports: What was found.

    Raises:
        UnavailableError: It cannot be recorded: the trail is damaged, or full.
        OSError: The same.
    """
    good = all(report.good for report in reports)
    PassingTrail(settings).event(
        operator_fields(operator),
        Operation.AUDIT_VERIFY,
        Outcome.DONE,
        detail={"good": good, "sources": list(map(_told, reports))},
    )


def _told(report: Report) -> Json:
    return {
        "source": report.source,
        "records": report.records,
        "signed_up_to": report.up_to,
        "findings": len(report.findings),
    }


def verify_file(file: Exported, root: VerifierKey | None) -> Report:
    """Verify an export or an archive.

    Raises:
        UnavailableError: Something cannot be read.
        OSError: The same.
    """
    folders = [CheckpointFolder(file.checkpoints)] if file.checkpoints else []
    return exported.verify_export(file.path, file.manifest, folders, root=root)


def plan_retention(settings: Settings) -> list[Facts]:
    """What is due, a stream each; nothing is changed.

    Raises:
        NotInitialisedError: `kagikura init` was not run.
        UnavailableError: Something cannot be read.
    """
    require_initialised(settings)
    return retention.facts(_pruner(settings).plan())


def run_retention(settings: Settings) -> list[Facts] | None:
    """Drop what is due: here, or by the running daemon's keeper.

    Returns:
        What was dropped; None when the daemon was asked, which does it in a minute.

    Raises:
        NotInitialisedError: `kagikura init` was not run.
        UnavailableError: Something cannot be read or written.
    """
    require_initialised(settings)
    places = Places(settings)
    try:
        with only_one(settings), opened_trail(settings, KEEPER) as trail:
            plan = _pruner(settings).run(trail.gate, SYSTEM)
            released = RowDropper(checkpoint_folders(settings)[0])
            released.look()
            Recorder(
                places.journal, places.audit_url, node=settings.node, released=released
            ).drain(_DRAIN_S)
    except AlreadyRunningError:
        places.retention_request.touch(mode=0o600)
        return None
    return retention.facts(plan)


def _pruner(settings: Settings) -> Pruner:
    return pruner(settings, partial(kept_longer, settings))


def _node_folder(checkpoints: Path, node: str) -> CheckpointFolder:
    """The folder itself, or the one for the node in it."""
    inside = checkpoints / node
    return CheckpointFolder(inside if inside.is_dir() else checkpoints)
