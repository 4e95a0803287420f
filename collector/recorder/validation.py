"""A message against the plant model: known devices, signals, units, ranges, clock, names in events. Pure.

A reading that is only doubtful is kept, with the reason as its quality. A message that cannot be placed is refused
whole, so that the quarantine holds exactly the bytes that were sent.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import isfinite

from collector.codec import EVENTS, NOT_FINITE, STATE, Columns, Topic, parse_topic
from filiere.clock import NS_PER_S, parse_time
from filiere.errors import MessageRefused
from filiere.events import Event, Portion, Received, RunClosed, RunStarted
from filiere.plant import Plant, Signal
from filiere.units import converter

UNKNOWN_DEVICE, UNKNOWN_SIGNAL, WRONG_UNIT = "unknown_device", "unknown_signal", "wrong_unit"
UNKNOWN_NAME, NOT_OWNER = "unknown_name", "not_owner"

TERMINAL = "terminal"
"""The device of every line on which people send events; it has no signals."""
AHEAD_NS_MAX = 300 * NS_PER_S
"""A device's clock may be this far ahead of ours before it is suspect."""
OLDEST_NS = parse_time("2020-01-01T00:00:00Z")
"""A clock that shows an earlier time was never set."""
_NAMED_MAX = 20
_SHOWN_MAX = 64

Column = Sequence[float | None]
"""One value a row; None = not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A device of the plant, as messages name it."""

    line: str
    """Line path, `caux/textile/t1`."""
    device: str
    path: str
    """`caux/textile/t1/extruder`."""
    signals: Mapping[str, Signal]
    """By id; a terminal has none."""


class Placement:
    """Every device and signal of a plant, by the names that messages use."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._lines = frozenset(line.path for line in plant.lines)
        self._devices = {
            f"{line.path}/{unit.id}": Place(
                line=line.path,
                device=unit.id,
                path=f"{line.path}/{unit.id}",
                signals={signal.id: signal for signal in unit.signals},
            )
            for line, unit in plant.devices()
        }
        self.routes: dict[bytes, tuple[str, Place]] = {}
        """Topics that messages came on: only those of the plant, so they are as many as it has."""
        self._terminals = {
            f"{path}/{TERMINAL}": Place(line=path, device=TERMINAL, path=f"{path}/{TERMINAL}", signals={})
            for path in self._lines
        }

    def route(self, topic: bytes) -> tuple[str, Place]:
        """Kind and sender of a message on one of our own topics; `routes` remembers it.

        Raises MessageRefused: wrong_topic, unknown_device.
        """
        parsed = parse_topic(topic)
        found = self.routes[topic] = parsed.kind, self.place(parsed)
        return found

    def place(self, topic: Topic) -> Place:
        """Who sent it. Raises MessageRefused (unknown_device)."""
        found = self._devices.get(topic.device_path)
        if found is None and topic.kind in (EVENTS, STATE):
            found = self._terminals.get(topic.device_path)
        if found is not None:
            return found
        known = [path for path in self._devices if path.startswith(f"{topic.line_path}/")] or sorted(self._lines)
        raise MessageRefused(
            UNKNOWN_DEVICE,
            f"got device {topic.device_path}; expected one of the plant model: {', '.join(known[:_NAMED_MAX])}",
        )

    def device(self, path: str) -> Place | None:
        """A device by its path; None when the plant has none such."""
        return self._devices.get(path)

    def columns(self, place: Place, found: Columns) -> Sequence[Column]:
        """The message's values in the plant model's units.

        Raises MessageRefused: unknown_signal, wrong_unit, not_finite (by its conversion).
        """
        signals = place.signals
        for name in found.names:
            if name not in signals:
                raise MessageRefused(
                    UNKNOWN_SIGNAL,
                    f"{place.path}: got signal {name[:_SHOWN_MAX]!r}; expected"
                    f" {', '.join(list(signals)[:_NAMED_MAX])}: correct the device, or the plant model",
                )
        if not found.units:
            return found.values
        return [
            values
            if found.units.get(name, signals[name].unit) == signals[name].unit
            else _converted(place, signals[name], values, found.units[name])
            for name, values in zip(found.names, found.values, strict=True)
        ]

    def event(self, place: Place, event: Event) -> None:
        """An event's site, line, step, recipe and materials are the plant's, and its line is the sender's own.

        Raises MessageRefused: unknown_name, not_owner.
        """
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
        if not isinstance(event, Received) and event.line != place.line:
            raise MessageRefused(
                NOT_OWNER,
                f"got an event of line {event.line} from {place.path}; expected one of {place.line}: send it from a"
                " device of its own line",
            )

    def _known(self, what: str, name: str, names: Collection[str]) -> None:
        if name not in names:
            raise MessageRefused(
                UNKNOWN_NAME,
                f"got {what} {name[:_SHOWN_MAX]!r}; expected one of {', '.join(sorted(names)[:_NAMED_MAX])}: correct"
                " the event, or the plant model",
            )


def _converted(place: Place, signal: Signal, values: Column, unit: str) -> list[float | None]:
    try:
        convert = converter(unit, signal.unit)
    except ValueError as error:
        raise MessageRefused(
            WRONG_UNIT,
            f"{place.path}.{signal.id}: got unit {unit[:_SHOWN_MAX]!r}; expected {signal.unit!r} or one that"
            f" converts to it ({str(error)[:_SHOWN_MAX]})",
        ) from None
    converted = [None if value is None else convert(value) for value in values]
    if not all(value is None or isfinite(value) for value in converted):
        raise MessageRefused(
            NOT_FINITE,
            f"{place.path}.{signal.id}: got a value too large for {signal.unit}; expected a finite one",
        )
    return converted


def suspect_clocks(event_ns: Sequence[int], record_ns: Sequence[int]) -> list[int]:
    """Places of the rows whose device's clock cannot be right; they are stored under the time of their arrival.

    Right is OLDEST_NS ≤ event time ≤ record time + AHEAD_NS_MAX.
    """
    if min(event_ns) >= OLDEST_NS and max(event_ns) <= min(record_ns) + AHEAD_NS_MAX:
        return []
    return [
        place
        for place, (event, record) in enumerate(zip(event_ns, record_ns, strict=True))
        if not OLDEST_NS <= event <= record + AHEAD_NS_MAX
    ]


def out_of_range(signal: Signal, values: Column) -> list[int]:
    """Places of the values that the sensor cannot mean."""
    low, high = signal.range_low, signal.range_high
    try:
        if low <= min(values) and max(values) <= high:  # type: ignore[type-var, operator]  # None is handled below
            return []
    except TypeError:  # some are not measured
        pass
    return [place for place, value in enumerate(values) if value is not None and not low <= value <= high]


def count_late(event_ns: Sequence[int], newest_ns: int) -> int:
    """How many of the rows are older than one that came before, `newest_ns` or one of these."""
    ordered = sorted(event_ns)
    if ordered == event_ns and (not ordered or ordered[0] >= newest_ns):
        return 0
    newest = accumulate(event_ns, max, initial=newest_ns)
    return sum(event < before for event, before in zip(event_ns, newest, strict=False))
