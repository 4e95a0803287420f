"""Messages that were recorded before, judged again: after a rewind, or out of the quarantine.

The old outcome is taken back, then the new one counts as if it were the first:

    stored −= own rows − rows in quarantine − events that wait        (as the book has them)
    stored += own rows that go to the stores now

The rows that are a message's own are all but the repeats that the book has of it. So the same message is chosen again,
whatever is in the store.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from collector.foreign.sources import ForeignRow
from collector.recorder.book import ChunkRecord, Earlier, ForeignKey
from collector.recorder.judging import FirstTime
from collector.recorder.numbers import Span, length
from collector.recorder.seen import TOO_MANY_BOOTS, TOO_MANY_GAPS, Seen
from filiere.message_log import Message

HOW_IT_ARRIVED = (TOO_MANY_BOOTS, TOO_MANY_GAPS)
"""Reasons that a rewind does not judge again: a message arrives once. To ask for the message does."""
STORED_WHOLE = Earlier()


class Again:
    """The History of messages up to `recorded_to`."""

    first = False

    def __init__(self, record: ChunkRecord, seen: Seen, earlier: Mapping[int, Earlier], *, asked: bool) -> None:
        """`asked`: somebody chose these messages; they are judged whatever they were refused for."""
        self._record = record
        self._seen = seen
        self._earlier = earlier
        self._as_first = FirstTime(record, seen, limited=not asked)
        self._asked = asked
        self._taken_back = 0

    def takes_up(self, message: Message) -> bool:
        """Whether the message is judged again; then its old entry in quarantine, or among what waits, is gone."""
        before = self._before(message)
        if before.quarantined is not None:
            if before.quarantined.reason in HOW_IT_ARRIVED and not self._asked:
                return False
            self._record.released.append(message.offset)
        if before.waiting:
            self._record.settled.append(message.offset)
        return True

    def accountable(self, message: Message) -> bool:
        """See History. The plant had the device when the message was first judged."""
        before = self._before(message).quarantined
        return before is None or bool(before.device)

    def repeats(self, message: Message, device: str, boot: str, first: int, last: int) -> Sequence[Span]:
        """See History."""
        before = self._before(message)
        refused = before.quarantined
        if refused is not None and not refused.numbered:  # its numbers are in no account yet
            return self._as_first.repeats(message, device, boot, first, last)
        if self._taken_back != message.offset:
            self._taken_back = message.offset
            own = last - first + 1 - length(before.repeats)
            self._record.device(device).stored -= own - (refused.rows if refused else 0) - before.waiting
        return before.repeats

    def own_rows(self, message: Message, rows: Sequence[ForeignRow]) -> list[ForeignRow]:
        """See History."""
        before = self._before(message)
        own: dict[bytes, ForeignRow] = {}
        for row in rows:
            if row.key in before.keys or self._seen.foreign_offset(row.key) in (None, message.offset):
                own.setdefault(row.key, row)
        if self._taken_back != message.offset:
            self._taken_back = message.offset
            self._take_back_rows(before)
        for row in own.values():
            if row.key not in before.keys:
                self._seen.put_foreign(ForeignKey(key=row.key, offset=message.offset, device=row.device_path))
                self._record.device(row.device_path).unnumbered += 1
        if before.quarantined is not None and not before.keys:  # its rows are seen for the first time
            for row in rows:
                self._record.device(row.device_path).duplicates += own.get(row.key) is not row
        self._forget(before.keys, own)
        return list(own.values())

    def _take_back_rows(self, before: Earlier) -> None:
        for device, rows in Counter(before.keys.values()).items():
            self._record.device(device).stored -= rows
        if before.keys and before.quarantined is not None:  # rows that the store refused
            self._record.device(before.quarantined.device).stored += before.quarantined.rows

    def _forget(self, before: Mapping[bytes, str], own: Collection[bytes]) -> None:
        for key, device in before.items():
            if key not in own:
                self._record.foreign_gone.append(key)
                self._record.device(device).unnumbered -= 1

    def _before(self, message: Message) -> Earlier:
        return self._earlier.get(message.offset, STORED_WHOLE)
