"""From rows and events to messages, and through a network that may lose, hold back or double them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush

import numpy as np

from collector.codec import EVENTS, READINGS, encode_event, topic_text
from filiere.clock import NS_PER_MS
from filiere.events import Event, event_json
from filiere.plant import Line
from simulators.faults.fault import Active, NetworkFault
from simulators.faults.network import arrivals
from simulators.line.randomness import generator
from simulators.line.rows import DeviceRows
from simulators.line.state import CycleStart

TERMINAL = "terminal"
"""The device that sends a line's events."""
MESSAGE_SPAN_S = 20.0
"""A message gathers the rows of at most this long: a slow device sends each row on its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message as its device sends it: rows, or one event."""

    due_ns: int
    """Simulated time at which it is sent, UTC ns."""
    device: str
    rows: DeviceRows | None = None
    start: int = 0
    stop: int = 0
    """Rows start … stop − 1 of `rows`."""
    event: Event | None = None
    boot: str
    seq: int
    """Number of the event, or of the first row."""
    closes: bool = False
    """It says that the last run of a lot is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One MQTT message as it arrives, not encoded yet."""

    time_ns: int
    """Simulated time at which it arrives, UTC ns."""
    topic: str
    rows: DeviceRows | None
    start: int = 0
    stop: int = 0
    """Rows start … stop − 1 of `rows`."""
    event: Event | None = None
    boot: str
    seq: int
    """Number of the event, or of the first row."""
    cycle: CycleStart
    """The last beginning of a cycle at which no message of the line was held back."""
    index: int
    """How many publications of the line came since then, from 0."""
    closes: bool = False
    """It says, for the first time, that the last run of a lot is closed."""

    @property
    def payload(self) -> bytes:
        """The bytes of the message; made anew at each call."""
        if self.rows is not None:
            return self.rows.payload(self.start, self.stop)
        if self.event is None:
            raise AssertionError("a publication without rows and without an event")
        return encode_event(self.boot, self.seq, event_json(self.event))


def drafts_of_rows(rows: DeviceRows, grid_ms: "np.typing.NDArray[np.int64]", *, most: int) -> list[Draft]:
    """Rows gathered into messages of one boot: those of `most` instants in a row, sent at the last of them.

    When it is sent does not depend on which of them were measured; a device that goes off has sent what it had.
    """
    count = len(rows.place)
    if not count:
        return []
    chunk = rows.place // most
    new = np.flatnonzero((np.diff(chunk) != 0) | (np.diff(rows.boot) != 0)) + 1
    starts = [0, *new.tolist()]
    stops = [*new.tolist(), count]
    last = np.minimum((chunk[starts] + 1) * most, len(grid_ms)) - 1
    due_ns = (grid_ms[last] * NS_PER_MS).tolist()
    numbers, boots = rows.seq[starts].tolist(), rows.boot[starts].tolist()
    return [
        Draft(
            due_ns=min(due, rows.ended_ns[boot]) if boot < len(rows.ended_ns) else due,
            device=rows.device,
            rows=rows,
            start=start,
            stop=stop,
            boot=rows.boots[boot],
            seq=seq,
        )
        for start, stop, due, boot, seq in zip(starts, stops, due_ns, boots, numbers, strict=True)
    ]


def drafts_of_events(told: Sequence[Event], *, boot: str, first: int, closing: str) -> list[Draft]:
    """One message an event, when it is told; `closing` is the id of the event that closes the lot."""
    return [
        Draft(
            due_ns=event.event_time_ns,
            device=TERMINAL,
            event=event,
            boot=boot,
            seq=first + place,
            closes=event.event_id == closing,
        )
        for place, event in enumerate(told)
    ]


class Network:
    """Between the devices of one line and the broker; messages wait in it."""

    def __init__(self, line: Line, seed: int) -> None:
        self._line = line
        self._seed = seed
        self._held: list[tuple[int, int, Draft]] = []
        self._sent = 0
        self._topics: dict[tuple[str, str], str] = {}

    @property
    def empty(self) -> bool:
        """No message is held back."""
        return not self._held

    def take(self, drafts: Iterable[Draft], active: Sequence[Active], until_ns: int) -> Iterator[tuple[int, Draft]]:
        """(time of arrival, message) of what arrives before `until_ns`, in that order.

        `drafts` come in the order of `due_ns`; what arrives later is held for the next call.
        """
        faults = [each for each in active if isinstance(each.fault, NetworkFault)]
        for draft in drafts:
            while self._held and self._held[0][0] <= draft.due_ns and self._held[0][0] < until_ns:
                time_ns, _, held = heappop(self._held)
                yield time_ns, held
            for copy, time_ns in enumerate(self._arrivals(draft, faults) if faults else (draft.due_ns,)):
                self._sent += 1
                # A closing that comes twice closes once.
                once = replace(draft, closes=False) if copy and draft.closes else draft
                heappush(self._held, (time_ns, self._sent, once))
        while self._held and self._held[0][0] < until_ns:
            time_ns, _, held = heappop(self._held)
            yield time_ns, held

    def _arrivals(self, draft: Draft, faults: Sequence[Active]) -> Sequence[int]:
        touching = [each for each in faults if each.fault.touches(draft.device, "")]

        def chance(fault: NetworkFault) -> np.random.RandomState:
            return generator(self._seed, self._line.path, "fault", fault.label, draft.device, draft.boot, draft.seq)

        return arrivals(draft.due_ns, touching, chance) if touching else (draft.due_ns,)

    def topic(self, draft: Draft) -> str:
        """Where a message is published."""
        key = (draft.device, READINGS if draft.rows is not None else EVENTS)
        if key not in self._topics:
            self._topics[key] = topic_text(self._line.path, *key)
        return self._topics[key]


def publication(network: Network, time_ns: int, draft: Draft, cycle: CycleStart, index: int) -> Publication:
    """The message as it arrives."""
    return Publication(
        time_ns=time_ns,
        topic=network.topic(draft),
        rows=draft.rows,
        start=draft.start,
        stop=draft.stop,
        event=draft.event,
        boot=draft.boot,
        seq=draft.seq,
        cycle=cycle,
        index=index,
        closes=draft.closes,
    )
