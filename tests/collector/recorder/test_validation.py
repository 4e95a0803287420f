"""Messages against the plant model: what is kept, what is flagged, what is refused."""

import pytest

from collector.codec import decode_columns, parse_topic, topic_text
from collector.recorder.blocks import PendingBlock
from collector.recorder.validation import AHEAD_NS_MAX, OLDEST_NS, Placement
from filiere.clock import NS_PER_S
from filiere.errors import MessageRefused
from filiere.message_log import Message
from filiere.readings import CLOCK_SUSPECT, OUT_OF_RANGE, stored_time_ns
from tests.collector.builders import LINE, NOON_NS, TOPIC, plant, readings

PLACEMENT = Placement(plant())


def judged(payload, *, topic=TOPIC, record_time_ns=NOON_NS):
    """What becomes of a lone message."""
    place, message = PLACEMENT.place(parse_topic(topic.encode())), decode_columns(payload)
    columns = PLACEMENT.columns(place, message)
    pending = PendingBlock(place=place, names=message.names, numbered=True, columns=tuple([] for _ in columns))
    seqs = range(message.seq, message.seq + len(message.time_ns))
    pending.add(Message(1, topic.encode(), payload, record_time_ns), message.boot, seqs, message.time_ns, columns)
    return pending.judged()


def only(judged):
    """The values and qualities of a block of one row."""
    (row,) = judged.block.rows()
    values = {signal: value for signal, (value,) in row.values.items()}
    return values, {signal: flags[0] for signal, flags in row.quality.items()}


def refusal(payload, **where):
    with pytest.raises(MessageRefused) as caught:
        judged(payload, **where)
    return caught.value.reason, str(caught.value)


def test_a_known_signal_is_placed_on_its_line_and_device():
    found = judged(readings(seq=41, time_ns=NOON_NS, melt_temp=230.5))
    assert (found.block.line, found.block.device, found.block.time_ns) == (LINE, "extruder", [NOON_NS + 41])
    assert only(found) == ({"melt_temp": 230.5}, {})


def test_an_unknown_device_is_refused_and_the_known_ones_are_named():
    reason, words = refusal(readings(), topic=topic_text(LINE, "oven", "readings"))
    assert reason == "unknown_device"
    assert "caux/textile/t1/extruder" in words


def test_an_unknown_line_is_refused():
    assert refusal(readings(), topic=topic_text("caux/textile/t9", "extruder", "readings"))[0] == "unknown_device"


def test_a_terminal_sends_events_and_no_readings():
    assert PLACEMENT.place(parse_topic(topic_text(LINE, "terminal", "events").encode())).signals == {}
    assert refusal(readings(), topic=topic_text(LINE, "terminal", "readings"))[0] == "unknown_device"


def test_an_unknown_signal_is_refused_and_the_known_ones_are_named():
    reason, words = refusal(readings(melt_temp=230, colour=3))
    assert reason == "unknown_signal"
    assert "'colour'" in words
    assert "melt_pressure" in words


def test_a_convertible_unit_is_converted():
    stated = readings(melt_temp=503.65, melt_pressure=44, units={"melt_temp": "K", "melt_pressure": "bar"})
    assert only(judged(stated))[0] == pytest.approx({"melt_temp": 230.5, "melt_pressure": 44.0})


@pytest.mark.parametrize("unit", ["kg", "°C", "", "Cel; drop"])
def test_another_unit_is_refused(unit):
    reason, words = refusal(readings(melt_temp=230, units={"melt_temp": unit}))
    assert reason == "wrong_unit"
    assert "'Cel'" in words


def test_a_conversion_that_overflows_is_refused():
    assert refusal(readings(melt_pressure=1e308, units={"melt_pressure": "MPa"}))[0] == "not_finite"


@pytest.mark.parametrize("value", [-20.5, 400.5, 65532, -175])
def test_a_value_that_the_sensor_cannot_mean_is_kept_and_flagged(value):
    found = judged(readings(melt_temp=value, melt_pressure=44))
    assert only(found) == ({"melt_temp": value, "melt_pressure": 44.0}, {"melt_temp": OUT_OF_RANGE})
    assert found.out_of_range == 1


@pytest.mark.parametrize("value", [-20, 400])
def test_the_limits_of_the_range_are_inside_it(value):
    assert judged(readings(melt_temp=value)).block.quality == {}


@pytest.mark.parametrize("time_ns", [0, OLDEST_NS - 1000, NOON_NS + AHEAD_NS_MAX + 1000])
def test_an_impossible_clock_is_flagged_and_the_time_of_arrival_is_stored(time_ns):
    found = judged(readings(seq=7, time_ns=time_ns, melt_temp=230, melt_pressure=999))
    assert (found.suspects, found.believed_ns) == ([0], [])
    assert found.block.time_ns == [stored_time_ns(NOON_NS, 7)]
    assert only(found)[1] == {"melt_temp": CLOCK_SUSPECT, "melt_pressure": OUT_OF_RANGE}


@pytest.mark.parametrize("time_ns", [OLDEST_NS, NOON_NS + AHEAD_NS_MAX, NOON_NS - 30 * 24 * 3600 * NS_PER_S])
def test_a_possible_clock_is_believed(time_ns):
    found = judged(readings(time_ns=time_ns))
    assert (found.suspects, found.block.time_ns) == ([], [time_ns])


def test_rows_of_one_suspect_message_stay_apart():
    assert len(set(judged(readings(rows=1000, time_ns=0)).block.time_ns)) == 1000


def test_what_was_not_measured_has_no_value():
    payload = b'{"boot":"b","seq":0,"t":[%d,%d],"v":{"melt_temp":[null,230],"melt_pressure":[null,null]}}' % (
        NOON_NS // 10**6,
        NOON_NS // 10**6,
    )
    assert judged(payload).block.values == {"melt_temp": [None, 230.0], "melt_pressure": [None, None]}
