"""The manifest of an exported file: JSON for people and tools, a signed note inside.

The note's text (`audit.statements.Manifest`) is what counts; the members beside it say
the same, and `read` holds them to it. The certificates lead from the root's public key
to the key that signed, so file, manifest and public key are all that a check needs.
"""

import json
from dataclasses import dataclass
from typing import Final

from server.audit.export import Exported, Form
from server.audit.keys import SigningKeys
from server.audit.note import Note, NoteError
from server.audit.statements import Manifest, StatementError
from server.model.clock import Clock, rfc3339
from server.model.event import Json

BYTES_MAX: Final = 1 << 20
"""A longer manifest is not read."""

_KIND: Final = "kagikura export manifest"


class ManifestError(ValueError):
    """Not a manifest, or its members and its note disagree."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A manifest as read; who signed it is still to be checked."""

    manifest: Manifest
    note: Note
    certificates: tuple[str, ...]


class Notary:
    """Signs manifests with the key in use."""

    def __init__(self, keys: SigningKeys, clock: Clock) -> None:
        """Sign with these keys at this time."""
        self._keys = keys
        self._clock = clock

    def require_key(self) -> None:
        """Return if there is a key to sign with.

        Raises:
            KeysMissingError: There is none.
        """
        self._keys.current()

    def sign(self, exported: Exported, form: Form, query: dict[str, Json]) -> bytes:
        """Write the manifest of a file.

        Args:
            exported: What was written.
            form: How.
            query: The filters.

        Raises:
            KeysMissingError: There is no key to sign with.
        """
        key = self._keys.current()
        manifest = Manifest(
            origin=key.certificate.origin,
            key=key.certificate.number,
            time=rfc3339(self._clock.time_us()),
            form=form,
            query=_one_line(query),
            records=exported.count,
            first=exported.first,
            last=exported.last,
            bytes=exported.bytes,
            sha256=exported.sha256,
        )
        whole = {
            **_members(manifest),
            "note": key.signer.sign(manifest.text()),
            "certificates": self._keys.notes(),
        }
        return (json.dumps(whole, ensure_ascii=False, indent=2) + "\n").encode()


def read(content: bytes) -> Signed:
    """Read a manifest.

    Raises:
        ManifestError: It is none, or says beside its note what the note does not.
    """
    if len(content) > BYTES_MAX:
        raise ManifestError("the manifest is too long")
    try:
        whole = json.loads(content)
        note = Note.parse(whole.pop("note"))
        certificates = tuple(str(written) for written in whole.pop("certificates"))
        manifest = Manifest.parse(note.text)
        members = _members(manifest)
    except (NoteError, StatementError) as error:
        raise ManifestError(f"the manifest's note: {error}") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ManifestError("not a manifest of an export") from error
    if whole != members:
        raise ManifestError("the manifest says beside its note what the note does not")
    return Signed(manifest, note, certificates)


def _members(manifest: Manifest) -> dict[str, Json]:
    return {
        "kind": _KIND,
        "origin": manifest.origin,
        "time": manifest.time,
        "format": manifest.form,
        "filter": json.loads(manifest.query),
        "records": manifest.records,
        "first": manifest.first,
        "last": manifest.last,
        "bytes": manifest.bytes,
        "sha256": manifest.sha256,
        "key": manifest.key,
    }


def _one_line(query: dict[str, Json]) -> str:
    """As canonical JSON; ASCII, so that no name can break the note's lines."""
    return json.dumps(query, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
