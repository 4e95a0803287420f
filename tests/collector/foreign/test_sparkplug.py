"""Sparkplug B: an edge node's births, data by alias and deaths, as somebody else's encoder wrote them."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.foreign.births import BIRTHS_MAX, BookBirths, MemoryBirths
from collector.foreign.sources import ForeignSources
from collector.foreign.sparkplug import GOOD_QUALITIES, METRICS_MAX, PAYLOAD
from filiere.clock import to_text
from filiere.errors import MessageRefused
from filiere.message_log import Message
from filiere.readings import DEVICE_BAD
from tests.collector.foreign_messages import NOON_NS, message, page_bindings, plant, recorded
from tests.servers import PROJECT

NODE, DEVICE = "spBv1.0/Atelier/{}/presse-1", "spBv1.0/Atelier/{}/presse-1/extruder"
T_MS = 1795425245000
INT16, FLOAT, DOUBLE, DATASET = 2, 9, 10, 16
PRESS = next(text for text in page_bindings() if "sparkplug" in text)


class Book:
    """Births as a book keeps them."""

    def __init__(self):
        self.kept = {}

    def births(self, owner):
        return sorted(self.kept.get(owner, {}).items())

    def commit(self, new):
        for owner, offset, body in new:
            self.kept.setdefault(owner, {})[offset] = body


class Reader:
    """A recorder's view: messages in order of offset; `restart` keeps what is committed."""

    def __init__(self):
        self.book = Book()
        self.offset = 0
        self.restart()

    def restart(self):
        self.births = BookBirths(self.book)
        self.sources = ForeignSources(plant(PRESS), self.births)

    def commit(self):
        self.book.commit(self.births.take_new())

    def take(self, topic, *metrics, **fields):
        self.offset += 1
        return self.judge(message(payload(*metrics, **fields), topic, offset=self.offset))

    def judge(self, received):
        try:
            rows = self.sources.decode(received)
        except MessageRefused as refused:
            return refused.reason
        return [dict(row.values) for row in rows]

    def born(self, *metrics, node_alias=1, session=1):
        self.take(NODE.format("NBIRTH"), {"name": "bdSeq", "long_value": session}, {"name": "Up", "alias": node_alias})
        return self.take(DEVICE.format("DBIRTH"), *(metrics or (temperature(alias=2, name=TEMPERATURE),)))

    def data(self, *metrics):
        return self.take(DEVICE.format("DDATA"), *metrics)


TEMPERATURE = "Zones/3/Temperature"


def temperature(value=231.5, alias=None, name=None, **more):
    named = {"name": name} if name else {}
    aliased = {} if alias is None else {"alias": alias}
    return {**named, **aliased, "datatype": FLOAT, "float_value": value, **more}


def payload(*metrics, timestamp=T_MS):
    built = PAYLOAD()
    if timestamp is not None:
        built.timestamp = timestamp
    for fields in metrics:
        metric = built.metrics.add()
        for name, value in fields.items():
            if name == "quality":
                metric.properties.keys.append("Quality")
                metric.properties.values.add().int_value = value
            else:
                setattr(metric, name, value)
    return built.SerializeToString()


def test_the_messages_of_another_encoder_are_read():
    read = ForeignSources(plant())
    got = []
    for received in recorded("sparkplug"):
        try:
            rows = read.decode(received)
        except MessageRefused as refused:
            got.append((received.offset, refused.reason))
            continue
        got += [(received.offset, to_text(row.event_time_ns)[17:23], dict(row.values)) for row in rows]
    assert got == [
        (2, "05.000", {"melt_temp": 231.5, "melt_pressure": 44.2, "load_offset": pytest.approx(-0.012)}),
        (3, "07.000", {"melt_temp": 232.0, "melt_pressure": 45.1}),
        (4, "08.500", {"melt_temp": 232.5}),
        (4, "09.000", {"load_offset": pytest.approx(-0.015)}),
        (5, "11.000", {"melt_pressure": 45.3}),
        (7, "no_birth"),
    ]


def test_a_restarted_recorder_reads_data_with_the_birth_that_it_kept():
    reader = Reader()
    reader.born()
    reader.commit()
    reader.restart()
    assert reader.data(temperature(232.0, alias=2)) == [{"melt_temp": 232.0}]


def test_a_group_whose_name_is_no_utf_8_is_one_like_others():
    sources = ForeignSources(plant(PRESS.replace("spBv1.0/Atelier/", "spBv1.0/+/")))
    born = Message(
        1, b"spBv1.0/\xff/DBIRTH/presse-1/extruder", payload(temperature(alias=2, name=TEMPERATURE)), NOON_NS
    )
    data = Message(2, b"spBv1.0/\xff/DDATA/presse-1/extruder", payload(temperature(232.0, alias=2)), NOON_NS)
    assert [dict(row.values) for each in (born, data) for row in sources.decode(each)] == [
        {"melt_temp": 231.5},
        {"melt_temp": 232.0},
    ]
    orphan = Message(3, b"spBv1.0/\xfe/DDATA/presse-1/extruder", data.payload, NOON_NS)
    with pytest.raises(MessageRefused) as refused:
        sources.decode(orphan)
    assert refused.value.reason == "no_birth"
    assert str(refused.value).encode()  # what a book can keep


def test_a_birth_that_was_not_committed_is_read_again_with_its_chunk():
    reader = Reader()
    reader.born()
    reader.restart()
    assert reader.data(temperature(alias=2)) == "no_birth"
    reader.offset = 0
    reader.born()
    assert reader.data(temperature(alias=2)) == [{"melt_temp": 231.5}]


def test_data_without_a_birth_comes_back_when_it_is_judged_after_one():
    reader = Reader()
    early = message(payload(temperature(99.0, alias=2)), DEVICE.format("DDATA"), offset=1)
    reader.offset = 1
    assert reader.judge(early) == "no_birth"
    reader.born()
    assert reader.judge(early) == [{"melt_temp": 99.0}]


def test_data_is_read_with_the_birth_of_its_own_place_in_the_log():
    reader = Reader()
    reader.born()
    old = message(payload(temperature(1.0, alias=2)), DEVICE.format("DDATA"), offset=reader.offset + 1)
    reader.offset += 1
    assert reader.judge(old) == [{"melt_temp": 1.0}]
    # another birth gives the alias to another metric
    reader.born({"name": "Pressure/Melt", "alias": 2, "datatype": DOUBLE, "double_value": 3.0}, session=2)
    assert reader.data({"alias": 2, "datatype": DOUBLE, "double_value": 5.0}) == [{"melt_pressure": 5.0}]
    assert reader.judge(old) == [{"melt_temp": 1.0}]


def test_after_a_death_and_before_a_birth_aliases_mean_nothing():
    reader = Reader()
    reader.born()
    assert reader.take(NODE.format("NDEATH"), {"name": "bdSeq", "long_value": 1}, timestamp=None) == []
    assert reader.data(temperature(alias=2)) == "no_birth"
    between = reader.offset
    reader.take(NODE.format("NDEATH"), {"name": "bdSeq", "long_value": 1}, timestamp=None)
    reader.born(session=2)
    lost = message(payload(temperature(alias=2)), DEVICE.format("DDATA"), offset=between)
    assert reader.judge(lost) == "no_birth"


def test_a_new_birth_of_the_node_ends_those_of_its_devices():
    reader = Reader()
    reader.born()
    reader.take(NODE.format("NBIRTH"), {"name": "bdSeq", "long_value": 2})
    assert reader.data(temperature(alias=2)) == "no_birth"


def test_the_last_will_of_an_earlier_session_ends_nothing():
    reader = Reader()
    reader.born(session=7)
    reader.take(NODE.format("NDEATH"), {"name": "bdSeq", "long_value": 6}, timestamp=None)
    assert reader.data(temperature(alias=2)) == [{"melt_temp": 231.5}]


def test_the_death_of_a_device_ends_its_birth():
    reader = Reader()
    reader.born()
    assert reader.take(DEVICE.format("DDEATH")) == []
    assert reader.data(temperature(alias=2)) == "no_birth"


def test_an_alias_that_the_birth_does_not_name_is_refused():
    reader = Reader()
    reader.born()
    assert reader.data(temperature(alias=2), temperature(alias=3)) == "no_birth"


def test_a_metric_by_its_full_name_needs_no_birth():
    assert Reader().data(temperature(name=TEMPERATURE)) == [{"melt_temp": 231.5}]


@pytest.mark.parametrize(
    ("wire", "value"), [(0xFFF1, -15), (0xFFFFFFF1, -15), (0xFFFFFFFFFFFFFFF1, -15), (15, 15), (0x7FFF, 32767)]
)
def test_a_signed_integer_is_read_with_the_datatype_of_its_birth(wire, value):
    reader = Reader()
    reader.born({"name": "Drive/Load offset", "alias": 9, "datatype": INT16, "int_value": 0})
    field = "long_value" if wire > 0xFFFFFFFF else "int_value"
    assert reader.data({"alias": 9, field: wire}) == [{"load_offset": pytest.approx(value / 1000)}]


def test_null_is_not_measured():
    reader = Reader()
    reader.born()
    assert reader.data({"alias": 2, "datatype": FLOAT, "is_null": True}) == []


@pytest.mark.parametrize(("quality", "flag"), [(0, True), (500, True), (min(GOOD_QUALITIES), False), (219, False)])
def test_what_the_device_calls_bad_is_kept_and_flagged(quality, flag):
    reader = Reader()
    reader.born()
    received = message(payload(temperature(alias=2, quality=quality)), DEVICE.format("DDATA"), offset=9)
    (row,) = reader.sources.decode(received)
    assert row.quality == ({"melt_temp": DEVICE_BAD} if flag else {})


def test_metrics_of_several_instants_are_several_rows():
    reader = Reader()
    reader.born()
    later, earlier = temperature(2.0, alias=2, timestamp=T_MS + 1), temperature(1.0, alias=2, timestamp=T_MS)
    assert reader.data(later, earlier) == [{"melt_temp": 1.0}, {"melt_temp": 2.0}]
    assert reader.data(earlier, earlier) == "wrong_shape"


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ({"float_value": float("nan")}, "not_finite"),
        ({"float_value": float("inf")}, "not_finite"),
        ({"boolean_value": True}, "wrong_shape"),
        ({"string_value": "231.5"}, "wrong_shape"),
        ({"bytes_value": b"231.5"}, "wrong_shape"),
        ({"datatype": DATASET}, "wrong_shape"),
        ({"float_value": 1.0, "timestamp": 2**63}, "bad_time"),
    ],
)
def test_a_metric_that_is_no_number_is_refused(metric, reason):
    assert Reader().data({"name": TEMPERATURE, **metric}) == reason


@pytest.mark.parametrize("body", [b"", b"{}", b"12.5", b"\xff" * 40, payload(temperature(alias=2))[:-3]])
def test_what_is_no_sparkplug_is_refused(body):
    reader = Reader()
    reader.born()
    assert reader.judge(message(body, DEVICE.format("DDATA"), offset=9)) == "not_sparkplug"


def test_too_many_metrics_are_refused():
    body = payload() + b"\x12\x00" * (METRICS_MAX + 1)
    assert Reader().judge(message(body, DEVICE.format("DDATA"))) == "wrong_shape"


@given(st.binary(max_size=120), st.sampled_from(["DDATA", "DBIRTH", "DDEATH"]))
def test_whatever_arrives_is_rows_or_a_refusal(body, kind):
    outcome = Reader().judge(message(body, DEVICE.format(kind)))
    assert outcome == [] or isinstance(outcome, str)


def test_commands_to_a_node_are_not_its_data():
    assert Reader().take(DEVICE.format("DCMD"), temperature(name=TEMPERATURE)) == "unbound_topic"


def test_a_name_that_is_no_utf_8_breaks_nothing():
    reader = Reader()
    name = b"\x12\x08\x0a\x02\xff\xfe\x10\x02\x20\x09"  # a metric of that name, with alias 2
    born = message(payload() + name, DEVICE.format("DBIRTH"), offset=1)
    assert reader.judge(born) == []
    reader.commit()
    reader.restart()
    reader.offset = 1
    assert reader.data(temperature(alias=2)) == []


def test_a_message_of_the_node_is_of_its_only_device():
    assert Reader().sources.device_path(NODE.format("NBIRTH").encode()) == "caux/textile/t1/extruder"
    assert Reader().sources.device_path(b"spBv1.0/Atelier/NBIRTH/other") == ""


def test_births_are_bounded_in_memory():
    reader = Reader()
    for session in range(BIRTHS_MAX + 9):
        reader.born(session=session)
    histories = reader.sources._sparkplug._histories
    assert {len(history.kept) for history in histories.values()} == {BIRTHS_MAX}
    assert reader.data(temperature(alias=2)) == [{"melt_temp": 231.5}]


def test_births_without_a_book_are_bounded_too():
    births = MemoryBirths()
    for offset in range(BIRTHS_MAX + 5):
        births.put_birth(b"n", offset, b"{}")
    assert [offset for offset, _ in births.births(b"n")] == list(range(5, BIRTHS_MAX + 5))


def test_the_names_of_births_are_bounded_in_memory_and_read_again_when_needed(monkeypatch):
    monkeypatch.setattr("collector.foreign.sparkplug.METRICS_KEPT_MAX", 3)
    reader = Reader()
    reader.born()
    early = message(payload(temperature(7.0, alias=2)), DEVICE.format("DDATA"), offset=reader.offset)
    for session in range(2, 9):
        reader.born(session=session)
    assert len(reader.sources._sparkplug._read) <= 3
    assert reader.judge(early) == [{"melt_temp": 7.0}]
    reader.commit()
    assert reader.judge(early) == [{"melt_temp": 7.0}]


def test_without_the_extra_the_plant_is_refused_with_what_to_install():
    code = (
        "import sys; sys.modules['google.protobuf'] = None\n"
        "from filiere.errors import SettingsError\n"
        "from tests.collector.foreign_messages import plant\n"
        "from collector.foreign.sources import ForeignSources\n"
        "assert ForeignSources(plant()).filters()\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert "SettingsError: got Sparkplug, and no protobuf to read it" in ran.stderr
    assert "uv sync --extra sparkplug" in ran.stderr


def test_a_plant_without_sparkplug_does_not_load_protocol_buffers():
    code = (
        "import sys\n"
        "from tests.collector.foreign_messages import binding, plant\n"
        "from collector.foreign.sources import ForeignSources\n"
        "ForeignSources(plant(binding()))\n"
        "assert not any(name.startswith('google.protobuf') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)
