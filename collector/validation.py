"""A message against the plant model: known devices, signals, units, ranges, clock, names in events. Pure.

A reading that is only doubtful is kept, with the reason as its quality. A message that cannot be placed is refused
whole, so that the quarantine holds exactly the bytes that were sent.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from collector.codec import EVENTS, NOT_FINITE, STATE, ReadingsMessage, Topic
from filiere.clock import NS_PER_S, parse_time
from filiere.errors import MessageRefused
from filiere.events import Event, Portion, Received, RunClosed, RunStarted
from filiere.plant import Plant, Signal
from filiere.readings import CLOCK_SUSPECT, OUT_OF_RANGE, Row, stored_time_ns
from filiere.units import converter

UNKNOWN_DEVICE, UNKNOWN_SIGNAL, WRONG_UNIT = "unknown_device", "unknown_signal", "wrong_unit"
UNKNOWN_NAME = "unknown_name"

TERMINAL = "terminal"
"""The device of every line on which people send events; it has no signals."""
AHEAD_NS_MAX = 300 * NS_PER_S
"""A device's clock may be this far ahead of ours before it is suspect."""
OLDEST_NS = parse_time("2020-01-01T00:00:00Z")
"""A clock that shows an earlier time was never set."""
_NAMED_MAX = 20
_SHOWN_MAX = 64

Column = tuple[Signal, Sequence[float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRow:
    """One row, placed in the plant."""

    seq: int
    event_time_ns: int
    """As the device says it, UTC ns."""
    clock_suspect: bool
    """The device's clock cannot be right: the row is stored under the time of its arrival."""
    row: Row
    """What is stored. Its values are empty where nothing was measured."""


class Placement:
    """Every device and signal of a plant, by the names that messages use."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._lines = frozenset(line.path for line in plant.lines)
        self._devices = {
            f"{line.path}/{unit.id}": {signal.id: signal for signal in unit.signals} for line, unit in plant.devices()
        }

    def signals(self, topic: Topic) -> Mapping[str, Signal]:
        """The signals of a topic's device by id; a terminal has none. Raises MessageRefused (unknown_device)."""
        found = self._devices.get(topic.device_path)
        if found is not None:
            return found
        if topic.device == TERMINAL and topic.kind in (EVENTS, STATE) and topic.line_path in self._lines:
            return {}
        known = [path for path in self._devices if path.startswith(f"{topic.line_path}/")] or sorted(self._lines)
        raise MessageRefused(
            UNKNOWN_DEVICE,
            f"got device {topic.device_path}; expected one of the plant model: {', '.join(known[:_NAMED_MAX])}",
        )

    def rows(self, topic: Topic, message: ReadingsMessage, record_time_ns: int) -> list[JudgedRow]:
        """The message's rows in the plant model's units, in their order.

        Raises MessageRefused: unknown_device, unknown_signal, wrong_unit, not_finite (by its conversion).
        """
        signals = self.signals(topic)
        columns: list[Column] = []
        for name, values in message.values.items():
            signal = signals.get(name)
            if signal is None:
                raise MessageRefused(
                    UNKNOWN_SIGNAL,
                    f"{topic.device_path}: got signal {name[:_SHOWN_MAX]!r}; expected"
                    f" {', '.join(list(signals)[:_NAMED_MAX])}: correct the device, or the plant model",
                )
            unit = message.units.get(name, signal.unit)
            columns.append((signal, values if unit == signal.unit else _converted(topic, signal, values, unit)))
        return [
            _judge(topic, message.seq + index, event_time_ns, record_time_ns, columns, index)
            for index, event_time_ns in enumerate(message.time_ns)
        ]

    def event(self, event: Event) -> None:
        """An event's site, line, step, recipe and materials are the plant's. Raises MessageRefused (unknown_name)."""
        match event:
            case Received():
                self._known("site", event.site, (self._plant.site,))
                portions: tuple[Portion, ...] = (event.portion,)
            case RunStarted():
                self._known("line", event.line, self._lines)
                line = self._plant.line(event.line)
                self._known("step", event.step, [step.id for step in line.steps])
                self._known("recipe", event.recipe, [recipe.id for recipe in line.step(event.step).recipes])
                portions = event.inputs
            case RunClosed():
                self._known("line", event.line, self._lines)
                portions = event.outputs
        for portion in portions:
            self._known("material", portion.material, self._plant.materials)

    def _known(self, what: str, name: str, names: Collection[str]) -> None:
        if name not in names:
            raise MessageRefused(
                UNKNOWN_NAME,
                f"got {what} {name[:_SHOWN_MAX]!r}; expected one of {', '.join(sorted(names)[:_NAMED_MAX])}: correct"
                " the event, or the plant model",
            )


def _converted(topic: Topic, signal: Signal, values: Sequence[float | None], unit: str) -> list[float | None]:
    try:
        convert = converter(unit, signal.unit)
    except ValueError as error:
        raise MessageRefused(
            WRONG_UNIT,
            f"{topic.device_path}.{signal.id}: got unit {unit[:_SHOWN_MAX]!r}; expected {signal.unit!r} or one that"
            f" converts to it ({str(error)[:_SHOWN_MAX]})",
        ) from None
    converted = [None if value is None else convert(value) for value in values]
    if not all(value is None or isfinite(value) for value in converted):
        raise MessageRefused(
            NOT_FINITE,
            f"{topic.device_path}.{signal.id}: got a value too large for {signal.unit}; expected a finite one",
        )
    return converted


def _judge(
    topic: Topic, seq: int, event_time_ns: int, record_time_ns: int, columns: Sequence[Column], index: int
) -> JudgedRow:
    suspect = not OLDEST_NS <= event_time_ns <= record_time_ns + AHEAD_NS_MAX
    values: dict[str, float] = {}
    quality: dict[str, str] = {}
    for signal, column in columns:
        value = column[index]
        if value is None:
            continue
        values[signal.id] = value
        if not signal.range_low <= value <= signal.range_high:
            quality[signal.id] = OUT_OF_RANGE  # the graver of the two: the value itself is not to be used
        elif suspect:
            quality[signal.id] = CLOCK_SUSPECT
    time_ns = stored_time_ns(record_time_ns if suspect else event_time_ns, seq)
    row = Row(line=topic.line_path, device=topic.device, time_ns=time_ns, values=values, quality=quality)
    return JudgedRow(seq=seq, event_time_ns=event_time_ns, clock_suspect=suspect, row=row)
