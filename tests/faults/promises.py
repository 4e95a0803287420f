"""What must hold of a log after a fault."""

from filiere.message_log import MessageLog
from tests.faults.commit_path import PRUNED_BELOW, message


class Lost(AssertionError):
    """What was acknowledged is not there."""


def assert_holds(path, acked):
    """It opens, has all that was promised, nothing that was not sent, and goes on."""
    with MessageLog.open(path) as log:
        first, head = log.first(), log.head()
        if head < acked:
            raise Lost(f"{acked} was acknowledged, and the log ends at {head}")
        assert first <= PRUNED_BELOW
        kept = log.read(0, 1_000)
        assert [(m.topic, m.payload, m.record_time_ns) for m in kept] == [message(m.offset) for m in kept]
        assert [m.offset for m in kept] == list(range(first, head + 1)) if head else not kept
        assert log.append([message(head + 1)]) == head + 1
        assert log._connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
