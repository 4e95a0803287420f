"""One contract on both readings stores: what one keeps, the other keeps too."""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filiere.embedded_store import EmbeddedStore
from filiere.errors import StoreRefused
from filiere.influx_store import InfluxStore
from filiere.readings import (
    ACCOUNT_MEASUREMENT,
    CLOCK_SUSPECT,
    COLLECTOR_MEASUREMENT,
    GOOD,
    OUT_OF_RANGE,
    QUALITIES,
    STATE_RUNNING,
    UNKNOWN_DEVICE,
    AccountMark,
    Block,
    Latest,
    RunMark,
    Series,
)
from filiere.readings_store import ReadingsStore, open_store
from filiere.settings import load_settings

LINE = "caux/textile/t1"
T0 = 1_795_425_245_250_000_041
NewStore = Callable[[], ReadingsStore]


def row(
    time_ns: int = T0, *, line: str = LINE, device: str = "extruder", quality: dict | None = None, **values
) -> Block:
    return Block.one(
        line=line, device=device, time_ns=time_ns, values=values or {"melt_temp": 231.4}, quality=quality or {}
    )


def mark(time_ns: int = T0, *, state: str = STATE_RUNNING, run: str = "R1", lot: str = "L1") -> RunMark:
    return RunMark(line=LINE, time_ns=time_ns, state=state, run=run, lot=lot, recipe="pp")


def listed(series: Series) -> list[tuple[int, float, int]]:
    return list(zip(series.time_ns.tolist(), series.value.tolist(), series.quality.tolist(), strict=True))


@pytest.fixture(params=["embedded", "influxdb"])
def new_store(request, tmp_path: Path) -> Iterator[NewStore]:
    """Makes stores with nothing in them."""
    with contextlib.ExitStack() as open_stores:

        def embedded() -> ReadingsStore:
            folder = tmp_path / f"store{len(list(tmp_path.iterdir()))}"
            return EmbeddedStore.open(folder / "readings.sqlite")

        def influx() -> ReadingsStore:
            server = request.getfixturevalue("influxdb")
            return InfluxStore(url=server.url, token=server.token, org=server.org, bucket=server.new_bucket())

        def new() -> ReadingsStore:
            store = embedded() if request.param == "embedded" else influx()
            open_stores.callback(store.close)
            return store

        if request.param == "influxdb":
            request.getfixturevalue("influxdb")
        yield new


@pytest.fixture
def store(new_store: NewStore) -> ReadingsStore:
    return new_store()


def test_a_fresh_store_is_in_order_and_empty(store):
    store.check()
    assert store.latest(LINE) == ()
    (series,) = store.window(LINE, ["extruder.melt_temp"], 0, 2**62)
    assert series.key == "extruder.melt_temp"
    assert (series.time_ns.dtype, series.value.dtype, series.quality.dtype) == (np.int64, np.float64, np.uint8)
    assert series.time_ns.shape == series.value.shape == series.quality.shape == (0,)


def test_series_come_in_the_order_asked_with_empty_ones_where_there_is_none(store):
    store.write([row(melt_temp=231.4, melt_pressure=44.0), row(device="dryer", moisture=0.001)])
    keys = ["dryer.moisture", "extruder.nothing", "extruder.melt_pressure", "nobody.nothing", "extruder.melt_temp"]
    window = store.window(LINE, keys, T0, T0 + 1)
    assert [series.key for series in window] == keys
    assert [listed(series) for series in window] == [[(T0, 0.001, 0)], [], [(T0, 44.0, 0)], [], [(T0, 231.4, 0)]]


def test_a_key_asked_twice_is_answered_twice(store):
    store.write([row()])
    one, two = store.window(LINE, ["extruder.melt_temp"] * 2, T0, T0 + 1)
    assert listed(one) == listed(two) == [(T0, 231.4, 0)]


def test_no_keys_no_series(store):
    assert store.window(LINE, [], 0, T0) == ()


def test_a_window_holds_its_start_and_not_its_stop(store):
    store.write([row(T0 + n) for n in range(-1, 4)])
    (series,) = store.window(LINE, ["extruder.melt_temp"], T0, T0 + 3)
    assert series.time_ns.tolist() == [T0, T0 + 1, T0 + 2]


@pytest.mark.parametrize("stop_ns", [T0, T0 - 1])
def test_a_window_without_length_is_empty(store, stop_ns):
    store.write([row()])
    (series,) = store.window(LINE, ["extruder.melt_temp"], T0, stop_ns)
    assert listed(series) == []


def test_readings_come_in_the_order_of_time_whatever_the_order_of_writing(store):
    store.write([row(T0 + n, melt_temp=float(n)) for n in (5, 1, 3)])
    store.write([row(T0 + n, melt_temp=float(n)) for n in (2, 4, 0)])
    (series,) = store.window(LINE, ["extruder.melt_temp"], 0, 2**62)
    assert series.value.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_row_written_twice_is_there_once(store):
    rows = [row(T0 + n, melt_temp=float(n), quality={"melt_temp": OUT_OF_RANGE} if n % 2 else {}) for n in range(10)]
    store.write(rows, [mark()])
    store.write(rows[3:] + rows[:7], [mark(), mark()])
    (series,) = store.window(LINE, ["extruder.melt_temp"], 0, 2**62)
    assert listed(series) == [(T0 + n, float(n), n % 2) for n in range(10)]


def test_the_last_write_of_an_instant_stays(store):
    store.write([row(melt_temp=1.0)])
    store.write([row(melt_temp=2.0)])
    (series,) = store.window(LINE, ["extruder.melt_temp"], 0, 2**62)
    assert listed(series) == [(T0, 2.0, 0)]


def test_quality_belongs_to_its_reading_alone(store):
    store.write(
        [
            row(T0, a=1.0, b=1.0, quality={"a": OUT_OF_RANGE}),
            row(T0 + 1, a=2.0, b=2.0),
            row(T0 + 2, a=3.0, b=3.0, quality={"b": CLOCK_SUSPECT, "a": GOOD}),
            row(T0 + 3, b=4.0),
        ]
    )
    a, b = store.window(LINE, ["extruder.a", "extruder.b"], 0, 2**62)
    assert listed(a) == [(T0, 1.0, 1), (T0 + 1, 2.0, 0), (T0 + 2, 3.0, 0)]
    assert listed(b) == [(T0, 1.0, 0), (T0 + 1, 2.0, 0), (T0 + 2, 3.0, 2), (T0 + 3, 4.0, 0)]


def test_lines_and_devices_do_not_mix(store):
    other = "caux/lin/t1"
    store.write([row(x=1.0), row(line=other, x=2.0), row(device="dryer", x=3.0)])
    assert [listed(s)[0][1] for s in store.window(LINE, ["extruder.x", "dryer.x"], 0, 2**62)] == [1.0, 3.0]
    assert [listed(s) for s in store.window(other, ["extruder.x", "dryer.x"], 0, 2**62)] == [[(T0, 2.0, 0)], []]
    assert [latest.key for latest in store.latest(other)] == ["extruder.x"]


def test_latest_is_the_last_reading_of_each_signal_by_its_own_time(store):
    store.write([row(T0, melt_temp=1.0, weight=10.0, quality={"weight": OUT_OF_RANGE})])
    store.write([row(T0 + 9, melt_temp=3.0), row(T0 + 5, melt_temp=2.0, quality={"melt_temp": OUT_OF_RANGE})])
    store.write([row(4 * 10**18, device="dryer", moisture=0.5, quality={"moisture": CLOCK_SUSPECT})])
    assert store.latest(LINE) == (
        Latest(key="dryer.moisture", time_ns=4 * 10**18, value=0.5, quality=CLOCK_SUSPECT),
        Latest(key="extruder.melt_temp", time_ns=T0 + 9, value=3.0, quality=GOOD),
        Latest(key="extruder.weight", time_ns=T0, value=10.0, quality=OUT_OF_RANGE),
    )


def test_nothing_to_write_is_written(store):
    store.write([])
    store.write([Block.one(line=LINE, device="extruder", time_ns=T0, values={})])
    assert store.latest(LINE) == ()


def test_more_rows_than_one_request_holds_are_all_there(store):
    n = 12_345
    store.write([row(T0 + i, melt_temp=i / 7) for i in range(n)])
    (series,) = store.window(LINE, ["extruder.melt_temp"], 0, 2**62)
    assert np.array_equal(series.time_ns, T0 + np.arange(n))
    assert np.array_equal(series.value, np.arange(n) / 7)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_refused_and_nothing_is_written(store, value):
    with pytest.raises(StoreRefused, match=r"caux/textile/t1/extruder\.b: got (nan|inf|-inf); expected a finite"):
        store.write([row(a=1.0), row(b=value)])
    assert store.latest(LINE) == ()


@pytest.mark.parametrize(
    "bad",
    [
        row(line="caux/t1"),
        row(line="caux//t1"),
        row(device="ex\ntruder"),
        row(device="ex\\"),
        row(device=""),
        row(device="a.b"),
        row(time=1.0),
        row(q_a=1.0),
        row(**{"": 1.0}),
        row(a=1.0, quality={"a": "strange"}),
    ],
)
def test_names_that_one_store_could_not_keep_are_refused_by_both(store, bad):
    with pytest.raises(StoreRefused, match=r"got .*; expected"):
        store.write([bad])
    store.write([row()])  # and the store goes on
    assert [latest.key for latest in store.latest(LINE)] == ["extruder.melt_temp"]


def test_a_window_of_a_key_without_device_is_refused(store):
    with pytest.raises(StoreRefused, match=r"got signal key 'melt_temp'; expected device\.signal"):
        store.window(LINE, ["melt_temp"], 0, T0)


NAMES = ["it's", 'a "quote"', "a b,c=d", "é—µ", "x;DROP SERIES FROM reading", "a.b", "a' OR '1'='1", "-1", "#x", "[a]"]


@pytest.mark.parametrize("name", NAMES)
def test_awkward_names_come_back_as_they_were(store, name):
    device = name.replace(".", "")
    line = f"caux/{name}/{name}"
    store.write([row(line=line, device=device, quality={name: OUT_OF_RANGE}, **{name: 1.5}), row()])
    (series,) = store.window(line, [f"{device}.{name}"], 0, 2**62)
    assert listed(series) == [(T0, 1.5, 1)]
    assert store.latest(line) == (Latest(key=f"{device}.{name}", time_ns=T0, value=1.5, quality=OUT_OF_RANGE),)
    assert [latest.key for latest in store.latest(LINE)] == ["extruder.melt_temp"]


READINGS = st.dictionaries(
    st.integers(1, 2**62),
    st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(QUALITIES)),
    min_size=1,
    max_size=50,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(readings=READINGS)
def test_every_float64_and_every_ns_comes_back_exactly(new_store, readings):
    store = new_store()
    store.write([row(time_ns, x=value, quality={"x": quality}) for time_ns, (value, quality) in readings.items()])
    (series,) = store.window(LINE, ["extruder.x"], 0, 2**62 + 1)
    expected = sorted(readings.items())
    assert series.time_ns.tolist() == [time_ns for time_ns, _ in expected]
    bits = np.array([value + 0.0 for _, (value, _) in expected]).view(np.uint64)  # -0.0 is kept as 0.0
    assert series.value.view(np.uint64).tolist() == bits.tolist()
    assert [QUALITIES[index] for index in series.quality] == [quality for _, (_, quality) in expected]
    (latest,) = store.latest(LINE)
    assert (latest.time_ns, latest.value) == (expected[-1][0], expected[-1][1][0])


def test_numpy_numbers_and_whole_numbers_are_kept_as_floats(store):
    store.write([row(T0, x=np.float64(0.1)), row(T0 + 1, x=3), row(T0 + 2, x=2**63), row(T0 + 3, x=1e22)])
    (series,) = store.window(LINE, ["extruder.x"], 0, 2**62)
    assert series.value.tolist() == [0.1, 3.0, 2.0**63, 1e22]


def test_threads_may_read_while_one_writes(store):
    rows = [row(T0 + n, melt_temp=float(n)) for n in range(2_000)]
    wrong = []

    def read() -> None:
        for _ in range(20):
            (series,) = store.window(LINE, ["extruder.melt_temp"], 0, 2**62)
            if not np.array_equal(series.value, np.arange(len(series.value), dtype=float)):
                wrong.append(series)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for start in range(0, len(rows), 100):
        store.write(rows[start : start + 100])
    for reader in readers:
        reader.join()
    assert wrong == []


def test_the_embedded_store_is_the_default_and_lives_in_the_data_folder(tmp_path):
    settings = load_settings(data_dir=tmp_path / "data")
    store = open_store(settings)
    store.check()
    store.close()
    assert store.name == f"embedded {settings.embedded_store_path}"
    assert settings.embedded_store_path.is_file()


def test_an_address_chooses_influxdb(influxdb):
    store = open_store(load_settings(influx_url=influxdb.url, influx_token=influxdb.token, influx_org=influxdb.org))
    store.check()
    store.close()
    assert store.name == f"InfluxDB {influxdb.url}/filiere"


# ---- account marks, which dashboards draw and no page reads: each adapter is asked in its own tongue


def account(time_ns: int = T0, *, device: str | None = f"{LINE}/extruder", **values: float) -> AccountMark:
    return AccountMark(collector="north", device=device, time_ns=time_ns, values=values or {"published": 3})


def kept_accounts(store: ReadingsStore) -> list[tuple[str, str | None, int, dict[str, float]]]:
    """(collector, device, time_ns, values) of every account mark, in the order of time."""
    if isinstance(store, EmbeddedStore):
        found = store._connection.execute('SELECT collector, device, time_ns, "values" FROM account_mark')
        marks = [(collector, device or None, at, json.loads(text)) for collector, device, at, text in found]
        return sorted(marks, key=lambda mark: mark[2])
    assert isinstance(store, InfluxStore)
    marks = []
    for measurement in (ACCOUNT_MEASUREMENT, COLLECTOR_MEASUREMENT):
        (tables,) = store._query([f'SELECT * FROM "{measurement}" GROUP BY *'])
        for table in tables:
            tags = {name: value for name, value in table["tags"].items() if value}
            path = [tags[name] for name in ("site", "workshop", "line", "device") if name in tags]
            for at, *fields in table["values"]:
                values = {
                    name: value for name, value in zip(table["columns"][1:], fields, strict=True) if value is not None
                }
                marks.append((tags["collector"], "/".join(path) or None, at, values))
    return sorted(marks, key=lambda mark: mark[2])


def test_accounts_of_devices_of_strangers_and_of_the_collector_are_kept_once(store):
    marks = [
        account(T0, published=3, stored=2, skew_s=-0.5),
        account(T0 + 1, device=UNKNOWN_DEVICE, published=2.0**53),
        account(T0 + 2, device=None, log_lag=7),
    ]
    store.write([], [], marks)
    store.write([row()], [mark()], marks)
    assert kept_accounts(store) == [
        ("north", f"{LINE}/extruder", T0, {"published": 3, "stored": 2, "skew_s": -0.5}),
        ("north", "?", T0 + 1, {"published": 2**53}),
        ("north", None, T0 + 2, {"log_lag": 7}),
    ]
    assert [latest.key for latest in store.latest(LINE)] == ["extruder.melt_temp"]


def test_an_account_of_an_instant_is_replaced_by_the_next_one(store):
    store.write([], [], [account(published=1)])
    store.write([], [], [account(published=2)])
    assert [values for _, _, _, values in kept_accounts(store)] == [{"published": 2}]


@pytest.mark.parametrize(
    "bad",
    [
        account(published=float("nan")),
        account(skew_s=float("inf")),
        account(device="extruder"),
        account(device=f"{LINE}/ex\ntruder"),
        account(device=""),
        account(time=1.0),
        AccountMark(collector="", device=None, time_ns=T0, values={"log_lag": 1}),
        AccountMark(collector="a\nb", device=None, time_ns=T0, values={"log_lag": 1}),
    ],
)
def test_an_account_that_one_store_could_not_keep_is_refused_by_both(store, bad):
    with pytest.raises(StoreRefused, match=r"got .*; expected"):
        store.write([], [], [account(), bad])
    assert kept_accounts(store) == []


def test_a_store_of_the_version_before_accounts_is_brought_up_to_date(tmp_path):
    path = tmp_path / "readings.sqlite"
    with contextlib.closing(EmbeddedStore.open(path)) as old:
        old.write([row()])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript("DROP TABLE account_mark; PRAGMA user_version = 1;")
    with contextlib.closing(EmbeddedStore.open(path)) as store:
        store.write([], [], [account()])
        assert len(kept_accounts(store)) == 1
        assert [latest.value for latest in store.latest(LINE)] == [231.4]
