"""Every error that crosses a layer.

    ServerError
    |- RefusedError            never: asking again will not help
    |  |- PathRefusedError         the spelling of the path
    |  |  `- NameCollisionError       another name differs only in case or width
    |  |- RightsRefusedError       no grant
    |  |- LinkRefusedError         symbolic and hard links
    |  |- LoginRefusedError        admission; the wire never learns the stage
    |  |- SessionCutError          the session was cut while it was open
    |  |- QuotaRefusedError        a quota of the login, folder or contract
    |  `- LimitError               a bound of the settings
    |- StateError              after a change of the store it may succeed
    |  |- NotFoundError
    |  |- ExistsError
    |  |- NotEmptyError
    |  |- NotFolderError
    |  |- IsFolderError
    |  |- LockedError
    |  |- ConditionFailedError     it is not as the client expects it
    |  |- HandleError              closed, or opened for something else
    |  `- IncompleteUploadError    fewer bytes than announced
    `- UnavailableError        later: we fail closed
       |- AuditUnavailableError    the trail cannot be written
       |- AuditSpaceError          the trail's space is short: no uploads
       |- StorageFullError         disk or quota
       |- StorageFailedError       the disk said EIO or the like
       |- BooksUnavailableError    the table of locks cannot be read or changed
       `- DrainingError            the daemon is stopping

The message is for the person in front of the client: it says what to do and holds no
path of this machine. `reason` is for the trail and never changes. No protocol number
appears here; each front end has one total table from these classes to its own codes.
"""

from typing import ClassVar

from server.model.operation import Outcome, Stage


class ServerError(Exception):
    """The root; never raised itself."""

    reason: ClassVar[str] = "error"
    outcome: ClassVar[Outcome] = Outcome.FAILED
    """What the trail says of an act that ended with this error."""


class RefusedError(ServerError):
    """Not allowed. `stage` and `rule` say who refused; only the trail shows them."""

    reason = "refused"
    outcome = Outcome.REFUSED

    def __init__(self, message: str, *, stage: Stage, rule: str) -> None:
        """Keep the stage that refused and the rule it applied."""
        super().__init__(message)
        self.stage = stage
        self.rule = rule


class PathRefusedError(RefusedError):
    """The spelling of a path is not acceptable."""

    reason = "path_refused"

    def __init__(self, message: str, *, rule: str) -> None:
        """Name the rule of `model.path` that the spelling broke."""
        super().__init__(message, stage=Stage.PATH, rule=rule)


class NameCollisionError(PathRefusedError):
    """Another name in the folder differs from this one only in case or width."""

    reason = "name_collision"

    def __init__(self) -> None:
        """Refuse by the rule `case_collision`."""
        super().__init__(
            "There is a file or folder here whose name differs from this one only in "
            "case or width; choose another name.",
            rule="case_collision",
        )


class RightsRefusedError(RefusedError):
    """No grant covers the act."""

    reason = "no_right"

    def __init__(self, message: str, *, rule: str) -> None:
        """Name the missing right, or the rule that takes it."""
        super().__init__(message, stage=Stage.RIGHTS, rule=rule)


class LinkRefusedError(RefusedError):
    """Links are neither made nor followed."""

    reason = "link_refused"

    def __init__(self, message: str = "This store keeps no links.") -> None:
        """Refuse by the rule `no_links`."""
        super().__init__(message, stage=Stage.PATH, rule="no_links")


class LoginRefusedError(RefusedError):
    """Admission failed. The message is the same whatever the stage."""

    reason = "login_refused"

    def __init__(self, *, stage: Stage, rule: str) -> None:
        """Keep stage and rule for the trail."""
        super().__init__("Login refused.", stage=stage, rule=rule)


class SessionCutError(RefusedError):
    """The session was cut: device locked, line suspended, password changed ..."""

    reason = "session_cut"

    def __init__(self, rule: str) -> None:
        """Name what cut the session."""
        super().__init__(
            "This session was ended by the administrator's settings; log in again.",
            stage=Stage.SESSION,
            rule=rule,
        )


class LimitError(RefusedError):
    """A bound of the settings was reached."""

    reason = "limit"

    def __init__(self, message: str, *, rule: str) -> None:
        """Name the setting."""
        super().__init__(message, stage=Stage.LIMIT, rule=rule)


class QuotaRefusedError(RefusedError):
    """It does not fit into what may be stored there."""

    reason = "quota"

    def __init__(self, message: str, *, rule: str) -> None:
        """Name the limit, `quota_bytes` or `quota_files`."""
        super().__init__(message, stage=Stage.QUOTA, rule=rule)


class StateError(ServerError):
    """The store is not in the state that the act needs."""

    reason = "state"


class NotFoundError(StateError):
    """There is nothing at this path."""

    reason = "not_found"


class ExistsError(StateError):
    """There is something at this path already."""

    reason = "exists"


class NotEmptyError(StateError):
    """The folder still holds something."""

    reason = "not_empty"


class NotFolderError(StateError):
    """A part of the path is a file where a folder is needed."""

    reason = "not_folder"


class IsFolderError(StateError):
    """The path names a folder where a file is needed."""

    reason = "is_folder"


class LockedError(StateError):
    """Somebody else holds a lock on it, or has it open for writing."""

    reason = "locked"
    outcome = Outcome.REFUSED
    stage = Stage.LOCK

    def __init__(
        self, message: str, *, rule: str = "locked", paths: tuple[str, ...] = ()
    ) -> None:
        """Name who is in the way; `paths` are what is locked, as the client sees it."""
        super().__init__(message)
        self.rule = rule
        self.paths = paths


class ConditionFailedError(StateError):
    """What is there is not what the client made its request for."""

    reason = "condition_failed"


class HandleError(StateError):
    """The handle is closed, or was opened for something else."""

    reason = "bad_handle"


class IncompleteUploadError(StateError):
    """Fewer bytes came than were announced; nothing was stored."""

    reason = "incomplete_upload"
    outcome = Outcome.ABORTED


class UnavailableError(ServerError):
    """Not now. Nothing was done."""

    reason = "unavailable"


class AuditUnavailableError(UnavailableError):
    """The trail cannot be written, so nothing may be done."""

    reason = "audit_unavailable"
    outcome = Outcome.REFUSED


class AuditSpaceError(UnavailableError):
    """The trail's space is short: uploads and copies are refused."""

    reason = "audit_space"
    outcome = Outcome.REFUSED


class StorageFullError(UnavailableError):
    """No room on the disk or in the quota."""

    reason = "storage_full"


class StorageFailedError(UnavailableError):
    """The disk failed."""

    reason = "storage_failed"


class BooksUnavailableError(UnavailableError):
    """The store's own database does not answer: nobody knows what is locked."""

    reason = "books_unavailable"


class DrainingError(UnavailableError):
    """The daemon is stopping."""

    reason = "draining"
