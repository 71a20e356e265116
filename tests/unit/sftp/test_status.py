"""Every error of the house has a status, and the table is the only place for it."""

import pytest
from paramiko.sftp import SFTP_FAILURE, SFTP_NO_SUCH_FILE, SFTP_PERMISSION_DENIED

from server.model import errors
from server.model.errors import ServerError
from server.model.operation import Stage
from server.sftp.status import STATUS, status_of
from server.sftp.wire import Reader


def all_errors(root: type[ServerError] = ServerError) -> set[type[ServerError]]:
    """`root` and every class below it."""
    below = {found for child in root.__subclasses__() for found in all_errors(child)}
    return {root, *below}


def test_the_status_table_names_every_error_and_no_other() -> None:
    """A new error without a row would be an exception in the middle of a reply."""
    ours = {found for found in all_errors() if found.__module__ == errors.__name__}

    assert ours == STATUS.keys()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFoundError("There is nothing."), SFTP_NO_SUCH_FILE),
        (errors.RightsRefusedError("No right.", rule="x"), SFTP_PERMISSION_DENIED),
        (errors.StorageFullError("No room."), SFTP_FAILURE),
    ],
)
def test_a_status_carries_the_code_and_the_words_for_people(
    error: ServerError, code: int
) -> None:
    """Version 3 has nine codes; only the words tell a full disk from a lock."""
    reader = Reader(memoryview(status_of(error)))

    assert (reader.u32(), reader.text(), reader.text()) == (code, str(error), "en")
    reader.end()


def test_a_refused_login_tells_neither_stage_nor_rule() -> None:
    """The words on the wire are the same whoever refused."""
    error = errors.LoginRefusedError(stage=Stage.TOTP, rule="replay")

    assert b"replay" not in status_of(error)
