"""What lies where in `state_dir`, beside the keys (`access.keystore`)."""

from pathlib import Path

from server.settings.schema import Settings


class Places:
    """The paths and URLs that follow from the settings."""

    def __init__(self, settings: Settings) -> None:
        """Derive them."""
        state = settings.state_dir
        self.journal = state / "journal"
        self.checkpoints = state / "checkpoints"
        self.retention_request = state / "retention.request"
        self.audit_keys = state / "keys" / "audit"
        self.lock = state / "daemon.lock"
        self.accounts_url = settings.database.url or _sqlite(state / "accounts.db")
        self.store_url = _shared(settings.database.url) or _sqlite(state / "store.db")
        """The store's own book-keeping: locks and properties. Nodes that share the
        files share it, so it lies in the PostgreSQL of the accounts if there is one."""
        self.audit_url = settings.audit.url or _sqlite(state / "audit.db")


def _sqlite(path: Path) -> str:
    return f"sqlite:///{path.absolute()}"


def _shared(url: str) -> str:
    return "" if url.startswith("sqlite") else url
