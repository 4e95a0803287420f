"""A recorder's book written by hand: what each message became, with no recorder and no stores."""

from pathlib import Path
from typing import Self

from collector.recorder.book import ChunkRecord, ForeignKey, Progress, Quarantined, RecordBook, WaitingEvent
from filiere.clock import NS_PER_S, parse_time

EXTRUDER, DRYER = "caux/textile/t1/extruder", "caux/textile/t1/dryer"
NOON_NS = parse_time("2026-03-11T12:00:00Z")


def progress(**changes) -> Progress:
    known = {"bookmark": 0, "log_head": 0, "ledger_position": 0, "store_problem": None, "updated_ns": NOON_NS}
    return Progress(**(known | changes))


class Book:
    """A recorder's book, written by hand: what each message became."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record = ChunkRecord(progress=progress())
        self._offset = 0

    def stored(self, first: int, last: int | None = None, *, device: str = EXTRUDER, boot: str = "9f2c") -> Self:
        last = first if last is None else last
        self.record.spans.append((device, boot, first, last))
        self.record.device(device).stored += last - first + 1
        return self

    def refused(
        self,
        seq: int | None = None,
        rows: int = 1,
        *,
        device: str = EXTRUDER,
        boot: str = "9f2c",
        reason: str = "unknown_signal",
        numbered: bool | None = True,
        payload: bytes = b"{}",
        topic: bytes | None = None,
        message: str = "got, expected",
    ) -> Self:
        if seq is not None:
            self.record.spans.append((device, boot, seq, seq + rows - 1))
        self._offset += 1
        self.record.device(device)
        self.record.quarantined.append(
            Quarantined(
                offset=self._offset,
                device=device,
                topic=f"filiere/v1/{device}/readings".encode() if topic is None else topic,
                payload=payload,
                reason=reason,
                message=message,
                record_time_ns=NOON_NS,
                rows=rows,
                numbered=numbered if seq is not None or numbered is None else False,
                boot=boot if seq is not None else None,
                seq=seq,
            )
        )
        return self

    def waiting(self, seq: int, *, device: str = EXTRUDER, boot: str = "9f2c") -> Self:
        self._offset += 1
        self.record.spans.append((device, boot, seq, seq))
        self.record.device(device)
        self.record.waiting.append(WaitingEvent(offset=self._offset, device=device, event_id=f"urn:{seq}"))
        return self

    def foreign(self, *keys: bytes, device: str = DRYER) -> Self:
        counts = self.record.device(device)
        counts.stored += len(keys)
        counts.unnumbered += len(keys)
        self.record.foreign += [ForeignKey(key=key, offset=1, device=device) for key in keys]
        return self

    def heard(self, at_s: int, *, device: str = EXTRUDER, skew_s: float = 0.5, state: str = "") -> Self:
        counts = self.record.device(device)
        counts.last_record_ns, counts.skew_ns = NOON_NS + at_s * NS_PER_S, round(skew_s * NS_PER_S)
        counts.state = state
        return self

    def write(self) -> Path:
        with RecordBook.open(self.path) as book:
            book.commit(self.record)
        self.record = ChunkRecord(progress=self.record.progress)
        return self.path
