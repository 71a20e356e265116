"""The one virtual file system of a worker: it makes a view for each session."""

from collections.abc import Callable

from server.audit.gate import Gate
from server.auth.snapshot import Snapshot
from server.model.clock import Clock
from server.model.folder import CaseRule, FolderRules, MacFiles
from server.model.session import Session
from server.settings.schema import Settings
from server.storage.port import Storage
from server.vfs.dropping import Dropped, Dropping
from server.vfs.ground import Ground, Rules
from server.vfs.lock_table import LockTable
from server.vfs.tree import Tree
from server.vfs.view import View


class FileSystem:
    """Gate, storage and accounts, tied together for front ends."""

    def __init__(
        self,
        *,
        gate: Gate,
        storage: Storage,
        locks: LockTable,
        accounts: Callable[[], Snapshot],
        settings: Settings,
        clock: Clock,
    ) -> None:
        """Serve the files of `storage`; every act passes `gate`."""
        self._gate = gate
        self._storage = storage
        self._locks = locks
        self._accounts = accounts
        self._made_ns = clock.time_us() * 1000
        self._dropped = Dropped(clock)
        self._private = FolderRules(
            case=CaseRule(settings.storage.private_case),
            mac_files=MacFiles(settings.storage.private_mac_files),
        )
        self._rules = Rules(
            clock=clock,
            sync=settings.storage.sync == "close",
            hash_uploads=settings.audit.content_hash != "off",
            hash_reads=settings.audit.content_hash == "all",
            keep_bytes_max=settings.storage.keep_bytes_max,
            lock_timeout_s_max=settings.webdav.lock_timeout_s_max,
            locks_login_max=settings.webdav.locks_login_max,
            properties_max=settings.webdav.properties_max,
            property_bytes_max=settings.webdav.property_bytes_max,
        )

    def view(self, session: Session) -> View:
        """The files as this session may see and change them."""
        tree = Tree(
            session.actor,
            self._accounts,
            made_ns=self._made_ns,
            private=self._private,
        )
        return View(
            Ground(
                session=session,
                tree=tree,
                gate=self._gate,
                storage=self._storage,
                dropping=Dropping(session, self._gate, self._storage, self._dropped),
                locks=self._locks,
                rules=self._rules,
            )
        )

    def drain(self) -> None:
        """Refuse new transfers from now on; open handles go on."""
        self._rules.draining = True
