"""Sessions: cut once, closers told once."""

import pytest

from server.model.errors import SessionCutError
from server.model.identity import Actor
from server.model.operation import Protocol
from server.model.session import Session


def test_a_cut_session_refuses_and_closes_its_connection() -> None:
    """A locked device must not read one more block."""
    closed: list[str] = []
    session = Session(Actor(protocol=Protocol.SFTP), started_us=0)
    session.on_cut(lambda: closed.append("first"))

    session.cut("device_locked")
    session.cut("line_suspended")
    session.on_cut(lambda: closed.append("late"))

    assert closed == ["first", "late"]
    assert session.cut_rule == "device_locked"
    with pytest.raises(SessionCutError) as cut:
        session.require_live()
    assert cut.value.rule == "device_locked"
