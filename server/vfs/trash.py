"""The trash as an administrator sees it: what lies there, and how it comes back.

What an act destroyed or replaced lies in its contract's trash under the act's id; the
trail tells what that was, whose, and where it stood.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ulid import ULID

from server.audit.lookup import Lookup, Told
from server.model.clock import rfc3339
from server.model.errors import (
    NotFoundError,
)
from server.storage.leftovers import LocalLeftovers
from server.storage.port import Attributes, Location
from server.vfs.estate import Estate
from server.vfs.restoring import Entry, Facts, Restorer
from server.vfs.told import replaces_at
from server.vfs.tree import Place
from server.vfs.versions import Change, before, changes_of, newest

_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """Whose files a command is about; empty names mean whatever is unmistakable."""

    contract: str = ""
    login: str = ""
    """`alice` or `alice@contract`."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How something is to come back."""

    to: str = ""
    """Where to; empty: where it was."""
    overwrite: bool = False


class Trash:
    """What lies in the trash, and the acts that bring it back."""

    def __init__(
        self,
        *,
        leftovers: LocalLeftovers,
        lookup: Lookup,
        estate: Estate,
        restorer: Restorer,
        days: int,
    ) -> None:
        """Look with `leftovers` and `lookup`, act with `restorer`.

        Args:
            leftovers: Asked for the entries.
            lookup: Asked for the acts that made them.
            estate: Asked where things belong.
            restorer: Takes the steps.
            days: How long an entry is kept.
        """
        self._leftovers = leftovers
        self._lookup = lookup
        self._estate = estate
        self._restorer = restorer
        self._days = days

    def list(self, whose: Whose, under: str = "") -> Iterator[Facts]:
        """The entries, oldest first.

        Args:
            whose: Of one contract, and of acts of one login, if given.
            under: Only what stood at this path or below it.

        Raises:
            NotFoundError: No such contract.
        """
        login = whose.login.partition("@")[0]
        contract = whose.contract or whose.login.partition("@")[2]
        wanted = self._estate.contract_id(contract) if contract else ""
        for contract_id in self._leftovers.contracts():
            if wanted and contract_id != wanted:
                continue
            acts = self._leftovers.trashed_acts(contract_id)
            told = self._lookup.acts(acts)
            for act in acts:
                facts = self._facts(contract_id, act, told.get(act))
                path = str(facts.get("path", ""))
                if login and facts.get("login") != login:
                    continue
                if under and not f"{path}/".startswith(f"{under.rstrip('/')}/"):
                    continue
                yield facts

    def restore_entry(self, named: str, whose: Whose, wish: Wish) -> Facts:
        """Put back what an act destroyed, or a part of it.

        Args:
            named: The act's id, or a record's; a path inside may follow the former.
            whose: Says whose `/private` `wish.to` means, if that is unclear.
            wish: How.

        Raises:
            NotFoundError: There is no such entry.
            ExistsError: Something stands where it shall go.
        """
        act, _, inside = named.partition("/")
        if ":" in named:
            act, inside = self._lookup.act_of(named), ""
        parts = tuple(part for part in inside.split("/") if part)
        if not _is_act(act) or not {".", ".."}.isdisjoint(parts):
            raise NotFoundError(f"The trash holds nothing of {named}.")
        told = self._lookup.acts([act]).get(act)
        entry = Entry(self._contract_of(act, told), act, parts)
        return self._put_back(entry, told, whose, wish)

    def restore_path(
        self, path: str, before_us: int | None, whose: Whose, wish: Wish
    ) -> Facts:
        """Put back the newest version of a path in the trash, or that of a moment.

        Args:
            path: As clients name it.
            before_us: The version that stood at this moment, or the last before it.
            whose: Says whose `/private` is meant, and which contract.
            wish: How.

        Raises:
            NotFoundError: The trail or the trash knows of no such version.
            StateError: It was not kept, or stands unchanged.
            ExistsError: Something stands where it shall go.
        """
        place = self._named(path, whose)
        at = place.stored()
        records = self._lookup.naming(
            str(place.path),
            self._estate.contract_name(at.root.contract_id),
            self._estate.owner(at.root),
        )
        acts = self._lookup.acts({record["act"] for record in records})
        found = changes_of(records, str(place.path), acts)

        def is_kept(change: Change) -> bool:
            return change.inside is not None and self._is_kept(
                Entry(at.root.contract_id, change.act, change.inside)
            )

        change = (
            newest(found, is_kept)
            if before_us is None
            else before(found, before_us, is_kept)
        )
        entry = Entry(at.root.contract_id, change.act, change.inside or ())
        return self._put_back(entry, acts[change.act], whose, wish)

    def _put_back(
        self, entry: Entry, told: Told | None, whose: Whose, wish: Wish
    ) -> Facts:
        to = self._target(entry, told, whose, wish.to)
        why: Facts = {}
        if told is not None:
            why = {"from": replaces_at(told)[0], "destroyed_by": _who(told)}
        return self._restorer.put_back(entry, to, overwrite=wish.overwrite, why=why)

    def _target(self, entry: Entry, told: Told | None, whose: Whose, to: str) -> Place:
        if told is None and not to:
            raise NotFoundError(
                "The trail does not tell where it was any more: say --to PATH."
            )
        at = replaces_at(told)[1] if told is not None else None
        if not to and at is not None:
            return self._estate.place(Location(at.root, (*at.parts, *entry.inside)))
        login_id = ""
        if whose.login:
            login_id = self._estate.login(whose.login, whose.contract).id
        elif at is not None and self._estate.owner(at.root):
            login_id = at.root.id
        return self._estate.named(to, entry.contract_id, login_id)

    def _named(self, path: str, whose: Whose) -> Place:
        if whose.login:
            login = self._estate.login(whose.login, whose.contract)
            return self._estate.named(path, login.contract_id, login.id)
        return self._estate.named(path, self._estate.contract_id(whose.contract), "")

    def _contract_of(self, act: str, told: Told | None) -> str:
        if told is not None:
            try:
                return replaces_at(told)[1].root.contract_id
            except KeyError:
                raise NotFoundError("That act is about no file.") from None
        for contract_id in self._leftovers.contracts():
            if self._is_kept(Entry(contract_id, act)):
                return contract_id
        raise NotFoundError(f"The trash holds nothing of {act}.")

    def _is_kept(self, entry: Entry) -> bool:
        return self._restorer.found(entry.location) is not None

    def _facts(self, contract_id: str, act: str, told: Told | None) -> Facts:
        found = self._restorer.found(Entry(contract_id, act).location)
        made_us = _made_us(act)
        facts: Facts = {
            "entry": act,
            "contract": self._estate.contract_name(contract_id),
            "kind": _kind(found),
            "size": found.size if found else 0,
            "since": rfc3339(made_us),
            "until": rfc3339(made_us + self._days * _DAY_US),
        }
        if told is not None:
            path, _ = replaces_at(told)
            login = told.intent.get("login", "")
            facts |= {"path": path, "operation": told.operation, "login": login}
        return facts


def _kind(found: Attributes | None) -> str:
    if found is None:
        return "gone"
    return "folder" if found.is_folder else "file"


def _is_act(named: str) -> bool:
    """Whether it can be an entry's name; others lead out of the trash, or astray."""
    try:
        return str(ULID.from_str(named)) == named
    except ValueError:
        return False


def _made_us(act: str) -> int:
    try:
        return ULID.from_str(act).milliseconds * 1000
    except ValueError:
        return 0


def _who(told: Told) -> str:
    return str(told.intent.get("login", ""))
