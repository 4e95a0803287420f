"""What was heard on a broker → a binding to start from: where the numbers stand, what could be the time, who differs.

A proposal is a draft that a person completes: which device it is, nobody but they can know, and units are guessed from
names. Pure.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from collector.foreign.payload import read_json, read_text
from filiere.bindings import PATH_PARTS_MAX, SPARKPLUG_TOPICS, Path, Payload, TimeFormat, path_text
from filiere.clock import NS_PER_S, to_ns
from filiere.errors import MessageRefused
from filiere.message_log import Message

if TYPE_CHECKING:
    from collector.foreign.sparkplug import SparkplugDecoder

PATHS_MAX = 60
"""Numbers of one payload that are proposed."""
TIME_NEAR_S = 10.0
"""A time that is always this near to the arrival is proposed; others are mentioned."""
TIME_FAR_S = 2 * 86_400
"""What is further from the arrival is not its time."""
UNFILLED = "?"
"""Stands for the device: `filiere plant check` refuses it and lists those of the plant."""

WHOLE_MINUTE_S = 60
"""A number of seconds that always ends on a minute begins a period, and is no time of a measurement."""

_UNITS = {
    "humidity": "%", "battery": "%", "percent": "%", "rh": "%",
    "temperature": "Cel", "temp": "Cel", "dewpoint": "Cel", "dew_point": "Cel", "t_c": "Cel", "t_f": "[degF]",
    "voltage": "V", "current": "A", "power": "W", "apower": "W", "freq": "Hz", "frequency": "Hz",
    "pressure": "hPa", "energy": "kW.h", "weight": "kg", "poids": "kg",
}  # fmt: skip
"""Last name of a path → the unit that it most often has."""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./:-]*")
_NOT_TEXT = re.compile(r"(?i)(true|false|yes|no|on|off|null|~|.*:)")
_NUMBER_TEXT = re.compile(r"\s*[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\s*")
_TIME_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One topic, with some of its messages."""

    topic: str
    count: int
    """Messages that came."""
    kept: Sequence[Message]
    """Some of them, in the order of arrival."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number that messages carry."""

    path: Path
    text: bool
    low: float
    high: float
    always: bool
    """It was in every message that was kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeGuess:
    """What could be the time of a message."""

    path: Path
    format: TimeFormat
    lag_s: float
    """The most that it was away from the arrival."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One binding to start from."""

    topics: tuple[str, ...]
    """Topics that it is for."""
    payload: Payload
    pattern: str
    words: tuple[str, ...]
    """What stood at the level `{name}`; empty where the pattern has none."""
    numbers: tuple[Number, ...]
    times: tuple[TimeGuess, ...]
    """The nearest to the arrival first."""
    period_s: float | None
    """Between two messages of a topic; None = there were not enough."""


Shape = tuple[Payload, tuple[Path, ...]]


def propose(heard: Sequence[Heard], zone: str) -> tuple[Proposal, ...]:
    """Topics whose messages look alike → one proposal for those that differ in one level. `zone` is the plant's.

    Topics without a number are left out, and Sparkplug's, which have `sparkplug_proposals`.
    """
    by_shape: dict[Shape, list[Heard]] = {}
    for each in heard:
        shape = None if each.topic.startswith(f"{SPARKPLUG_TOPICS}/") else _shape(each)
        if shape is not None:
            by_shape.setdefault(shape, []).append(each)
    return tuple(
        _proposal(shape[0], group, level, zone) for shape, alike in by_shape.items() for level, group in _groups(alike)
    )


def sparkplug_proposals(heard: Sequence[Heard], decoder: "SparkplugDecoder") -> tuple[Proposal, ...]:
    """One proposal for each node or device whose birth certificate was heard."""
    proposals = []
    for each in heard:
        levels = each.topic.split("/")
        if levels[0] != SPARKPLUG_TOPICS or len(levels) not in (4, 5) or levels[2][1:] != "BIRTH":
            continue
        values: dict[Path, float] = {}
        for message in each.kept:
            with suppress(MessageRefused):
                for metric in decoder.decode(levels, message):
                    if isinstance(metric.value, int | float) and not isinstance(metric.value, bool):
                        values[(metric.name,)] = metric.value
        values.pop(("bdSeq",), None)
        if values:
            proposals.append(
                Proposal(
                    topics=(each.topic,),
                    payload=Payload.SPARKPLUG,
                    pattern="/".join([*levels[:2], f"{levels[2][0]}DATA", *levels[3:]]),
                    words=(),
                    numbers=tuple(
                        Number(path=path, text=False, low=value, high=value, always=True)
                        for path, value in list(values.items())[:PATHS_MAX]
                    ),
                    times=(),
                    period_s=None,
                )
            )
    return tuple(proposals)


def _groups(alike: Sequence[Heard]) -> Iterator[tuple[int | None, list[Heard]]]:
    """Topics of one shape, put together where they differ in one level alone: the level, and its topics."""
    left = {each.topic: each for each in alike}
    while left:
        clusters: dict[tuple[int, tuple[str, ...]], list[str]] = {}
        for topic in left:
            levels = topic.split("/")
            for place in range(len(levels)):
                rest = (*levels[:place], "+", *levels[place + 1 :])
                clusters.setdefault((place, rest), []).append(topic)
        (place, _), topics = max(clusters.items(), key=lambda item: len(item[1]))
        yield (place if len(topics) > 1 else None), [left.pop(topic) for topic in topics]


def _shape(heard: Heard) -> Shape | None:
    """How a topic's messages are written, and where their numbers stand; None = there are none."""
    for payload in (Payload.NUMBER, Payload.JSON):
        documents = list(_documents(heard, payload))
        if documents and len(documents) == len(heard.kept):
            paths = tuple(sorted({_key(path) for _, document in documents for path, _ in _numbers(document)}))
            return (payload, paths) if paths else None
    return None


def _key(path: Path) -> Path:
    return tuple(map(str, path))


def _documents(heard: Heard, payload: Payload) -> Iterator[tuple[Message, object]]:
    """The kept messages that are written in this way."""
    for message in heard.kept:
        try:
            if payload is Payload.NUMBER:
                text = read_text(message.payload)
                if _NUMBER_TEXT.fullmatch(text):
                    yield message, float(text)
            else:
                yield message, read_json(message.payload)
        except MessageRefused:
            continue


def _leaves(document: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    if len(path) >= PATH_PARTS_MAX:
        return
    if isinstance(document, dict):
        for name, child in document.items():
            yield from _leaves(child, (*path, name))
    elif isinstance(document, list):
        for index, child in enumerate(document):
            yield from _leaves(child, (*path, index))
    else:
        yield path, document


def _numbers(document: object) -> Iterator[tuple[Path, object]]:
    """Numbers, and texts that are numbers."""
    for path, value in _leaves(document):
        if (isinstance(value, int | float) and not isinstance(value, bool)) or (
            path and isinstance(value, str) and _NUMBER_TEXT.fullmatch(value)
        ):
            yield path, value


def _proposal(payload: Payload, group: Sequence[Heard], level: int | None, zone: str) -> Proposal:
    documents = [pair for heard in group for pair in _documents(heard, payload)]
    times = sorted(_times(documents, zone), key=lambda guess: guess.lag_s)
    found: dict[Path, list[object]] = {}
    for _, document in documents:
        for path, value in _numbers(document):
            found.setdefault(path, []).append(value)
    numbers = [
        Number(
            path=path,
            text=all(isinstance(value, str) for value in values),
            low=min(map(float, values)),  # type: ignore[arg-type]  # numbers, and texts that are numbers
            high=max(map(float, values)),  # type: ignore[arg-type]  # same
            always=len(values) == len(documents),
        )
        for path, values in found.items()
        if path not in {guess.path for guess in times}
    ]
    levels = group[0].topic.split("/")
    words = () if level is None else tuple(sorted(heard.topic.split("/")[level] for heard in group))
    pattern = [*levels[:level], "{name}", *levels[level + 1 :]] if level is not None else levels
    return Proposal(
        topics=tuple(sorted(heard.topic for heard in group)),
        payload=payload,
        pattern="/".join(pattern),
        words=words,
        numbers=tuple(numbers[:PATHS_MAX]),
        times=tuple(times),
        period_s=_period_s(group),
    )


def _period_s(group: Sequence[Heard]) -> float | None:
    steps = [
        (after.record_time_ns - before.record_time_ns) / NS_PER_S
        for heard in group
        for before, after in zip(heard.kept, heard.kept[1:], strict=False)
    ]
    return median(steps) if steps else None


def _times(documents: Sequence[tuple[Message, object]], zone: str) -> Iterator[TimeGuess]:
    """Places whose value could be the time in all messages that have it."""
    lags: dict[tuple[Path, TimeFormat], list[float]] = {}
    ruled_out: set[Path] = set()
    for message, document in documents:
        for path, value in _leaves(document):
            guess = _time(value, message.record_time_ns, zone)
            if guess is None:
                ruled_out.add(path)
            else:
                lags.setdefault((path, guess[0]), []).append(guess[1])
    for (path, time_format), seen in lags.items():
        if path and path not in ruled_out:
            yield TimeGuess(path=path, format=time_format, lag_s=max(seen))


def _time(value: object, record_time_ns: int, zone: str) -> tuple[TimeFormat, float] | None:
    """Format and distance from the arrival in s, where a value can be a time."""
    if isinstance(value, str) and _TIME_TEXT.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value)
            local = moment.tzinfo is None
            time_ns = to_ns(moment.replace(tzinfo=ZoneInfo(zone)) if local else moment)
        except (ValueError, OverflowError):
            return None
        lag_s = abs(record_time_ns - time_ns) / NS_PER_S
        return (TimeFormat.LOCAL if local else TimeFormat.RFC3339, lag_s) if lag_s <= TIME_FAR_S else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        for time_format, per_s in ((TimeFormat.UNIX_S, 1), (TimeFormat.UNIX_MS, 1000)):
            lag_s = abs(record_time_ns / NS_PER_S - value / per_s)
            if lag_s <= TIME_FAR_S:
                return time_format, lag_s + (WHOLE_MINUTE_S if value % (WHOLE_MINUTE_S * per_s) == 0 else 0)
    return None


def proposal_yaml(proposal: Proposal, number: int, zone: str) -> str:
    """The proposal as an item of `bindings`; what a person must look at stands behind a #."""
    lines = [f"  - id: learned_{number}", f"    topic: {_scalar(proposal.pattern)}"]
    if proposal.words:
        words = ", ".join(f"{_scalar(word)}: {_scalar(UNFILLED)}" for word in proposal.words)
        lines.append(f"    device: {{level: name, map: {{{words}}}}}  # site/workshop/line/device")
    else:
        lines.append(f"    device: {_scalar(UNFILLED)}  # site/workshop/line/device")
    lines.append(f"    payload: {proposal.payload}")
    lines += _time_lines(proposal, zone)
    lines.append("    signals:")
    for signal, found in _named(proposal.numbers).items():
        unit = guessed_unit(found.path)
        fields = [f"path: {_scalar(path_text(found.path))}"] if found.path else []
        if proposal.payload is Payload.SPARKPLUG:
            fields = [f"metric: {_scalar(str(found.path[0]))}"]
        fields.append(f"unit: {_scalar(unit or '1')}")
        fields += ["text: true"] * (found.text and bool(found.path)) + ["optional: true"] * (not found.always)
        seen = f"{found.low:g}" if found.low == found.high else f"{found.low:g} … {found.high:g}"
        lines.append(f"      {signal}: {{{', '.join(fields)}}}  # {seen}{'' if unit else '; unit?'}")
    return "\n".join(lines) + "\n"


def _time_lines(proposal: Proposal, zone: str) -> Iterator[str]:
    for place, guess in enumerate(proposal.times):
        zoned = f", zone: {zone}" if guess.format is TimeFormat.LOCAL else ""
        line = f"time: {{path: {_scalar(path_text(guess.path))}, format: {guess.format}{zoned}}}"
        use = place == 0 and guess.lag_s <= TIME_NEAR_S
        yield f"    {'' if use else '# '}{line}  # {guess.lag_s:.1f} s{'; zone?' if zoned else ''}"


def guessed_unit(path: Path) -> str | None:
    """A unit that the last name suggests; None = it suggests none."""
    name = _identifier(path[-1]) if path else ""
    return _UNITS.get(name) or _UNITS.get(name.rpartition("_")[2])


def _named(numbers: Sequence[Number]) -> dict[str, Number]:
    """A signal id of its own for each number: the last names of its path, as few as it takes."""
    named: dict[str, Number] = {}
    for number in numbers:
        names = [_identifier(part) for part in number.path] or ["value"]
        least = 2 if number.path and isinstance(number.path[-1], int) else 1  # an index alone is no name
        ids = ("_".join(names[-count:]) for count in range(least, max(least, len(names)) + 1))
        found = next((each for each in ids if each not in named), f"{'_'.join(names)}_{len(named)}")
        named[found[:64]] = number
    return named


def _identifier(part: str | int) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(part)).lower()
    found = re.sub(r"[^a-z0-9]+", "_", words).strip("_") or "value"
    return f"value_{found}" if found in ("time", "q") or found.startswith("q_") else found


def _scalar(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and not _NOT_TEXT.fullmatch(text)
    if plain:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else f"\\U{ord(sign):08X}" for sign in quoted)
