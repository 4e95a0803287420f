import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.clock import NS_PER_S, from_ns, parse_time, to_text
from filiere.errors import ScenarioError
from simulators.replay.dirt import Dirt, Findings
from simulators.replay.times import NO_TIME, TimeFormat, TimeReader


def read(*cells, time_format=TimeFormat.YEAR_FIRST, zone="Europe/Paris", series=None):
    findings = Findings()
    times = TimeReader(time_format, zone).read(cells, findings, lambda place, cell: f"{place}: {cell}", series)
    return [None if time_ns == NO_TIME else to_text(int(time_ns)) for time_ns in times], findings


@pytest.mark.parametrize(
    ("cell", "time_format", "time"),
    [
        ("2026-11-23T09:14:05.250Z", "year_first", "2026-11-23T09:14:05.250Z"),
        ("2026-11-23 09:14:05+01:00", "year_first", "2026-11-23T08:14:05.000Z"),
        ("2026/11/23 09:14:05,5-0530", "year_first", "2026-11-23T14:44:05.500Z"),
        ("2026-11-23 09:14:05+01", "year_first", "2026-11-23T08:14:05.000Z"),
        ("2026-11-23 09:14:05 UTC", "year_first", "2026-11-23T09:14:05.000Z"),
        ("2026-07-01 09:14", "year_first", "2026-07-01T07:14:00.000Z"),
        ("23/11/2026 10:14:05", "day_first", "2026-11-23T09:14:05.000Z"),
        ("23-Nov-2026 10:14:05.250", "year_first", "2026-11-23T09:14:05.250Z"),
        ("23-Nov-26 10:14:05", "month_first", "2026-11-23T09:14:05.000Z"),
        ("1 févr. 2026 10:14", "day_first", "2026-02-01T09:14:00.000Z"),
        ("1-Juil-2026 10:14", "day_first", "2026-07-01T08:14:00.000Z"),
        ("3.1.26 7h05", "day_first", "2026-01-03T06:05:00.000Z"),
        ("11/23/2026 9:14:05 PM", "month_first", "2026-11-23T20:14:05.000Z"),
        ("11/23/2026 12:00 am", "month_first", "2026-11-22T23:00:00.000Z"),
        ("1763889245", "unix_s", "2025-11-23T09:14:05.000Z"),
        (1763889245.25, "unix_s", "2025-11-23T09:14:05.250Z"),
        ("1763889245250", "unix_ms", "2025-11-23T09:14:05.250Z"),
        ("46092.25", "excel_days", "2026-03-11T05:00:00.000Z"),
        ("46092,250116", "excel_days", "2026-03-11T05:00:10.022Z"),
        (46214.5, "excel_days", "2026-07-11T10:00:00.000Z"),
        (1763889245250000000, "unix_ns", "2025-11-23T09:14:05.250Z"),
    ],
)
def test_a_time_is_understood_however_it_is_written(cell, time_format, time):
    assert read(cell, time_format=TimeFormat(time_format)) == ([time], Findings())


@pytest.mark.parametrize(
    "cell",
    ["", "yesterday", "23-Nev-2026 10:00:00", "Nov-23-2026 10:00:00", "30-Feb-2026", "2026-02-30 10:00:00",
     "2026-11-23 25:00:00", "23/11/2026 10:00", "2026-11-23 10:00:60", "0000-01-01 00:00:00", "2026-11-23 13:00 PM",
     "9999-12-31 23:59:59", "2026-11-23 10:00:00+99:99", None, 12.5],
)  # fmt: skip
def test_what_is_no_time_is_counted_and_passed_over(cell):
    times, findings = read(cell, "2026-11-23 10:00:00")
    assert times == [None, "2026-11-23T09:00:00.000Z"]
    assert findings.count(Dirt.BAD_TIME) == 1


@pytest.mark.parametrize("time_format", [TimeFormat.UNIX_S, TimeFormat.EXCEL_DAYS])
@pytest.mark.parametrize("cell", ["nan", "inf", "1e400", "1e308", "-", "9" * 40])
def test_what_is_no_number_is_no_time(cell, time_format):
    assert read(cell, time_format=time_format)[0] == [None]


def test_days_of_a_spreadsheet_are_of_a_wall_clock():
    with pytest.raises(ScenarioError, match="--zone"):
        read("46092.25", time_format=TimeFormat.EXCEL_DAYS, zone=None)


def test_a_local_time_without_a_zone_is_refused_with_what_to_do():
    with pytest.raises(ScenarioError, match=r"local times such as '2026-11-23 10:00:00'; expected the zone .* --zone"):
        read("2026-11-23 10:00:00", zone=None)
    assert read("2026-11-23 10:00:00Z", zone=None)[0] == ["2026-11-23T10:00:00.000Z"]


def test_the_hour_that_clocks_show_twice_goes_on_forward():
    times, findings = read(
        "2026-10-25 01:59:58", "2026-10-25 02:10:00", "2026-10-25 02:50:00", "2026-10-25 02:10:00",
        "2026-10-25 02:50:00", "2026-10-25 03:00:00",
    )  # fmt: skip
    assert [time[11:16] for time in times] == ["23:59", "00:10", "00:50", "01:10", "01:50", "02:00"]
    assert findings.count(Dirt.TWICE_SHOWN) == 4


def test_each_series_of_a_long_file_has_its_own_autumn():
    cells = ("2026-10-25 02:30:00", "2026-10-25 02:10:00")
    assert [time[11:16] for time in read(*cells)[0]] == ["00:30", "01:10"]
    assert [time[11:16] for time in read(*cells, series=("a", "b"))[0]] == ["00:30", "00:10"]


def test_an_hour_that_clocks_skipped_is_of_a_clock_not_yet_put_forward():
    times, findings = read("2026-03-29 02:30:00")
    assert times == ["2026-03-29T01:30:00.000Z"]
    assert findings.count(Dirt.SKIPPED) == 1


@given(
    st.integers(0, 4 * 10**9), st.sampled_from(list(TimeFormat)[:3]), st.sampled_from(["Europe/Paris", "Asia/Kolkata"])
)
def test_a_time_in_utc_comes_back_whatever_the_format(time_s, time_format, zone):
    moment = from_ns(time_s * NS_PER_S)
    day = {"year_first": "%Y-%m-%d", "day_first": "%d/%m/%Y", "month_first": "%m/%d/%Y"}[time_format]
    text = moment.strftime(f"{day} %H:%M:%S") + "Z"
    assert read(text, time_format=time_format, zone=zone)[0] == [to_text(time_s * NS_PER_S)]
    assert parse_time(read(text, time_format=time_format, zone=zone)[0][0]) == time_s * NS_PER_S
