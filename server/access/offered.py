"""Keys that a connection showed and that are no device's: they may become pending."""

from server.access.office import Arrival, Claim, clean
from server.access.pending import PendingKeys
from server.auth.admission import Need, needs_of
from server.auth.keys import OfferedKey
from server.auth.pending import KEYS_MAX, PendingKey
from server.model.identity import LoginKind

UNKNOWN_KEY = "unknown_key"


class OfferedKeys:
    """The unknown keys of one login on one connection. For one thread, bounded."""

    def __init__(self, pending: PendingKeys) -> None:
        """Begin with none; `pending` keeps those that a right password came with."""
        self._pending = pending
        self._login = ""
        self._keys: dict[str, tuple[OfferedKey, bool]] = {}

    def add(self, claim: Claim, key: OfferedKey, *, proved: bool) -> None:
        """Remember a key, if it is nobody's and could be this login's."""
        candidate, refusal = claim.candidate, claim.refusal
        if candidate is None or refusal is None or refusal.rule != UNKNOWN_KEY:
            return
        if key.weak and candidate.login.kind is not LoginKind.INTAKE:
            return
        if candidate.login.id != self._login:
            self._login, self._keys = candidate.login.id, {}
        _, before = self._keys.get(key.sha256, (key, False))
        if key.sha256 in self._keys or len(self._keys) < KEYS_MAX:
            self._keys[key.sha256] = key, proved or before

    def wait(self, claim: Claim) -> bool:
        """Whether the password alone is worth looking at: a key might be approved."""
        candidate = claim.candidate
        return (
            candidate is not None
            and claim.refusal is None
            and candidate.login.id == self._login
            and Need.PASSWORD in needs_of(candidate.login)
        )

    def keep(self, arrival: Arrival, claim: Claim) -> None:
        """The password was right: let the keys wait for an administrator."""
        if claim.candidate is None:
            return
        for key, proved in self._keys.values():
            self._pending.note(
                PendingKey(
                    login_id=claim.candidate.login.id,
                    key_sha256=key.sha256,
                    ssh_key=key.ssh_key,
                    proved=proved,
                    weak_key=key.weak,
                    line=claim.candidate.line.name,
                    source=arrival.source.ip,
                    protocol=str(arrival.protocol),
                    client=clean(arrival.client),
                )
            )
