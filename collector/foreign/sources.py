"""Messages of foreign devices → rows of the plant's devices, as the plant's bindings say. Pure, but for the births.

Nothing is guessed: what a binding does not describe is refused with MessageRefused, whose `reason` is one of the words
below. What the words mean for who wrote the binding is in docs/bindings.md.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import isfinite
from typing import TYPE_CHECKING

from collector.codec import NOT_FINITE, PAYLOAD_BYTES_MAX, TOO_LARGE, WRONG_SHAPE
from collector.foreign.births import Births, MemoryBirths
from collector.foreign.payload import ABSENT, MISSING_PATH, at, read_json, read_number, read_text, read_time, shown
from collector.recorder.validation import WRONG_UNIT
from filiere.bindings import (
    SPARKPLUG_TOPICS,
    TOPIC_CHARACTERS_MAX,
    Binding,
    Payload,
    Source,
    StatedUnit,
    filters_by_line,
    path_text,
)
from filiere.errors import MessageRefused
from filiere.message_log import Message
from filiere.plant import Plant
from filiere.readings import DEVICE_BAD
from filiere.units import converter

if TYPE_CHECKING:
    from collector.foreign.sparkplug import Metric, SparkplugDecoder

UNBOUND_TOPIC = "unbound_topic"

KEY_BYTES = 16
TOPICS_KEPT_MAX = 4096
"""Topics whose binding is remembered; above it the search starts again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRow:
    """One instant of one device, in the plant model's units; not yet held against ranges and clocks."""

    line: str
    """Line path, `caux/textile/t1`."""
    device: str
    """`dryer`."""
    event_time_ns: int | None
    """As the device says it, UTC ns, whole µs; None = it says none, and the time of arrival stands for it."""
    values: Mapping[str, float]
    """Signal id → value in the signal's unit, at least one."""
    quality: Mapping[str, str]
    """Signal id → DEVICE_BAD, where the device itself says so; the gravest of all qualities."""
    key: bytes
    """KEY_BYTES that are the same for the same numbers from the same topic and time: a row sent twice is one."""

    @property
    def device_path(self) -> str:
        """`caux/textile/t1/dryer`."""
        return f"{self.line}/{self.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One binding held against a topic."""

    binding: str
    mismatch: str | None
    """Why it is not for this topic; None = it is."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one signal's number stands, and how it becomes a value."""

    source: Source
    what: str
    """In refusals: `air_temp (DS18B20.Temperature)`."""
    convert: Mapping[str, Callable[[float], float]]
    """The device's word for the unit → conversion; "" where the binding states the unit."""


@dataclass(frozen=True, slots=True)
class _Route:
    """What a topic means."""

    binding: Binding
    line: str
    device: str
    places: tuple[_Place, ...]


@dataclass(slots=True)
class _Found:
    """What one payload, or one instant of it, says."""

    values: dict[str, float] = field(default_factory=dict)
    raw: dict[str, float] = field(default_factory=dict)
    """Before scale and unit: a binding that is corrected later gives the same row again."""


class ForeignSources:
    """The bindings of a plant, ready to read messages."""

    def __init__(self, plant: Plant, births: Births | None = None) -> None:
        """`births` keeps Sparkplug's birth certificates; without it they live as long as this object.

        Raises SettingsError: a binding is for Sparkplug, and the extra that reads it is not installed.
        """
        self._bindings = plant.bindings
        self._units = {
            f"{line.path}/{unit.id}": {signal.id: signal.unit for signal in unit.signals}
            for line, unit in plant.devices()
        }
        self._routes: dict[bytes, _Route | None] = {}
        self._sparkplug: SparkplugDecoder | None = None
        if any(binding.payload is Payload.SPARKPLUG for binding in plant.bindings):
            from collector.foreign import sparkplug  # noqa: PLC0415 - an extra that few need

            self._sparkplug = sparkplug.SparkplugDecoder(MemoryBirths() if births is None else births)

    def filters(self) -> dict[str, tuple[str, ...]]:
        """Line path → MQTT topic filters of its foreign devices."""
        return filters_by_line(self._bindings)

    def candidates(self, topic: bytes) -> tuple[Candidate, ...]:
        """Every binding, with why it is not for this topic."""
        levels = _levels(topic)
        return tuple(Candidate(binding=each.id, mismatch=_mismatch(each, levels, node=True)) for each in self._bindings)

    def device_path(self, topic: bytes) -> str:
        """The device that a topic is bound to; empty when none is, or several of one Sparkplug node."""
        route = self._route(topic)
        if route is not None:
            return f"{route.line}/{route.device}"
        levels = _levels(topic)
        of_node = {
            path
            for each in self._bindings
            if each.payload is Payload.SPARKPLUG and _mismatch(each, levels, node=True) is None
            for path in each.devices.values()
        }
        return min(of_node) if len(of_node) == 1 else ""

    def decode(self, message: Message) -> Sequence[ForeignRow]:
        """A message → its rows, in the order of time. None where it was understood and measured nothing.

        Raises MessageRefused: unbound_topic, too_large, not_json, wrong_shape, missing_path, not_finite, wrong_unit,
        bad_time, local_time, no_birth.
        """
        route = self._route(message.topic)
        if len(message.payload) > PAYLOAD_BYTES_MAX:
            raise MessageRefused(TOO_LARGE, f"got {len(message.payload)} bytes; expected at most {PAYLOAD_BYTES_MAX}")
        levels = _levels(message.topic)
        if self._sparkplug is not None and levels[0] == SPARKPLUG_TOPICS and self._is_sparkplug(route, levels):
            metrics = self._sparkplug.decode(levels, message)
            return () if route is None else self._metric_rows(route, message, metrics)
        if route is None or not route.places:
            raise self._unbound(message.topic)
        bare = route.binding.payload is Payload.NUMBER
        document = read_text(message.payload) if bare else read_json(message.payload)
        time = route.binding.time
        event_time_ns = None if time is None else read_time(document, time, message.record_time_ns)
        found = _Found()
        for place in route.places:
            self._read(document, place, route, found)
        return self._rows(route, message, event_time_ns, found, {})

    def _is_sparkplug(self, route: _Route | None, levels: Sequence[str]) -> bool:
        """Data of a bound device; or births and deaths, also of its node."""
        if route is not None:
            return route.binding.payload is Payload.SPARKPLUG
        return any(
            each.payload is Payload.SPARKPLUG and _mismatch(each, levels, node=True) is None for each in self._bindings
        )

    def _metric_rows(self, route: _Route, message: Message, metrics: "Iterable[Metric]") -> list[ForeignRow]:
        bound = {place.source.path[0] for place in route.places}
        by_time: dict[int | None, dict[str, Metric]] = {}
        for metric in metrics:
            if metric.name not in bound:
                continue
            instant = by_time.setdefault(metric.time_ns, {})
            if metric.name in instant:
                raise MessageRefused(
                    WRONG_SHAPE, f"{shown(metric.name)}: got it twice with one time; expected each metric once"
                )
            instant[metric.name] = metric
        rows: list[ForeignRow] = []
        for time_ns, instant in sorted(by_time.items(), key=lambda item: item[0] or 0):
            found, quality = _Found(), {}
            document = {name: metric.value for name, metric in instant.items()}
            for place in route.places:
                self._read(document, place, route, found)
                (name,) = place.source.path
                if place.source.signal in found.values and instant[str(name)].bad:
                    quality[place.source.signal] = DEVICE_BAD
            rows += self._rows(route, message, time_ns, found, quality)
        return rows

    def _read(self, document: object, place: _Place, route: _Route, found: _Found) -> None:
        source, what = place.source, place.what
        value = at(document, source.path)
        if value is ABSENT or value is None:
            if source.optional or route.binding.payload is Payload.SPARKPLUG:
                return
            raise MessageRefused(
                MISSING_PATH,
                f"{what}: got {'nothing' if value is ABSENT else 'null'}; expected a number there: correct the path,"
                " or say `optional: true` where it may be absent",
            )
        number = read_number(value, source, what)
        measured = number * source.scale + source.offset
        measured = _convert(document, place)(measured)
        if not isfinite(measured):
            raise MessageRefused(NOT_FINITE, f"{what}: got {shown(value)}, too large in its unit; expected less")
        found.raw[source.signal], found.values[source.signal] = number, measured

    def _rows(
        self, route: _Route, message: Message, time_ns: int | None, found: _Found, quality: Mapping[str, str]
    ) -> list[ForeignRow]:
        if not found.values:
            return []
        at_ns = message.record_time_ns if time_ns is None else time_ns
        content = [message.topic, str(at_ns).encode(), f"{route.line}/{route.device}".encode()]
        content += [f"{signal}={number!r}".encode() for signal, number in sorted(found.raw.items())]
        key = blake2b(b"\0".join(content), digest_size=KEY_BYTES).digest()
        return [
            ForeignRow(
                line=route.line,
                device=route.device,
                event_time_ns=time_ns,
                values=found.values,
                quality=quality,
                key=key,
            )
        ]

    def _route(self, topic: bytes) -> _Route | None:
        if topic in self._routes:
            return self._routes[topic]
        levels = _levels(topic)
        found = next((each for each in self._bindings if _mismatch(each, levels) is None), None)
        route = None if found is None else self._bound(found, levels)
        if len(topic) <= TOPIC_CHARACTERS_MAX:
            if len(self._routes) >= TOPICS_KEPT_MAX:
                self._routes.clear()
            self._routes[topic] = route
        return route

    def _bound(self, binding: Binding, topic: Sequence[str]) -> _Route:
        levels = binding.levels(topic)
        path = binding.device(levels)
        line, _, device = path.rpartition("/")
        places = []
        for source in binding.sources:
            if all(levels[name] == word for name, word in source.when.items()):
                unit, to_unit = source.unit, self._units[path][source.signal]
                codes = unit.units if isinstance(unit, StatedUnit) else {"": unit}
                what = f"{source.signal} ({path_text(source.path) or 'the payload'})"
                places.append(_Place(source, what, {word: converter(code, to_unit) for word, code in codes.items()}))
        return _Route(binding, line, device, tuple(places))

    def _unbound(self, topic: bytes) -> MessageRefused:
        reasons = [f"{each.binding}: {each.mismatch}" for each in self.candidates(topic)]
        return MessageRefused(
            UNBOUND_TOPIC,
            f"got topic {shown(topic.decode(errors='backslashreplace'))}; expected one of a binding"
            f" ({'; '.join(reasons)[:300] or 'the plant file has none'}): add a binding, or a device to its map",
        )


def _levels(topic: bytes) -> list[str]:
    # bytes that are no UTF-8 match no binding: a plant file holds only text, and these are none
    return topic.decode(errors="surrogateescape").split("/")


def _mismatch(binding: Binding, levels: Sequence[str], *, node: bool = False) -> str | None:
    """As `Binding.mismatch`, with the births and deaths that go with Sparkplug's data; `node`: those of its node."""
    if binding.payload is Payload.SPARKPLUG and len(levels) > 2 and levels[0] == SPARKPLUG_TOPICS:
        kind = levels[2]
        if kind[1:] in ("BIRTH", "DEATH"):
            levels = [*levels[:2], f"{kind[0]}DATA", *levels[3:]]
        if node and kind in ("NBIRTH", "NDEATH") and len(levels) == 4:
            words = binding.words
            pairs = zip((levels[1], levels[3]), (words[1], words[3]), strict=True)
            return None if all(allowed is None or level in allowed for level, allowed in pairs) else "another node"
    return binding.mismatch(levels)


def _convert(document: object, place: _Place) -> Callable[[float], float]:
    unit = place.source.unit
    if not isinstance(unit, StatedUnit):
        return place.convert[""]
    word = at(document, unit.path)
    if isinstance(word, str) and word in place.convert:
        return place.convert[word]
    raise MessageRefused(
        WRONG_UNIT,
        f"{place.source.signal}: got unit {'nothing' if word is ABSENT else shown(word)} at {path_text(unit.path)};"
        f" expected {' or '.join(place.convert)}",
    )
