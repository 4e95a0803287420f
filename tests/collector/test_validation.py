"""Messages against the plant model: what is kept, what is flagged, what is refused."""

import pytest

from collector.codec import decode_readings, parse_topic, topic_text
from collector.validation import AHEAD_NS_MAX, OLDEST_NS, Placement
from filiere.clock import NS_PER_S
from filiere.errors import MessageRefused
from filiere.readings import CLOCK_SUSPECT, OUT_OF_RANGE, stored_time_ns
from tests.collector.builders import LINE, NOON_NS, TOPIC, plant, readings

PLACEMENT = Placement(plant())


def judged(payload, *, topic=TOPIC, record_time_ns=NOON_NS):
    return PLACEMENT.rows(parse_topic(topic.encode()), decode_readings(payload), record_time_ns)


def refusal(payload, **where):
    with pytest.raises(MessageRefused) as caught:
        judged(payload, **where)
    return caught.value.reason, str(caught.value)


def test_a_known_signal_is_placed_on_its_line_and_device():
    (row,) = judged(readings(seq=41, time_ns=NOON_NS, melt_temp=230.5))
    assert (row.row.line, row.row.device, row.row.values) == (LINE, "extruder", {"melt_temp": 230.5})
    assert row.row.time_ns == NOON_NS + 41
    assert row.row.quality == {}


def test_an_unknown_device_is_refused_and_the_known_ones_are_named():
    reason, words = refusal(readings(), topic=topic_text(LINE, "oven", "readings"))
    assert reason == "unknown_device"
    assert "caux/textile/t1/extruder" in words


def test_an_unknown_line_is_refused():
    assert refusal(readings(), topic=topic_text("caux/textile/t9", "extruder", "readings"))[0] == "unknown_device"


def test_a_terminal_sends_events_and_no_readings():
    assert PLACEMENT.signals(parse_topic(topic_text(LINE, "terminal", "events").encode())) == {}
    assert refusal(readings(), topic=topic_text(LINE, "terminal", "readings"))[0] == "unknown_device"


def test_an_unknown_signal_is_refused_and_the_known_ones_are_named():
    reason, words = refusal(readings(melt_temp=230, colour=3))
    assert reason == "unknown_signal"
    assert "'colour'" in words
    assert "melt_pressure" in words


def test_a_convertible_unit_is_converted():
    (row,) = judged(readings(melt_temp=503.65, melt_pressure=44, units={"melt_temp": "K", "melt_pressure": "bar"}))
    assert row.row.values == pytest.approx({"melt_temp": 230.5, "melt_pressure": 44.0})


@pytest.mark.parametrize("unit", ["kg", "°C", "", "Cel; drop"])
def test_another_unit_is_refused(unit):
    reason, words = refusal(readings(melt_temp=230, units={"melt_temp": unit}))
    assert reason == "wrong_unit"
    assert "'Cel'" in words


def test_a_conversion_that_overflows_is_refused():
    assert refusal(readings(melt_pressure=1e308, units={"melt_pressure": "MPa"}))[0] == "not_finite"


@pytest.mark.parametrize("value", [-20.5, 400.5, 65532, -175])
def test_a_value_that_the_sensor_cannot_mean_is_kept_and_flagged(value):
    (row,) = judged(readings(melt_temp=value, melt_pressure=44))
    assert row.row.values == {"melt_temp": value, "melt_pressure": 44.0}
    assert row.row.quality == {"melt_temp": OUT_OF_RANGE}


@pytest.mark.parametrize("value", [-20, 400])
def test_the_limits_of_the_range_are_inside_it(value):
    assert judged(readings(melt_temp=value))[0].row.quality == {}


@pytest.mark.parametrize("time_ns", [0, OLDEST_NS - 1000, NOON_NS + AHEAD_NS_MAX + 1000])
def test_an_impossible_clock_is_flagged_and_the_time_of_arrival_is_stored(time_ns):
    (row,) = judged(readings(seq=7, time_ns=time_ns, melt_temp=230, melt_pressure=999))
    assert row.clock_suspect
    assert row.event_time_ns == time_ns
    assert row.row.time_ns == stored_time_ns(NOON_NS, 7)
    assert row.row.quality == {"melt_temp": CLOCK_SUSPECT, "melt_pressure": OUT_OF_RANGE}


@pytest.mark.parametrize("time_ns", [OLDEST_NS, NOON_NS + AHEAD_NS_MAX, NOON_NS - 30 * 24 * 3600 * NS_PER_S])
def test_a_possible_clock_is_believed(time_ns):
    (row,) = judged(readings(time_ns=time_ns))
    assert not row.clock_suspect
    assert row.row.time_ns == time_ns


def test_rows_of_one_suspect_message_stay_apart():
    rows = judged(readings(rows=1000, time_ns=0))
    assert len({row.row.time_ns for row in rows}) == 1000


def test_what_was_not_measured_is_not_stored():
    payload = b'{"boot":"b","seq":0,"t":[%d,%d],"v":{"melt_temp":[null,230],"melt_pressure":[null,null]}}' % (
        NOON_NS // 10**6,
        NOON_NS // 10**6,
    )
    assert [row.row.values for row in judged(payload)] == [{}, {"melt_temp": 230.0}]
