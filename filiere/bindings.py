"""Bindings: what a foreign device publishes, and which signals of the plant model it is. Pure.

A foreign device publishes as it likes: on its own topics, in its own payload, with its own units and times. A binding
says in the plant file which topics those are and where the numbers stand, so that such a device needs no code.
"""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

OWN_TOPICS = "filiere/v1"
"""What speaks the wire format itself needs no binding."""
SPARKPLUG_TOPICS = "spBv1.0"
TOPIC_CHARACTERS_MAX = 512
FILTERS_MAX = 1000
"""Topic filters of one binding: a subscription each."""
PATH_PARTS_MAX = 20

Path = tuple[str | int, ...]
"""Keys and list indexes from the top of a JSON document; () is the document itself."""
Words = frozenset[str] | None
"""What may stand at one level of a topic; None = anything."""

_PART = re.compile(
    r"""(?P<dot>\.)?(?:
        (?P<key>[^.\[\]"\s](?:[^.\[\]"]*[^.\[\]"\s])?)
        |(?P<quoted>"(?:[^"\\]|\\.)*")
        |\[(?P<index>[0-9]{1,6})\]
        |\[(?P<bracketed>"(?:[^"\\]|\\.)*")\]
    )""",
    re.VERBOSE,
)
_PLAIN_KEY = re.compile(r'[^.\[\]"\s]+')
_LEVEL_NAME = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_ANY_LEVELS = ("+", "{_}")


class Payload(StrEnum):
    """How a foreign device writes."""

    NUMBER = "number"
    """The payload is one number, in decimal digits."""
    JSON = "json"
    SPARKPLUG = "sparkplug"
    """Sparkplug B: Protocol Buffers, metrics named in a birth certificate."""


class TimeFormat(StrEnum):
    """How a foreign device writes a time."""

    RFC3339 = "rfc3339"
    """`2026-11-23T09:14:05.250Z`, with an offset."""
    UNIX_S = "unix_s"
    UNIX_MS = "unix_ms"
    LOCAL = "local"
    """`2026-11-23T10:14:05`, a clock on a wall: only with the zone that the wall is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSource:
    """Where a payload says when it was measured."""

    path: Path
    format: TimeFormat
    zone: str = ""
    """Of the IANA database; only with LOCAL, and always with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedUnit:
    """A unit that the payload itself says, in the device's words."""

    path: Path
    units: Mapping[str, str]
    """The device's word → UCUM code. Another word is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the values of one signal come from: number × scale + offset, in `unit`, converted to the signal's unit."""

    signal: str
    """Signal id; every device of the binding has it."""
    unit: str | StatedUnit
    path: Path = ()
    """JSON: where the number stands. Sparkplug: the metric's name alone. () = the payload is the number."""
    when: Mapping[str, str] = field(default_factory=dict)
    """Name of a topic level → the word that must stand there; empty = on every topic of the binding."""
    scale: float = 1.0
    offset: float = 0.0
    text: bool = False
    """The number is written as a text: always with NUMBER, as a JSON text with JSON."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """A word or a truth value of the device → number; when there are any, nothing else is taken."""
    optional: bool = False
    """Absent or null = not measured; else it is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One kind of foreign message."""

    id: str
    topic: str
    """As in the plant file: `tele/{name}/SENSOR`; `+` and `{_}` stand for any one level."""
    level: str
    """The named level that says which device it is; empty = there is one device."""
    devices: Mapping[str, str]
    """Word at that level → device path (`caux/textile/t1/dryer`). Where `level` is empty: "" → the device."""
    payload: Payload
    time: TimeSource | None
    """None = the time of arrival; Sparkplug has times of its own."""
    sources: tuple[Source, ...]

    @property
    def words(self) -> tuple[Words, ...]:
        """What may stand at each level: one word, the words of a map, or anything."""
        return tuple(self._words(level) for level in self.topic.split("/"))

    def _words(self, level: str) -> Words:
        if level in _ANY_LEVELS:
            return None
        name = level_name(level)
        if name is None:
            return frozenset((level,))
        if name == self.level:
            return frozenset(self.devices)
        asked = [source.when.get(name) for source in self.sources]
        return frozenset(word for word in asked if word is not None) if None not in asked else None

    def levels(self, topic: Sequence[str]) -> dict[str, str]:
        """The named levels of a topic that matches: {'name': 'plug-3'}."""
        names = map(level_name, self.topic.split("/"))
        return {name: word for name, word in zip(names, topic, strict=True) if name is not None}

    def mismatch(self, topic: Sequence[str]) -> str | None:
        """Why the levels of a topic are not this binding's; None = they are."""
        words = self.words
        if len(topic) != len(words):
            return f"{self.topic} has {len(words)} levels, the topic {len(topic)}"
        for number, (level, allowed) in enumerate(zip(topic, words, strict=True), 1):
            if allowed is not None and level not in allowed:
                return f"level {number} is {level[:60]!r}; {self.topic} has {_listed(sorted(allowed))} there"
        return None

    def device(self, levels: Mapping[str, str]) -> str:
        """The device path of a topic that matches."""
        return self.devices[levels[self.level] if self.level else ""]

    def filters(self) -> Iterator[tuple[str, str]]:
        """(line path, MQTT topic filter) of all that it takes; no topic is in two of them."""
        for topic in itertools.product(*(["+"] if words is None else sorted(words) for words in self.words)):
            line = self.device(self.levels(topic)).rpartition("/")[0]
            for filter_levels in sparkplug_topics(topic) if self.payload is Payload.SPARKPLUG else (topic,):
                yield line, "/".join(filter_levels)


def filters_by_line(bindings: Sequence[Binding]) -> dict[str, tuple[str, ...]]:
    """Line path → the MQTT topic filters of its foreign devices, each once, in order."""
    found: dict[str, dict[str, None]] = {}
    for binding in bindings:
        for line, topic_filter in binding.filters():
            found.setdefault(line, {})[topic_filter] = None
    return {line: tuple(filters) for line, filters in found.items()}


def sparkplug_topics(topic: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The topic of a node's or a device's data → those of its data, births and deaths, and of its node's."""
    root, group, kind, node, *device = topic
    kinds = (kind, f"{kind[0]}BIRTH", f"{kind[0]}DEATH")
    own = tuple((root, group, each, node, *device) for each in kinds)
    return own + tuple((root, group, each, node) for each in ("NBIRTH", "NDEATH") if device)


def overlap(left: Binding, right: Binding) -> str | None:
    """A topic that both would take, `+` where anything may stand; None = there is none."""
    if len(left.words) != len(right.words):
        return None
    shared: list[str] = []
    for one, other in zip(left.words, right.words, strict=True):
        both = one if other is None else other if one is None else one & other
        if both is not None and not both:
            return None
        shared.append("+" if both is None else min(both))
    return "/".join(shared)


def takes_own_topics(binding: Binding) -> bool:
    """Whether it would take what the wire format takes already."""
    own = OWN_TOPICS.split("/")
    words = binding.words
    return len(words) > len(own) and all(
        allowed is None or level in allowed for level, allowed in zip(own, words, strict=False)
    )


def level_name(level: str) -> str | None:
    """`{name}` → `name`; None for a word, and for `+` and `{_}`, which have no name."""
    found = _LEVEL_NAME.fullmatch(level)
    return found[1] if found and level not in _ANY_LEVELS else None


def check_topic(topic: str) -> None:
    """Raises ValueError when this can be no topic of a binding."""
    levels = topic.split("/")
    if len(topic) > TOPIC_CHARACTERS_MAX or not topic.isprintable():
        raise ValueError(f"expected at most {TOPIC_CHARACTERS_MAX} printable characters")
    if topic.startswith("$"):
        raise ValueError("expected a topic of devices; those that begin with $ are the broker's own")
    for level in levels:
        if level in _ANY_LEVELS or level_name(level) is not None:
            continue
        if "#" in level:
            raise ValueError("expected each level by name, or + for any one: # would take what nobody has described")
        if re.search(r"[+{}]", level):
            raise ValueError("expected + and {name} to stand for a whole level, name of a-z, 0-9 and _")
    names = [name for level in levels if (name := level_name(level)) is not None]
    if len(set(names)) != len(names):
        raise ValueError("expected each {name} once")


def parse_path(text: str) -> Path:
    """`ENERGY.Power`, `params."switch:0".apower`, `sensors[0].t` → Path. Raises ValueError."""
    parts: list[str | int] = []
    at = 0
    while at < len(text):
        found = _PART.match(text, at)
        # a dot stands between two names, and only there
        if found is None or (found["dot"] is not None) is not (
            at > 0 and (found["key"] is not None or found["quoted"] is not None)
        ):
            raise ValueError(
                f'expected names joined by dots, [0] for a list: ENERGY.Power, "a.b"[0]; at {text[at:][:20]!r}'
            )
        quoted = found["quoted"] or found["bracketed"]
        if quoted is not None:
            parts.append(_unquoted(quoted))
        else:
            parts.append(int(found["index"]) if found["index"] is not None else found["key"])
        at = found.end()
    if not 1 <= len(parts) <= PATH_PARTS_MAX:
        raise ValueError(f"expected 1 to {PATH_PARTS_MAX} names")
    return tuple(parts)


def _unquoted(text: str) -> str:
    try:
        key = json.loads(text)
    except ValueError:
        raise ValueError(f"expected a name in quotation marks as JSON writes it, got {text[:40]}") from None
    return str(key)


def path_text(path: Path) -> str:
    """Path → the text that `parse_path` reads."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if part.isprintable() and _PLAIN_KEY.fullmatch(part) else json.dumps(part)
            text += f".{key}" if text else key
    return text


def _listed(words: Sequence[str], most: int = 8) -> str:
    more = "" if len(words) <= most else f" … ({len(words)})"
    return " or ".join(word[:60] for word in words[:most]) + more
