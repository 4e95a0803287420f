"""Publishes a simulation: each message goes into the outbox when its time has come, and the outbox does the rest.

What is in the outbox is on the disk: the simulation never goes back behind it, whatever happens to broker or collector.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from collector.codec import parse_topic
from collector.outbox import Numbered, Outbox, OutboxFull, Sender
from filiere.clock import NS_PER_S, Clock, system_clock
from simulators.line.messages import Publication
from simulators.line.simulation import sent
from simulators.line.state import SimulatorState
from simulators.output.progress import Progress

BATCH_MAX, BATCH_S = 1_000, 0.25
"""Messages that are committed together, at most, and from how long."""
FULL_S = 0.2
"""Between two tries while the outbox is full."""
TICK_S = 0.05
FLUSH_S = 60.0
"""How long a receipt is awaited at the end, counted from the last one."""
LAST_S, LISTENING_S = 5.0, 2.0
"""Who is asked to stop waits for receipts so long at most, and only when one came so recently."""
NOTE_S = 0.5
RATE_SPAN = 10
"""Notes over which the rates are averaged."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When a publication is due: `speed` times as fast as the wall clock until it is caught up, then with it."""

    speed: float
    """0 = as fast as it goes."""
    virtual_ns: int
    wall_ns: int

    def due_ns(self, time_ns: int) -> int:
        """Virtual time → wall time, UTC ns; never before it: readings from the future are believed by nobody."""
        if self.speed <= 0.0:
            return time_ns
        return max(self.wall_ns + round((time_ns - self.virtual_ns) / self.speed), time_ns)


class Publisher:
    """Between a simulation and an outbox with its sender."""

    def __init__(
        self,
        outbox: Outbox,
        sender: Sender,
        state: SimulatorState,
        *,
        clock: Clock = system_clock,
        watch: Callable[[Publication], None] | None = None,
    ) -> None:
        self.state = state
        """What is in the outbox: a restart from here goes on behind it."""
        self.published = 0
        self.virtual_ns = 0
        """Simulated time of the last publication; 0 = there was none."""
        self.lots: Counter[str] = Counter()
        """Line path → lots whose closing is among what was published."""
        self._outbox = outbox
        self._sender = sender
        self._clock = clock
        self._watch = watch
        self._pace: Pace | None = None
        self._full: str | None = None

    def publish_all(
        self,
        publications: Iterable[Publication],
        *,
        speed: float,
        stop: Callable[[], bool],
        note: Callable[[Progress], None],
    ) -> bool:
        """Publish at `speed` until the stream ends or `stop` says so. Returns False when stopped.

        `note` is called about twice a second, to show the progress and to keep the state. Called again, it keeps the
        pace it had.

        Raises:
            OutboxUnusable: the outbox's file fails.
        """
        meter = _Meter(note)
        batch: list[Publication] = []
        began_s = time.monotonic()
        for publication in publications:
            if self._pace is None or self._pace.speed != speed:
                self._pace = Pace(speed=speed, virtual_ns=publication.time_ns, wall_ns=self._clock())
            due_ns = self._pace.due_ns(publication.time_ns)
            early = self._clock() < due_ns
            if early or len(batch) >= BATCH_MAX or time.monotonic() - began_s >= BATCH_S:
                if not self._put(batch, stop, meter):
                    return False
                batch, began_s = [], time.monotonic()
            while early and not stop() and (left_ns := due_ns - self._clock()) > 0:
                time.sleep(min(left_ns / NS_PER_S, TICK_S))
                meter.tick(self)
            if stop():
                return False
            batch.append(publication)
        return self._put(batch, stop, meter)

    def flush(self, *, stop: Callable[[], bool]) -> bool:
        """Wait for the receipts of everything, as long as they keep coming. False when some are still missing."""
        acknowledged, since_s = -1, time.monotonic()

        def gives_up() -> bool:
            nonlocal acknowledged, since_s
            if self._sender.acknowledged != acknowledged:
                acknowledged, since_s = self._sender.acknowledged, time.monotonic()
            return stop() or time.monotonic() - since_s > FLUSH_S

        return self._sender.flush(float("inf"), stop=gives_up)

    def flush_briefly(self, *, stop: Callable[[], bool]) -> bool:
        """The same for who was asked to stop: at once when nobody listens, for it is all on the disk."""
        if time.monotonic() - self._sender.heard_at > LISTENING_S:
            return not self._outbox.messages
        return self._sender.flush(LAST_S, stop=stop)

    def progress(self, virtual_ns: int, *, messages_per_s: float, rate: float) -> Progress:
        """How it goes just now."""
        return Progress(
            virtual_ns=virtual_ns,
            published=self.published,
            lots=self.lots.total(),
            waiting=self._outbox.messages,
            messages_per_s=messages_per_s,
            rate=rate,
            problem=self._full or self._sender.problem,
        )

    def _put(self, batch: list[Publication], stop: Callable[[], bool], meter: "_Meter") -> bool:
        """Put a batch into the outbox, when it has room. False when asked to stop before."""
        if batch:
            meter.virtual_ns = batch[-1].time_ns
        while batch:
            try:
                self._outbox.put_numbered([_numbered(publication) for publication in batch])
            except OutboxFull as full:
                self._full = str(full)
                meter.tick(self)
                if stop():
                    return False
                time.sleep(FULL_S)
                continue
            self._full = None
            self.published += len(batch)
            self.lots.update(publication.cycle.line for publication in batch if publication.closes)
            self.virtual_ns = batch[-1].time_ns
            if self._watch is not None:
                for publication in batch:
                    self._watch(publication)
            for publication in {publication.cycle.line: publication for publication in batch}.values():
                self.state = sent(self.state, publication)
            break
        meter.tick(self)
        return True


def _numbered(publication: Publication) -> Numbered:
    topic = parse_topic(publication.topic.encode())
    return Numbered(
        device=topic.device_path,
        kind=topic.kind,
        boot=publication.boot,
        seq=publication.seq,
        rows=max(1, publication.stop - publication.start),  # an event takes one number
        payload=publication.payload,
    )


class _Meter:
    """Counts, and says how it goes now and then."""

    def __init__(self, note: Callable[[Progress], None]) -> None:
        self.virtual_ns = 0
        self._note = note
        self._points: deque[tuple[float, int, int]] = deque(maxlen=RATE_SPAN)

    def tick(self, publisher: Publisher) -> None:
        now_s = time.monotonic()
        if self._points and now_s - self._points[-1][0] < NOTE_S:
            return
        if not self.virtual_ns:
            return
        self._points.append((now_s, self.virtual_ns, publisher.published))
        then_s, virtual_ns, published = self._points[0]
        took_s = now_s - then_s
        self._note(
            publisher.progress(
                self.virtual_ns,
                messages_per_s=(publisher.published - published) / took_s if took_s else 0.0,
                rate=(self.virtual_ns - virtual_ns) / NS_PER_S / took_s if took_s else 0.0,
            )
        )
