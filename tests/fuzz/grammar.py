"""Messages made by rules from a seed: good ones, poison, and ones that are nearly good.

poison(seed, n)   # (topic, payload) pairs, each of which the collector must quarantine
"""

import json
from dataclasses import dataclass
from random import Random

from collector.codec import EVENTS, READINGS, STATE, peek_identity, topic_text
from filiere.clock import to_text
from filiere.events import event_json
from filiere.plant_file import load_plant
from tests.chain_events import NOON_NS, received, started

NAMES = ("boot", "seq", "t", "v")
START_MS = NOON_NS // 10**6 - 400 * 24 * 3600 * 1000
TOPIC_REASONS = frozenset({"wrong_topic", "unbound_topic"})
INJECTIONS = (
    "melt_temp value=1",
    "a,b=c d=1 1",
    "x\nreading,site=evil,line=evil evil=1 1",
    'x\r\nrun,line=t1 state="running"',
    "a\\",
    'a"b',
    "a\\,b\\ c\\=d",
    "time",
    "_measurement",
    "_field",
    "q_melt_temp",
    "site",
    "+",
    "#",
    "a/b",
    "../../etc/passwd",
    "$SYS/broker",
    "'; DROP TABLE reading; --",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "%s%n%x",
    "<script>alert(1)</script>",
    "melt_temp ",
    " melt_temp",
    "MELT_TEMP",
    "melt_temp\u0000",
    "\u0000",
    "melt\u200b_temp",
    "melt_t\u0435mp",
    "\u202emelt_temp",
    "m\u0301elt_temp",
    "\uff4delt_temp",
    "🧵" * 20,
    "",
    "a" * 300,
    "__proto__",
    "constructor",
    "NaN",
    "null",
)
"""Line protocol, SQL, templates, paths, wildcards, control characters, and letters that look like others."""
NOT_NUMBERS = ('"1"', "true", "false", "{}", "[[1]]", '{"value":1}', '"NaN"', '""', '"1e5"')
NOT_FINITE = ("NaN", "Infinity", "-Infinity", "1e999", "-1e400", "9" * 400, "1" + "0" * 309 + ".5")
NOT_JSON_NUMBERS = ("+1", "01", ".5", "1.", "0x1F", "1_000", "1,5", "--1", "1e", "True", "nan", "undefined", "٣")
BAD_TIMES = (
    *('""', '"yesterday"', '"2026-02-30T10:00:00Z"', '"2026-01-01"', '"2026-01-01T25:00:00Z"', '"1795425247250"'),
    *('"2026-01-01T00:00:00+99:99"', '"2026-01-01T00:00:00Z "', '"2026-W01-1T00:00:00Z"', '"0000-00-00T00:00:00Z"'),
    *('"20260101T000000Z"', '"2026-01-01T00:00:60Z"', '"٢026-01-01T00:00:00Z"', "9" * 30, "-" + "9" * 19, "1e300"),
    *("1.5", "null", "true", "{}", '"2026-01-01T00:00:00Z\\u0000"', '"2026-01-01T00:00:00.Z"', str(2**63)),
)
LOCAL_TIMES = ('"2026-01-01T00:00:00"', '"2026-01-01T00:00:00.250"', '"2026-10-25T02:30:00"')
WRONG_CLOCKS = (
    *("0", "-1", "-4000000000000", "1577836799999", "1577836800000", "1893456000000", "4600000000000"),
    *('"1970-01-01T00:00:00Z"', '"2019-12-31T23:59:59.999999Z"', '"2100-06-01T12:00:00+14:00"'),
)
"""Times that a message may have and a clock may not; and the first one that it may."""
BAD_BOOTS = (
    '""',
    '"' + "b" * 33 + '"',
    "7",
    "null",
    "[]",
    "true",
    '"a b"',
    '"a,b"',
    '"\\n"',
    '"b\\u0000"',
    '"é"',
    '"../b"',
)
BAD_SEQS = ("-1", "1.5", '"1"', "null", "true", "[1]", "{}", str(2**53 + 1), str(2**64), "-9223372036854775809", "1e30")
BAD_BYTES = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\x80", b"\xe2\x82", b"\xfe\xff")
LIKE_TOPICS = (
    *("filiere/v1/caux/textile/t1/Extruder/readings", "filiere/v1/caux/textile/t1/extruder /readings"),
    *("filiere/v1/caux/textile/t1/extrud\u0435r/readings", "filiere/v1/caux/textile/t1/a,b=c/readings"),
    *("filiere/v1/caux/textile/t1//readings", "filiere/v1/caux/textile/" + "a" * 65 + "/extruder/readings"),
    *("filiere/v1/caux/te xtile/t1/extruder/events", "filiere/v1/caux/textile/t1/\u202eextruder/state"),
    *("filiere/v1/../textile/t1/extruder/readings", "filiere/v1/caux/textile/t1/ext\\ruder/readings"),
)
"""Shaped as a subscription of the collector expects, so that a broker passes them on."""
OTHER_TOPICS = (
    *(b"", b"/", b"filiere", b"filiere/v1", b"filiere/v2/caux/textile/t1/extruder/readings", b"$SYS/broker/uptime"),
    *(
        b"filiere/v1/caux/textile/+/extruder/readings",
        b"filiere/v1/#",
        b"filiere/v1/caux/textile/t1/extruder/readings\n",
    ),
    *(b"filiere/v1/caux/textile/t1/extruder/receipt", b"filiere/v1/caux/textile/t1/extruder/readings/"),
    *(b"filiere/v1/caux/textile/t1/ext\x00ruder/readings", b"filiere/v1/caux/textile/t1/\xff\xfe/readings"),
    *(b"filiere/v1/caux/textile/t1/extruder/READINGS", b"\nfiliere/v1/caux/textile/t1/extruder/readings"),
    *(b"filiere/v1/caux/textile/t1/extruder", b"filiere\\v1\\caux", b"a" * 65535, b"filiere/v1/" + b"x/" * 20_000),
)
"""No broker lets most of these through; the collector does not rely on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One message, and what must come of it."""

    rule: str
    """The rule that made it."""
    topic: bytes
    payload: bytes
    reasons: frozenset[str] = frozenset()
    """It must be quarantined for one of these; empty where the reference decides, or it is good."""


def poison(seed, n, *, plant=None, any_topic=False):
    """`n` pairs (topic, payload), each to be quarantined whole; with `any_topic`, also what no broker would pass on.

    Devices, signals and materials are those of `plant` (the packaged one by default). No number is used twice and none
    is left out, so the accounts of the devices close over them.
    """
    for case in Grammar(seed, plant=plant, any_topic=any_topic).poisons(n):
        yield case.topic, case.payload


class Grammar:
    """Rules over the devices of a plant. The same seed makes the same messages."""

    def __init__(self, seed, *, plant=None, any_topic=True):
        self.random = Random(seed)
        self.plant = plant or load_plant("caux")
        self.devices = {
            f"{line.path}/{unit.id}": {signal.id: signal for signal in unit.signals}
            for line, unit in self.plant.devices()
            if unit.signals
        }
        self.topics = {path: topic_text(*path.rsplit("/", 1), READINGS).encode() for path in self.devices}
        self.terminals = {line.path: topic_text(line.path, "terminal", EVENTS).encode() for line in self.plant.lines}
        self._next = {}
        self._made = 0
        self._any_topic = any_topic
        self._rules = [getattr(self, name) for name in sorted(dir(type(self))) if name.startswith("rule_")]

    def poisons(self, n):
        """`n` cases that must be refused."""
        for _ in range(n):
            rule = self.random.choice(self._rules)
            topic, payload, reasons = rule()
            case = Case(rule=rule.__name__, topic=topic, payload=payload, reasons=frozenset(reasons.split("|")))
            self._count(case)
            yield case

    def good(self):
        """(path of a device, payload): what a good device sends."""
        path = self.random.choice(list(self.devices))
        rows = 1 if self.random.random() < 0.6 else self.random.randint(1, 12)
        payload = self._object(self._fields(path, boot="good", rows=rows, columns=rows > 1 or None))
        self._next[path, "good"] = self._seq(path, "good") + rows
        return path, payload

    def near(self):
        """(path, payload): a good message after a few small accidents behind its number. The reference judges it."""
        path = self.random.choice(list(self.devices))
        fields = self._fields(path, boot="near", rows=self.random.randint(1, 3))
        head = self._object(fields[:2])[:-1] + b","
        tail = self._object(fields[2:])[1:]
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 3))):
            tail = self._accident(tail)
        payload = head + tail
        self._count(Case(rule="near", topic=self.topics[path], payload=payload))
        return path, payload

    def _count(self, case):
        """The next message takes the numbers that follow, if this one's can be read."""
        kind = case.topic.rpartition(b"/")[2].decode(errors="replace")
        identity = peek_identity(case.payload, kind) if kind in (READINGS, EVENTS) else None
        if identity is not None:
            path = case.topic.decode(errors="replace").removeprefix("filiere/v1/").rpartition("/")[0]
            if identity.seq == self._seq(path, identity.boot):
                self._next[path, identity.boot] = identity.seq + identity.rows

    def _seq(self, path, boot):
        return self._next.get((path, boot), 0)

    # parts of a message, as JSON texts

    def _fields(self, path, *, boot="bad", rows=1, columns=None):
        """[(name, JSON text)] of a good message."""
        random = self.random
        columns = (rows > 1 or random.random() < 0.2) if columns is None else columns
        names = random.sample(list(self.devices[path]), random.randint(1, len(self.devices[path])))
        values = {name: [self._value(self.devices[path][name]) for _ in range(rows)] for name in names}
        if rows > 1 and len(names) > 1:
            values[names[1]][random.randrange(rows)] = "null"
        times = [self._time() for _ in range(rows)]
        as_json = (lambda texts: f"[{','.join(texts)}]") if columns else (lambda texts: texts[0])
        fields = [
            ("boot", f'"{boot}"'),
            ("seq", str(self._seq(path, boot))),
            ("t", as_json(times)),
            ("v", self._text({name: as_json(texts) for name, texts in values.items()})),
        ]
        if random.random() < 0.1:
            fields.append(("u", json.dumps({names[0]: self.devices[path][names[0]].unit})))
        return fields

    def _value(self, signal):
        random = self.random
        if random.random() < 0.02:
            return random.choice(
                ("1e308", "-1.7976931348623157e308", "5e-324", "-0.0", "1E+2", "0", "123456789012345678901")
            )
        if random.random() < 0.05:
            return repr(signal.range_high + random.uniform(1, 1000))
        return repr(round(random.uniform(signal.range_low, signal.range_high), random.randint(0, 12)))

    def _time(self):
        self._made += 1
        if self.random.random() < 0.02:
            return self.random.choice(WRONG_CLOCKS)
        time_ms = START_MS + self._made * 7
        if self.random.random() < 0.7:
            return str(time_ms)
        return f'"{to_text(time_ms * 10**6)}"'

    def _text(self, values):
        return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in values.items()) + "}"

    def _object(self, fields):
        return ("{" + ",".join(f'"{name}":{text}' for name, text in fields) + "}").encode(errors="surrogatepass")

    def _base(self, **options):
        path = self.random.choice(list(self.devices))
        return path, self.topics[path], self._fields(path, **options)

    def _with(self, fields, **changed):
        """The fields with others in their place; units go with the values that they were of."""
        kept = [name for name, _ in fields if name != "u" or "v" not in changed]
        return self._object([*((name, changed.pop(name, dict(fields)[name])) for name in kept), *changed.items()])

    def _payload(self):
        _, topic, fields = self._base(rows=self.random.randint(1, 3))
        return topic, self._object(fields)

    def _accident(self, data):
        random = self.random
        at = random.randrange(len(data) + 1)
        kind = random.randrange(7)
        if kind == 0:
            return data[:at] + bytes([random.randrange(256)]) + data[at:]
        if kind == 1:
            return data[:at] + data[at + random.randint(1, 4) :]
        if kind == 2:
            return (
                data[:at]
                + random.choice((b" ", b"\n", b"\t", b"null", b"0", b"-", b"[", b"]", b'"', b",", b"e5"))
                + data[at:]
            )
        if kind == 3:
            return data[:at] + data[max(0, at - random.randint(1, 20)) :]
        if kind == 4 and data:
            at %= len(data)
            return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
        if kind == 5:
            return data.replace(b"0", random.choice((b"1", b"00", b"", b"-0", b"0.0")), 1)
        return data.replace(b":", random.choice((b" : ", b":-", b":null,", b"::")), 1)

    # one rule a kind of poison: (topic, payload, the reasons that name it)

    def rule_cut_off(self):
        topic, payload = self._payload()
        return topic, payload[: self.random.randrange(len(payload))], "not_json"

    def rule_more_behind(self):
        topic, payload = self._payload()
        return topic, payload + self.random.choice((b"x", b"{}", b"\x00", payload, b",", b"\x1a", b"null")), "not_json"

    def rule_not_utf8(self):
        topic, payload = self._payload()
        at = self.random.randrange(len(payload) + 1)
        return topic, payload[:at] + self.random.choice(BAD_BYTES) + payload[at:], "not_json"

    def rule_control_character(self):
        topic, payload = self._payload()
        at = payload.index(b'"', self.random.randrange(len(payload) // 2)) + 1
        return topic, payload[:at] + bytes([self.random.choice((0, 1, 8, 11, 27, 31))]) + payload[at:], "not_json"

    def rule_another_encoding(self):
        topic, payload = self._payload()
        text = payload.decode()
        return (
            topic,
            self.random.choice((text.encode("utf-16"), text.encode("utf-32"), b"\xef\xbb\xbf" + payload)),
            "not_json",
        )

    def rule_no_json(self):
        topic, _ = self._payload()
        line = f"reading,site=caux,line=t1 melt_temp={self.random.random()} {self.random.randrange(10**18)}"
        return (
            topic,
            self.random.choice(
                (
                    b"",
                    b" ",
                    b"\n",
                    line.encode(),
                    self.random.randbytes(60) + b"\xff",
                    b"\x08\x01\x12\x04",
                    b"{'boot':'b'}",
                    b"21.5;",
                )
            ),
            "not_json",
        )

    def rule_dialect(self):
        _, topic, fields = self._base()
        payload = self._object(fields)
        text = self.random.choice(
            (
                payload.replace(b"}", b",}", 1),
                payload.replace(b":", b"=", 1),
                b"// x\n" + payload,
                payload.replace(b",", b",/* x */", 1),
                payload.replace(b'"', b"'"),
                payload.replace(b'"boot"', b"boot"),
                payload.replace(b",", b";", 1),
            )
        )
        return topic, text, "not_json"

    def rule_number_of_another_language(self):
        path, topic, fields = self._base()
        name = next(iter(self.devices[path]))
        return topic, self._with(fields, v=self._text({name: self.random.choice(NOT_JSON_NUMBERS)})), "not_json"

    def rule_no_object(self):
        topic, _ = self._payload()
        return (
            topic,
            self.random.choice((b"[]", b"null", b"true", b"1", b'"x"', b"{}", b"[{}]", b"-1.5e3")),
            "wrong_shape",
        )

    def rule_a_name_too_few(self):
        _, topic, fields = self._base()
        missing = self.random.choice(NAMES)
        return topic, self._object([field for field in fields if field[0] != missing]), "wrong_shape"

    def rule_a_name_too_many(self):
        _, topic, fields = self._base()
        name = json.dumps(self.random.choice(INJECTIONS))
        value = self.random.choice(("1", "null", '"x"', "{}", json.dumps(self.random.choice(INJECTIONS))))
        return topic, self._object(fields)[:-1] + f",{name}:{value}}}".encode(), "wrong_shape"

    def rule_a_name_twice(self):
        path, topic, fields = self._base()
        which = self.random.randrange(4)
        if which == 0:
            return topic, self._object([*fields, self.random.choice(fields)]), "wrong_shape"
        if which == 1:
            return topic, self._object([*fields, ("se\\u0071", "999999")]), "wrong_shape"
        name = next(iter(self.devices[path]))
        twice = f'{{"{name}":1,"{name}":2}}'
        if which == 2:
            return topic, self._with(fields, v=twice), "wrong_shape"
        unit = self.devices[path][name].unit
        units = f'{{"{name}":"{unit}","{name}":"{unit}"}}'
        return topic, self._with(fields, t="0", v=f'{{"{name}":1}}', u=units), "wrong_shape"

    def rule_boot(self):
        _, topic, fields = self._base()
        boot = self.random.choice((*BAD_BOOTS, *(json.dumps(f"b{text}b ") for text in INJECTIONS)))
        return topic, self._with(fields, boot=boot), "wrong_shape"

    def rule_seq(self):
        _, topic, fields = self._base()
        return topic, self._with(fields, seq=self.random.choice(BAD_SEQS)), "wrong_shape"

    def rule_seq_at_its_end(self):
        _, topic, fields = self._base(rows=2)
        return topic, self._with(fields, seq=str(2**53)), "wrong_shape"

    def rule_no_number(self):
        path, topic, fields = self._base()
        name = next(iter(self.devices[path]))
        return topic, self._with(fields, t="0", v=self._text({name: self.random.choice(NOT_NUMBERS)})), "wrong_shape"

    def rule_not_finite(self):
        path, topic, fields = self._base()
        name = next(iter(self.devices[path]))
        return topic, self._with(fields, t="0", v=self._text({name: self.random.choice(NOT_FINITE)})), "not_finite"

    def rule_not_finite_in_a_column(self):
        path, topic, fields = self._base()
        name = next(iter(self.devices[path]))
        column = f"[1,{self.random.choice(NOT_FINITE)},2]"
        return topic, self._with(fields, t="[0,1,2]", v=self._text({name: column})), "not_finite"

    def rule_local_time(self):
        path, topic, fields = self._base()
        return topic, self._with(fields, t=self.random.choice(LOCAL_TIMES), v=self._one(path)), "local_time"

    def rule_bad_time(self):
        path, topic, fields = self._base()
        time = self.random.choice(BAD_TIMES)
        return topic, self._with(fields, t=time, v=self._one(path)), "bad_time|wrong_shape"

    def rule_bad_time_in_a_column(self):
        path, topic, fields = self._base()
        name = next(iter(self.devices[path]))
        time = self.random.choice((*BAD_TIMES, *LOCAL_TIMES))
        values = self._with(fields, t=f"[0,{time}]", v=self._text({name: "[1,2]"}))
        return topic, values, "bad_time|wrong_shape|local_time"

    def rule_columns_of_unequal_length(self):
        path, topic, fields = self._base()
        name = next(iter(self.devices[path]))
        t, v = self.random.choice(
            (
                ("[0,1]", "[1]"),
                ("[0]", "[1,2]"),
                ("[0,1]", "1"),
                ("0", "[1]"),
                ("[]", "[]"),
                ("[0,1]", "[]"),
                ("[0]", "1"),
            )
        )
        return topic, self._with(fields, t=t, v=self._text({name: v})), "wrong_shape"

    def rule_too_many_rows(self):
        path, topic, fields = self._base()
        if self.random.random() < 0.9:  # they are large: few are enough
            return self.rule_columns_of_unequal_length()
        name, rows = next(iter(self.devices[path])), self.random.choice((1001, 5000))
        t, v = (json.dumps(list(range(rows)), separators=(",", ":")) for _ in range(2))
        return topic, self._with(fields, t=t, v=self._text({name: v})), "wrong_shape"

    def rule_nothing_measured(self):
        path, topic, fields = self._base()
        name = next(iter(self.devices[path]))
        t, v = self.random.choice(
            (("0", "{}"), ("0", f'{{"{name}":null}}'), ("[0,1]", f'{{"{name}":[null,null]}}'), ("[0]", "{}"))
        )
        return topic, self._with(fields, t=t, v=v), "wrong_shape"

    def rule_unknown_signal(self):
        path, topic, fields = self._base()
        name = self.random.choice((*INJECTIONS, "nothing", "temperature", f"sig{self.random.randrange(10**9)}"))
        known = next(iter(self.devices[path]))
        values = {name: "1"} if self.random.random() < 0.5 else {known: "1", name: "1"}
        return topic, self._with(fields, t="0", v=self._text(values)), "unknown_signal|wrong_shape"

    def rule_wrong_unit(self):
        path, topic, fields = self._base()
        name = next(iter(self.devices[path]))
        units = (
            *INJECTIONS,
            "9**9**9**9",
            "kg*" * 300,
            "(" * 500,
            "1/0",
            "__import__('os')",
            "°C",
            "cel",
            "10*9999.Cel",
        )
        unit = json.dumps(self.random.choice(units))
        payload = self._with(fields, t="0", v=self._text({name: "1"}), u=f'{{"{name}":{unit}}}')
        return topic, payload, "wrong_unit|wrong_shape"

    def rule_unit_of_nothing(self):
        path, topic, fields = self._base()
        name = next(iter(self.devices[path]))
        unit = self.random.choice(
            ("1", "null", "[]", '{"x":"Cel"}', f'{{"{name}":1}}', f'{{"{name}":null}}', '{"":""}')
        )
        return topic, self._with(fields, t="0", v=self._text({name: "1"}), u=unit), "wrong_shape|wrong_unit"

    def rule_nested(self):
        path, topic, fields = self._base()
        depth = self.random.choice((3, 50, 500, 2000, 20_000)) if self.random.random() < 0.1 else 3
        name = next(iter(self.devices[path]))
        nest = self.random.choice(("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth))
        return topic, self._with(fields, t="0", v=self._text({name: nest})), "wrong_shape|not_json"

    def rule_too_large(self):
        topic, payload = self._payload()
        if self.random.random() < 0.95:  # they are large: few are enough
            return topic, payload[:-1], "not_json"
        return topic, payload[:-1] + b" " * (256 * 1024 + 1 - len(payload)) + b"}", "too_large"

    def rule_of_another_kind(self):
        path = self.random.choice(list(self.devices))
        own = topic_text(*path.rsplit("/", 1), self.random.choice((READINGS, EVENTS))).encode()
        return own, b'{"state":"online"}', "wrong_shape"

    def rule_unknown_device(self):
        _, payload = self._payload()
        line = self.random.choice(list(self.terminals))
        device = self.random.choice(
            ("scale", "constructor", "__proto__", "-", "0", "terminal", f"x{self.random.randrange(10**6)}")
        )
        return topic_text(line, device, READINGS).encode(), payload, "unknown_device"

    def rule_topic(self):
        _, payload = self._payload()
        if self._any_topic and self.random.random() < 0.5:
            topic = self.random.choice(OTHER_TOPICS)
            if len(topic) > 1000 and self.random.random() < 0.9:
                topic = topic[:1000]
            return topic, payload, "|".join(TOPIC_REASONS)
        return self.random.choice(LIKE_TOPICS).encode(), payload, "|".join(TOPIC_REASONS)

    def rule_state(self):
        path = self.random.choice(list(self.devices))
        topic = topic_text(*path.rsplit("/", 1), STATE).encode()
        payload = self.random.choice(
            (
                '{"state":"ONLINE"}',
                '{"state":1}',
                "{}",
                '{"state":null}',
                '{"state":"on\\nline"}',
                '{"state":"online","x":1}',
            )
        )
        return topic, payload.encode(), "wrong_shape"

    def rule_event_envelope(self):
        line = self.random.choice(list(self.terminals))
        seq = self._seq(f"{line}/terminal", "bad")
        event = self.random.choice(('"x"', "[]", "1", "null", "true", '{"a":1,"a":2}', '{"a":{"b":[{"c":1,"c":1}]}}'))
        return self.terminals[line], f'{{"boot":"bad","seq":{seq},"event":{event}}}'.encode(), "wrong_shape"

    def rule_event_not_json(self):
        line = self.random.choice(list(self.terminals))
        seq = self._seq(f"{line}/terminal", "bad")
        event = self.random.choice(
            (b"{'a':1}", b'{"a":"\xff"}', b'{"a":"\x00"}', b"{", b'{"a":01}', b"[" * 3000 + b"]" * 3000)
        )
        return self.terminals[line], b'{"boot":"bad","seq":%d,"event":%s}' % (seq, event), "not_json|wrong_shape"

    def rule_event_refused(self):
        line = self.random.choice(list(self.terminals))
        self._made += 1
        event = json.loads(event_json(received(f"BAD{self._made}")))
        for _ in range(self.random.randint(1, 2)):
            self._spoil(event)
        return *self._event(line, json.dumps(event, ensure_ascii=self.random.random() < 0.5)), "event_refused"

    def rule_event_with_unknown_name(self):
        line = self.random.choice(list(self.terminals))
        self._made += 1
        event = received(f"BAD{self._made}", material=self.random.choice(("gold", "constructor", "textile_bale2")))
        return *self._event(line, event_json(event).decode()), "unknown_name"

    def rule_event_of_another_line(self):
        line, other = self.random.sample(list(self.terminals), 2)
        self._made += 1
        event = started(f"BAD{self._made}", line=other, step="sorting")
        return *self._event(line, event_json(event).decode()), "not_owner|unknown_name"

    def _event(self, line, body):
        seq = self._seq(f"{line}/terminal", "bad")
        return self.terminals[line], f'{{"boot":"bad","seq":{seq},"event":{body}}}'.encode(errors="surrogatepass")

    def _spoil(self, event):
        event["type"] = self.random.choice(
            ("", "NoEvent", None, 7, ["ObjectEvent"], {"a": 1}, "objectevent", *INJECTIONS)
        )

    def _one(self, path):
        return self._text({next(iter(self.devices[path])): "1"})
