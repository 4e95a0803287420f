"""The `bindings` of a plant file → Binding, checked against the devices and signals of the plant."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar
from zoneinfo import available_timezones

from filiere.bindings import (
    FILTERS_MAX,
    OWN_TOPICS,
    SPARKPLUG_TOPICS,
    Binding,
    Path,
    Payload,
    Source,
    StatedUnit,
    TimeFormat,
    TimeSource,
    check_topic,
    level_name,
    overlap,
    parse_path,
    takes_own_topics,
)
from filiere.units import check_unit, converter
from filiere.yaml_node import Node

Devices = Mapping[str, Mapping[str, str]]
"""Device path → signal id → unit."""

Value = TypeVar("Value")

_SPARKPLUG_DATA = ((SPARKPLUG_TOPICS, "DDATA", 5), (SPARKPLUG_TOPICS, "NDATA", 4))
_SHOWN_MAX = 20


def read_bindings(node: Node, devices: Devices) -> tuple[Binding, ...]:
    """The list `bindings` of a plant file. Raises PlantError with file and line."""
    nodes: dict[str, Node] = {}
    bindings: list[Binding] = []
    for item in node.items():
        binding = _binding(item, devices)
        if binding.id in nodes:
            raise item.error(f"id {binding.id!r} twice", "each id once in this list: rename one")
        nodes[binding.id] = item
        bindings.append(binding)
    for one, other in combinations(bindings, 2):
        shared = overlap(one, other)
        if shared is not None:
            raise nodes[other.id].error(
                f"topic {other.topic}, which meets {one.topic} of binding {one.id!r} at {shared}",
                "one binding for each topic: name the devices in one of them, or join the two",
            )
    return tuple(bindings)


@dataclass(frozen=True, slots=True)
class _Reader:
    """What the parts of one binding must agree with."""

    payload: Payload
    levels: frozenset[str]
    paths: tuple[str, ...]
    """Paths of all its devices."""
    devices: Devices


def _binding(node: Node, devices: Devices) -> Binding:
    fields = node.fields(("id", "topic", "device", "payload", "signals"), ("time",))
    payload = Payload(_one_of(fields["payload"], [payload.value for payload in Payload]))
    topic = _topic(fields["topic"], payload)
    levels = frozenset(name for level in topic.split("/") if (name := level_name(level)) is not None)
    level, by_word = _devices(fields["device"], levels, devices)
    reader = _Reader(payload=payload, levels=levels, paths=tuple(by_word.values()), devices=devices)
    if "time" in fields and payload is not Payload.JSON:
        raise fields["time"].error("a time", "no time: a number has none, and Sparkplug brings its own")
    sources = tuple(_source(name, child, reader) for name, child in fields["signals"].entries())
    if not sources:
        raise fields["signals"].error("no signal", "at least one")
    _check_places(fields["signals"], sources)
    binding = Binding(
        id=fields["id"].id(),
        topic=topic,
        level=level,
        devices=by_word,
        payload=payload,
        time=_time(fields["time"]) if "time" in fields else None,
        sources=sources,
    )
    _check_whole(node, fields["topic"], binding)
    return binding


def _topic(node: Node, payload: Payload) -> str:
    topic = node.text()
    try:
        check_topic(topic)
    except ValueError as error:
        raise node.error(f"{node.shown} ({error})", "a topic such as tele/{name}/SENSOR") from None
    levels = topic.split("/")
    if payload is Payload.SPARKPLUG and (levels[0], *levels[2:3], len(levels)) not in _SPARKPLUG_DATA:
        raise node.error(
            node.shown,
            f"where the data comes, {SPARKPLUG_TOPICS}/GROUP/DDATA/NODE/DEVICE or {SPARKPLUG_TOPICS}/GROUP/NDATA/NODE:"
            " births and deaths are found from it",
        )
    return topic


def _check_whole(node: Node, topic: Node, binding: Binding) -> None:
    """What can only be said of the binding as a whole."""
    if takes_own_topics(binding):
        raise topic.error(topic.shown, f"a topic outside {OWN_TOPICS}/, which needs no binding")
    filters = math.prod(len(words) for words in binding.words if words is not None)
    if filters > FILTERS_MAX:
        raise node.error(f"{filters} topics", f"at most {FILTERS_MAX} in a binding: make two of it")
    for number, words in enumerate(binding.words, 1):
        for word in words or ():
            own = number == 1 and word.startswith("$")  # $SYS, $share: the broker's
            if own or not word.isprintable() or any(sign in word for sign in "+#/"):
                raise topic.error(
                    f"{word[:60]!r} at level {number}", "one level of a topic: no /, + or #, no $ in front"
                )


def _devices(node: Node, levels: frozenset[str], devices: Devices) -> tuple[str, dict[str, str]]:
    """`caux/textile/t1/dryer`, or `{level: name, map: {word: path, …}}` → level, word → path."""

    def path(child: Node) -> str:
        return _known(child, devices, "device")

    if node.is_text:
        return "", {"": path(node)}
    fields = node.fields(("level", "map"))
    return _one_of(fields["level"], sorted(levels), "a named level of the topic"), _map(fields["map"], path)


def _map(node: Node, read: Callable[[Node], Value]) -> dict[str, Value]:
    found = {word: read(child) for word, child in node.entries()}
    if not found:
        raise node.error("an empty map", "at least one entry")
    return found


def _source(signal: str, node: Node, reader: _Reader) -> Source:
    where = {Payload.JSON: ("path",), Payload.SPARKPLUG: ("metric",), Payload.NUMBER: ()}[reader.payload]
    extra = ("text", "optional") if reader.payload is Payload.JSON else ()
    fields = node.fields(("unit", *where), ("when", "scale", "offset", "map", *extra))
    for device in reader.paths:
        if signal not in reader.devices[device]:
            known = ", ".join(list(reader.devices[device])[:_SHOWN_MAX])
            raise node.error(f"signal {signal!r}", f"one that {device} has ({known}): correct it or add the signal")
    scale = fields["scale"].number() if "scale" in fields else 1.0
    if scale == 0.0:
        raise fields["scale"].error("0", "a number that keeps the value")
    source = Source(
        signal=signal,
        unit=_unit(fields["unit"], reader.payload),
        path=(fields["metric"].text(),) if "metric" in fields else _path(fields["path"]) if "path" in fields else (),
        when=_when(fields["when"], reader.levels) if "when" in fields else {},
        scale=scale,
        offset=fields["offset"].number() if "offset" in fields else 0.0,
        text=fields["text"].boolean() if "text" in fields else reader.payload is Payload.NUMBER,
        numbers=_map(fields["map"], lambda child: child.number()) if "map" in fields else {},
        optional=fields["optional"].boolean() if "optional" in fields else False,
    )
    if "text" in fields and source.text and source.numbers:
        raise fields["text"].error("text and map", "one of them: a map takes the words that it lists")
    _check_units(fields["unit"], source, reader)
    return source


def _unit(node: Node, payload: Payload) -> str | StatedUnit:
    if node.is_text or payload is not Payload.JSON:
        return _code(node)
    fields = node.fields(("path", "map"))
    return StatedUnit(path=_path(fields["path"]), units=_map(fields["map"], _code))


def _code(node: Node) -> str:
    code = node.text()
    try:
        check_unit(code)
    except ValueError as error:
        raise node.error(f"unit {code!r} ({error})", "a UCUM code such as Cel, bar, kg, W, %") from None
    return code


def _check_units(node: Node, source: Source, reader: _Reader) -> None:
    codes = source.unit.units.values() if isinstance(source.unit, StatedUnit) else (source.unit,)
    for device in reader.paths:
        for code in codes:
            unit = reader.devices[device][source.signal]
            try:
                converter(code, unit)
            except ValueError:
                raise node.error(
                    f"unit {code!r}", f"one that converts to {unit!r}, the unit of {device}.{source.signal}"
                ) from None


def _when(node: Node, levels: frozenset[str]) -> dict[str, str]:
    found = {}
    for name, child in node.entries():
        if name not in levels:
            raise child.error(f"level {name!r}", f"a named level of the topic: {', '.join(sorted(levels)) or 'none'}")
        found[name] = child.text()
    return found


def _check_places(node: Node, sources: tuple[Source, ...]) -> None:
    """Two signals may not be the same number of the same message."""
    for one, other in combinations(sources, 2):
        apart = any(other.when.get(level, word) != word for level, word in one.when.items())
        if one.path == other.path and not apart:
            raise node.error(
                f"{one.signal} and {other.signal} from the same place",
                "a path of its own for each, or `when: {level: word}` that tells them apart",
            )


def _time(node: Node) -> TimeSource:
    fields = node.fields(("path", "format"), ("zone",))
    time_format = TimeFormat(_one_of(fields["format"], [each.value for each in TimeFormat]))
    if time_format is TimeFormat.LOCAL and "zone" not in fields:
        raise node.error("a local time without a zone", "zone: the clock's zone, such as Europe/Paris")
    if time_format is not TimeFormat.LOCAL and "zone" in fields:
        raise fields["zone"].error("a zone", f"none: {time_format} is the same everywhere")
    zone = fields["zone"].text() if "zone" in fields else ""
    if zone and zone not in available_timezones():
        raise fields["zone"].error(fields["zone"].shown, "a zone of the IANA database such as Europe/Paris")
    return TimeSource(path=_path(fields["path"]), format=time_format, zone=zone)


def _path(node: Node) -> Path:
    try:
        return parse_path(node.text())
    except ValueError as error:
        raise node.error(f"{node.shown} ({error})", "a path into the JSON") from None


def _known(node: Node, known: Mapping[str, object], what: str) -> str:
    value = node.text()
    if value not in known:
        shown = ", ".join(list(known)[:_SHOWN_MAX])
        raise node.error(f"{what} {value!r}", f"one of {shown}: correct it or add the {what}")
    return value


def _one_of(node: Node, known: list[str], what: str = "") -> str:
    value = node.text()
    if value not in known:
        raise node.error(node.shown, f"{what + ': ' if what else ''}one of {', '.join(known) or 'none'}")
    return value
