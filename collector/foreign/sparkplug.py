"""Sparkplug B: births, deaths and data of an edge node → metrics by name. The only module that knows Protocol Buffers.

A birth certificate (NBIRTH, DBIRTH) names each metric and gives it a short alias; data (NDATA, DDATA) then carries the
alias alone. So data can be read only with the birth that goes before it: births are kept with the offset of their
message, and a message is read with the births of its own place in the log, at whatever time that is.
"""

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from collector.codec import WRONG_SHAPE
from collector.foreign.births import BIRTHS_MAX, Births
from collector.wire_time import BAD_TIME, TIME_NS_MAX
from filiere.clock import NS_PER_MS
from filiere.errors import MessageRefused, SettingsError
from filiere.message_log import Message

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from google.protobuf.message import DecodeError
except ImportError:
    raise SettingsError(
        "got Sparkplug, and no protobuf to read it; expected the extra: uv sync --extra sparkplug, or pip install"
        " protobuf"
    ) from None

NO_BIRTH, NOT_SPARKPLUG = "no_birth", "not_sparkplug"

OWNERS_MAX = 1000
"""Nodes and devices of which is held in memory when they were born and died."""
METRICS_MAX = 10_000
"""Metrics of one message."""
METRICS_KEPT_MAX = 100_000
"""Metrics of births whose names are held in memory: some 20 MB."""
GOOD_QUALITIES = range(192, 256)
"""Of the property `Quality`, as OPC counts: 0 is bad, 500 stale."""

_OPTIONAL, _REPEATED = 1, 3
_BOOL, _BYTES, _DOUBLE, _FLOAT, _MESSAGE, _STRING, _UINT32, _UINT64 = 8, 12, 1, 2, 11, 9, 13, 4
_SIGNED_BITS = {1: 8, 2: 16, 3: 32, 4: 64}
"""Datatypes Int8 to Int64: Protocol Buffers carry them as unsigned."""
_FIELDS: Mapping[str, Sequence[tuple[str, int, int, str]]] = {
    "PropertyValue": (
        ("is_null", 2, _BOOL, ""),
        ("int_value", 3, _UINT32, "value"),
        ("long_value", 4, _UINT64, "value"),
    ),
    "PropertySet": (("keys[]", 1, _STRING, ""), ("values[]", 2, _MESSAGE, "PropertyValue")),
    "Metric": (
        ("name", 1, _STRING, ""),
        ("alias", 2, _UINT64, ""),
        ("timestamp", 3, _UINT64, ""),
        ("datatype", 4, _UINT32, ""),
        ("is_null", 7, _BOOL, ""),
        ("properties", 9, _MESSAGE, "PropertySet"),
        ("int_value", 10, _UINT32, "value"),
        ("long_value", 11, _UINT64, "value"),
        ("float_value", 12, _FLOAT, "value"),
        ("double_value", 13, _DOUBLE, "value"),
        ("boolean_value", 14, _BOOL, "value"),
        ("string_value", 15, _STRING, "value"),
        ("bytes_value", 16, _BYTES, "value"),
    ),
    "Payload": (("timestamp", 1, _UINT64, ""), ("metrics[]", 2, _MESSAGE, "Metric"), ("seq", 3, _UINT64, "")),
}
"""What is read of Sparkplug's messages: name, number, type, and the message or the choice that it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One value of a node or a device."""

    name: str
    time_ns: int | None
    """UTC ns; None = neither the metric nor its payload says."""
    value: float | str | bool | None
    """None = null: there is no value now."""
    bad: bool
    """Its property `Quality` is there and is not good."""


class _Birth(msgspec.Struct, frozen=True, kw_only=True):
    """A birth, or a death (`names` and `types` are empty)."""

    alive: bool
    session: int | None
    """bdSeq: the same number in a node's birth and in the last will that goes with it."""
    names: dict[int, str] = {}
    """Alias → name."""
    types: dict[str, int] = {}
    """Name → datatype."""


class _Sign(msgspec.Struct, frozen=True):
    """Of a birth or a death what tells when it holds; its names are read when they are needed."""

    offset: int
    alive: bool
    session: int | None


@dataclass(slots=True)
class _History:
    """Births and deaths of one node or device by offset, the BIRTHS_MAX around the last one that was put."""

    kept: list[_Sign] = field(default_factory=list)

    def put(self, sign: _Sign) -> None:
        self.kept = [each for each in self.kept if each.offset != sign.offset]
        insort(self.kept, sign, key=_offset)
        if len(self.kept) > BIRTHS_MAX:
            first, last = self.kept[0], self.kept[-1]
            self.kept.remove(first if sign.offset - first.offset >= last.offset - sign.offset else last)

    def around(self, offset: int) -> tuple[_Sign | None, _Sign | None]:
        """The last one before `offset` and the first one after it."""
        at = bisect_right(self.kept, offset, key=_offset)
        return (self.kept[at - 1] if at else None, self.kept[at] if at < len(self.kept) else None)

    def died(self, after: int, before: int) -> bool:
        """Whether there was a death between two offsets."""
        return any(not each.alive for each in self.kept if after < each.offset < before)


def _offset(sign: _Sign) -> int:
    return sign.offset


class SparkplugDecoder:
    """Reads Sparkplug messages; what it must remember of births it keeps in `births`."""

    def __init__(self, births: Births) -> None:
        self._births = births
        self._histories: dict[str, _History] = {}
        self._read: OrderedDict[tuple[str, int], _Birth] = OrderedDict()
        """(owner, offset) → births whose names are in memory, the one that was needed last at the end."""
        self._held = 0

    def decode(self, levels: Sequence[str], message: Message) -> list[Metric]:
        """Levels of the topic (`spBv1.0/GROUP/KIND/NODE[/DEVICE]`) and its message → metrics; a death has none.

        Raises MessageRefused: not_sparkplug, wrong_shape, bad_time, no_birth.
        """
        _, group, kind, *names = levels
        payload = _parse(message.payload)
        owner = "/".join((group, *names))
        match kind[1:]:
            case "BIRTH":
                birth: _Birth | None = self._put(owner, message.offset, _birth(payload))
            case "DEATH":
                self._bury(owner, message.offset, _Birth(alive=False, session=_session(payload)))
                return []
            case _:
                node = f"{group}/{names[0]}"
                birth = self._birth(node, owner, message.offset) if _needs_birth(payload) else None
        return list(_metrics(payload, birth))

    def _bury(self, owner: str, offset: int, death: _Birth) -> None:
        """Note a death. The last will of an earlier session, which comes after the next birth, is of no account."""
        before, _ = self._history(owner).around(offset)
        sessions = {before.session if before is not None else None, death.session}
        if None in sessions or len(sessions) == 1:
            self._put(owner, offset, death)

    def _birth(self, node: str, owner: str, offset: int) -> _Birth:
        """The birth that a message at `offset` is read with.

        That is the last one before it. Where that is missing, and only a retry can know more, it is the first one after
        it, unless the node died in between.
        """
        nodes = self._history(node)
        node_before, _ = nodes.around(offset)
        before, after = self._history(owner).around(offset)
        born_since = before is not None and (node_before is None or before.offset >= node_before.offset)
        found = None
        if before is not None and before.alive and born_since and (node_before is None or node_before.alive):
            found = self._names(owner, before.offset)
        elif after is not None and after.alive and not nodes.died(offset, after.offset):
            found = self._names(owner, after.offset)
        if found is None:
            raise MessageRefused(
                NO_BIRTH,
                f"{owner!r}: got data by alias, and no birth certificate before it; expected one: ask the node for a"
                " rebirth (Node Control/Rebirth), then `filiere quarantine retry --reason no_birth`",
            )
        return found

    def _put(self, owner: str, offset: int, birth: _Birth) -> _Birth:
        self._history(owner).put(_Sign(offset, birth.alive, birth.session))
        self._births.put_birth(_bytes(owner), offset, msgspec.json.encode(birth))
        self._remember((owner, offset), birth)
        return birth

    def _history(self, owner: str) -> _History:
        found = self._histories.get(owner)
        if found is None:
            if len(self._histories) >= OWNERS_MAX:
                self._histories.clear()  # what `births` keeps is read again
            found = self._histories[owner] = _History()
            for offset, body in self._births.births(_bytes(owner)):
                birth = _birth_decoder.decode(body)
                found.put(_Sign(offset, birth.alive, birth.session))
        return found

    def _names(self, owner: str, offset: int) -> _Birth | None:
        """The whole birth; None = it is kept no more."""
        key = owner, offset
        found = self._read.get(key)
        if found is None:
            bodies = dict(self._births.births(_bytes(owner)))
            if offset not in bodies:
                return None
            found = _birth_decoder.decode(bodies[offset])
        self._remember(key, found)
        return found

    def _remember(self, key: tuple[str, int], birth: _Birth) -> None:
        self._held -= _weight(self._read.pop(key, None))
        self._read[key] = birth
        self._held += _weight(birth)
        while len(self._read) > 1 and self._held > METRICS_KEPT_MAX:
            _, oldest = self._read.popitem(last=False)
            self._held -= _weight(oldest)


def _bytes(owner: str) -> bytes:
    """As the topic has it: a level may be no UTF-8."""
    return owner.encode(errors="surrogateescape")


def _weight(birth: _Birth | None) -> int:
    """What a birth takes of METRICS_KEPT_MAX."""
    return 0 if birth is None else 1 + len(birth.types)


def _payload_class() -> Any:
    """Sparkplug's Payload as a class of protobuf, made from _FIELDS."""
    file = descriptor_pb2.FileDescriptorProto(name="filiere/sparkplug.proto", package="filiere", syntax="proto2")
    for message_name, fields in _FIELDS.items():
        message = file.message_type.add(name=message_name)
        if any(group == "value" for *_, group in fields):
            message.oneof_decl.add(name="value")
        for name, number, kind, group in fields:
            entry = message.field.add(name=name.removesuffix("[]"), number=number, type=kind)
            entry.label = _REPEATED if name.endswith("[]") else _OPTIONAL
            if group == "value":
                entry.oneof_index = 0
            elif group:
                entry.type_name = f".filiere.{group}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("filiere.Payload"))


PAYLOAD = _payload_class()
_birth_decoder = msgspec.json.Decoder(_Birth)


def _parse(body: bytes) -> Any:
    try:
        payload = PAYLOAD.FromString(body)
    except (DecodeError, ValueError) as error:
        raise MessageRefused(NOT_SPARKPLUG, f"got bytes that are not a Sparkplug B payload ({error})") from None
    if not payload.metrics and not payload.HasField("timestamp"):
        raise MessageRefused(
            NOT_SPARKPLUG, "got a payload without a timestamp or a metric; expected Sparkplug B, not compressed"
        )
    if len(payload.metrics) > METRICS_MAX:
        raise MessageRefused(WRONG_SHAPE, f"got {len(payload.metrics)} metrics; expected at most {METRICS_MAX}")
    return payload


def _birth(payload: Any) -> _Birth:
    return _Birth(
        alive=True,
        session=_session(payload),
        names={metric.alias: _name(metric) for metric in payload.metrics if metric.HasField("alias")},
        types={_name(metric): metric.datatype for metric in payload.metrics},
    )


def _name(metric: Any) -> str:
    """Its name; protobuf gives bytes where a name is not UTF-8."""
    name: str | bytes = metric.name
    return name if isinstance(name, str) else name.decode(errors="backslashreplace")


def _session(payload: Any) -> int | None:
    for metric in payload.metrics:
        if metric.name == "bdSeq":
            return int(metric.long_value or metric.int_value)
    return None


def _needs_birth(payload: Any) -> bool:
    """Whether the data cannot be read alone: an alias for a name, or an integer whose sign only its datatype tells."""
    return any(
        not metric.HasField("name")
        or (not metric.HasField("datatype") and metric.WhichOneof("value") in ("int_value", "long_value"))
        for metric in payload.metrics
    )


def _metrics(payload: Any, birth: _Birth | None) -> Iterator[Metric]:
    for metric in payload.metrics:
        name = _name(metric)
        if not metric.HasField("name"):
            known = None if birth is None else birth.names.get(metric.alias)
            if known is None:
                raise MessageRefused(
                    NO_BIRTH, f"got alias {metric.alias}, which the birth certificate does not name; expected a rebirth"
                )
            name = known
        datatype = metric.datatype or (0 if birth is None else birth.types.get(name, 0))
        yield Metric(name=name, time_ns=_time_ns(metric, payload), value=_value(metric, datatype), bad=_bad(metric))


def _time_ns(metric: Any, payload: Any) -> int | None:
    source = metric if metric.HasField("timestamp") else payload
    if not source.HasField("timestamp"):
        return None
    time_ns = int(source.timestamp) * NS_PER_MS
    if time_ns > TIME_NS_MAX:
        raise MessageRefused(
            BAD_TIME, f"got timestamp {source.timestamp}; expected milliseconds since 1970, up to the year 2116"
        )
    return time_ns


def _value(metric: Any, datatype: int) -> float | str | bool | None:
    if metric.is_null:
        return None
    choice = metric.WhichOneof("value")
    if choice in (None, "bytes_value"):
        return f"(datatype {datatype})"  # a data set, a template, a file: no number
    value: float | str | bool = getattr(metric, choice)
    bits = _SIGNED_BITS.get(datatype)
    if isinstance(value, bool) or not isinstance(value, int) or bits is None:
        return value
    unsigned = value % (1 << bits)
    return unsigned - (1 << bits) if unsigned >> (bits - 1) else unsigned


def _bad(metric: Any) -> bool:
    for key, value in zip(metric.properties.keys, metric.properties.values, strict=False):
        if key == "Quality" and not value.is_null:
            return (value.int_value or value.long_value) not in GOOD_QUALITIES
    return False
