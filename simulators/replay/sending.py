"""Sends a recording: each message when its time has come, through an outbox, so that what was sent cannot be lost."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from collector.outbox import Numbered, Outbox, OutboxFull, Sender
from filiere.clock import NS_PER_S, Clock, system_clock
from simulators.replay.direct import Direct
from simulators.replay.recording import Lap, Recorded, Recording, lap_ns

BATCH_MAX, BATCH_S = 1_000, 0.25
"""Messages that are committed together, at most, and from how long."""
FULL_S, TICK_S, NOTE_S = 0.2, 0.05, 0.5
"""Between two tries while the outbox is full; of waiting; between two words about how it goes."""
FLUSH_S = 60.0
"""How long a receipt is awaited at the end, counted from the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a recording is sent."""

    speed: float = 0.0
    """Times as fast as it was recorded; 0 = as fast as it goes."""
    laps: int = 1
    """How often; 0 = without end."""
    shift_to_now: bool = False
    longest_wait_s: float = float("inf")
    """A gap in the recording is waited for at most so long."""

    def shift_ns(self, recording: Recording, now_ns: int) -> int:
        """What is added to the times of the first lap, whole seconds.

        In step with the clock (speed 1 or less) the first message is now. Faster, the last one is: nothing is ever sent
        from the future.
        """
        if not self.shift_to_now:
            return 0
        from_ns = recording.first_ns
        if self.speed == 0.0 or self.speed > 1.0:
            from_ns = recording.last_ns + max(0, self.laps - 1) * lap_ns(recording)
        return (now_ns - from_ns) // NS_PER_S * NS_PER_S

    def lap_list(self, recording: Recording, now_ns: int) -> Iterator[Lap]:
        """Each lap with its own times."""
        number, shift_ns, length_ns = 0, self.shift_ns(recording, now_ns), lap_ns(recording)
        while not self.laps or number < self.laps:
            yield Lap(number=number, shift_ns=shift_ns + number * length_ns)
            number += 1

    def messages(self, recording: Recording, now_ns: int) -> Iterator[tuple[Recorded, bool]]:
        """All messages of all laps, and whether their times are new ones."""
        for lap in self.lap_list(recording, now_ns):
            for message in recording.lap(lap):
                yield message, not lap.as_recorded


@dataclass(slots=True)
class Pace:
    """When a message is due, told of one after the other."""

    speed: float
    longest_wait_s: float
    now_ns: int
    """Wall time of the first message."""
    _due_ns: int = 0
    _previous_ns: int | None = None

    def due_ns(self, message: Recorded, *, new_time: bool) -> int:
        """Wall time, UTC ns. A new time is never sent before it has come; one that the file had already is."""
        if self._previous_ns is None:
            self._due_ns = self.now_ns
        elif self.speed > 0.0 and (new_time or message.time_ns <= self.now_ns):
            step_s = max(0, message.time_ns - self._previous_ns) / NS_PER_S / self.speed
            self._due_ns += round(min(step_s, self.longest_wait_s) * NS_PER_S)
        self._previous_ns = message.time_ns if self._previous_ns is None else max(self._previous_ns, message.time_ns)
        if new_time:
            self._due_ns = max(self._due_ns, message.time_ns)
        return self._due_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How a sending goes."""

    sent: int
    total: int | None
    """None = it has no end."""
    shown_ns: int
    """Where in the recording it is, UTC ns."""
    messages_per_s: float
    left_s: float | None
    """None = not known."""
    waiting: int
    """Messages without a receipt."""
    problem: str | None


@dataclass(slots=True)
class Sending:
    """Between a recording and the broker."""

    outbox: Outbox
    sender: Sender
    direct: Direct
    stop: Callable[[], bool]
    note: Callable[[Progress], None]
    clock: Clock = system_clock
    total: int | None = None
    sent: int = 0
    """Messages in the outbox, or through it, or handed to the broker."""
    unnumbered: int = 0
    """Of them, those without a number."""
    _shown_ns: int = 0
    _full: str | None = None
    _began_s: float = field(default_factory=time.monotonic)
    _noted_s: float = 0.0

    def send_all(self, messages: Iterable[tuple[Recorded, bool]], pace: Pace) -> bool:
        """Send until the messages end. False when asked to stop before.

        Raises:
            OutboxUnusable: the outbox's file fails.
        """
        batch: list[Numbered] = []
        began_s = time.monotonic()
        for message, new_time in messages:
            due_ns = pace.due_ns(message, new_time=new_time)
            early = self.clock() < due_ns
            if early or len(batch) >= BATCH_MAX or time.monotonic() - began_s >= BATCH_S:
                if not self._put(batch):
                    return False
                batch, began_s = [], time.monotonic()
            while early and not self.stop() and (left_ns := due_ns - self.clock()) > 0:
                time.sleep(min(left_ns / NS_PER_S, TICK_S))
                self._tell()
            if self.stop():
                return False
            self._shown_ns = message.shown_ns
            numbered = message.numbered
            if numbered is not None:
                batch.append(numbered)
                continue
            if not self._put(batch) or not self.direct.publish(
                message.topic.decode(errors="replace"), message.payload, stop=self.stop
            ):
                return False
            batch, began_s = [], time.monotonic()
            self.sent += 1
            self.unnumbered += 1
        return self._put(batch)

    def _put(self, batch: list[Numbered]) -> bool:
        """Put a batch into the outbox, when it has room. False when asked to stop before."""
        while batch:
            try:
                self.outbox.put_numbered(batch)
            except OutboxFull as full:
                self._full = str(full)
                self._tell()
                if self.stop():
                    return False
                time.sleep(FULL_S)
                continue
            self._full = None
            self.sent += len(batch)
            break
        self._tell()
        return True

    def flush(self) -> bool:
        """Wait until all has arrived, as long as it goes on. False when something is still on its way."""
        heard, since_s = -1, time.monotonic()
        while self.waiting and not self.stop():
            now = self.sender.acknowledged + self.direct.acknowledged
            if now != heard:
                heard, since_s = now, time.monotonic()
            if time.monotonic() - since_s > FLUSH_S:
                break
            time.sleep(TICK_S)
            self._tell()
        return not self.waiting

    @property
    def waiting(self) -> int:
        """Messages without a receipt, and those that the broker has not taken."""
        return self.outbox.messages + self.direct.waiting

    def _tell(self) -> None:
        now_s = time.monotonic()
        if now_s - self._noted_s < NOTE_S:
            return
        self._noted_s = now_s
        rate = self.sent / max(now_s - self._began_s, TICK_S)
        left_s = (self.total - self.sent) / rate if self.total is not None and rate else None
        self.note(
            Progress(
                sent=self.sent,
                total=self.total,
                shown_ns=self._shown_ns,
                messages_per_s=rate,
                left_s=left_s,
                waiting=self.waiting,
                problem=self._full or self.sender.problem or self.direct.problem,
            )
        )
