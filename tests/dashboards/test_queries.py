"""Every query of every panel, against a real InfluxDB 2 that a simulated plant filled, asked as Grafana asks it."""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from collector.accounts.marks import marks_of
from collector.codec import decode_event, decode_readings, parse_topic
from dashboards import queries
from dashboards.builder import build
from dashboards.grafana import datasource
from filiere.events import RunStarted, parse_event
from filiere.influx_store import InfluxStore
from filiere.message_log import MessageLog
from filiere.plant_file import load_plant
from filiere.readings import (
    ACCOUNT_FIELDS,
    COLLECTOR_FIELDS,
    STATE_IDLE,
    STATE_RUNNING,
    UNKNOWN_DEVICE,
    AccountMark,
    Block,
    RunMark,
    stored_time_ns,
)
from filiere.settings import load_settings
from simulators.line.simulation import simulate
from tests.collector.book_by_hand import Book
from tests.servers import InfluxDB

PLANT = load_plant("caux")
DASHBOARDS = build(PLANT)
LINE = PLANT.line("caux/flax/f1")
NS_PER_S = 1_000_000_000
INTO_THE_RUN_NS = 3600 * NS_PER_S
KEPT_NS = 7200 * NS_PER_S


@dataclass
class Bucket:
    server: InfluxDB
    name: str

    def write(
        self, rows: Iterable[Block] = (), marks: Iterable[RunMark] = (), accounts: Iterable[AccountMark] = ()
    ) -> None:
        store = InfluxStore(url=self.server.url, token=self.server.token, org=self.server.org, bucket=self.name)
        store.write(list(rows), list(marks), list(accounts))
        store.close()

    def ask(self, query: str) -> list[list]:
        """Rows of the answer, asked with the fields of the datasource that we push."""
        source = datasource(self.server.url, self.name)
        assert source["jsonData"]["httpMode"] == "GET"
        parameters = urllib.parse.urlencode({"db": source["jsonData"]["dbName"], "q": query, "epoch": "ms"})
        request = urllib.request.Request(
            f"{source['url']}/query?{parameters}",
            headers={source["jsonData"]["httpHeaderName1"]: f"Token {self.server.token}"},
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            (result,) = json.loads(answer.read())["results"]
        assert "error" not in result, (query, result)
        return [values for series in result.get("series", []) for values in series["values"]]


def simulated(now_ns: int) -> tuple[list[Block], list[RunMark]]:
    """Two simulated lines, each shifted in time so that it is one hour into its certified run now."""
    publications = list(simulate(PLANT, seed=7, start_ns=1_790_000_000 * NS_PER_S, lots=1))
    topics = [parse_topic(publication.topic.encode()) for publication in publications]
    started = [
        event
        for topic, publication in zip(topics, publications, strict=True)
        if topic.kind == "events"
        and isinstance(event := parse_event(decode_event(publication.payload).body), RunStarted)
        and PLANT.line(event.line).step(event.step).certified
    ]
    shift_ns = {event.line: now_ns - event.event_time_ns - INTO_THE_RUN_NS for event in started}
    rows = []
    for topic, publication in zip(topics, publications, strict=True):
        if topic.kind != "readings":
            continue
        message = decode_readings(publication.payload)
        for index, event_time_ns in enumerate(message.time_ns):
            time_ns = stored_time_ns(event_time_ns + shift_ns[topic.line_path], message.seq + index)
            values = {key: column[index] for key, column in message.values.items() if column[index] is not None}
            if now_ns - KEPT_NS < time_ns < now_ns:
                rows.append(Block.one(line=topic.line_path, device=topic.device, time_ns=time_ns, values=values))
    marks = [
        RunMark(
            line=event.line,
            time_ns=now_ns - INTO_THE_RUN_NS,
            state=STATE_RUNNING,
            run=event.run,
            lot=event.lot,
            recipe=event.recipe,
        )
        for event in started
    ]
    return rows, marks


def minutes(now_ns: int, *, collector: str = "north", device: str | None = None, **values: float) -> list[AccountMark]:
    """An account a minute of the last hour, its counts rising from nothing to `values`."""
    return [
        AccountMark(
            collector=collector,
            device=device,
            time_ns=now_ns - (60 - minute) * 60 * NS_PER_S,
            values={name: value * minute / 60 for name, value in values.items()},
        )
        for minute in range(61)
    ]


def an_hour_of_accounts(now_ns: int) -> list[AccountMark]:
    """Of every device of the plant, of strangers, and of the collector."""
    counts = dict.fromkeys(ACCOUNT_FIELDS, 60.0)
    collector = dict.fromkeys(COLLECTOR_FIELDS, 120.0)
    devices = [f"{line.path}/{device}" for line in PLANT.lines for device in (*(u.id for u in line.units), "terminal")]
    marks = [mark for device in (*devices, UNKNOWN_DEVICE) for mark in minutes(now_ns, device=device, **counts)]
    return marks + minutes(now_ns, **collector)


@pytest.fixture(scope="module")
def running(influxdb) -> Bucket:
    """A bucket with both lines an hour into a run."""
    bucket = Bucket(server=influxdb, name=influxdb.new_bucket())
    now_ns = time.time_ns()
    rows, marks = simulated(now_ns)
    bucket.write(rows, marks, an_hour_of_accounts(now_ns))
    return bucket


@pytest.fixture
def empty(influxdb) -> Bucket:
    return Bucket(server=influxdb, name=influxdb.new_bucket())


def as_grafana_sends(query: str, panel: dict) -> str:
    """Fill in the window of the dashboard, now-1h to now, and the width of a pixel."""
    now_ms = time.time_ns() // 1_000_000
    window = f"time >= {now_ms - 3_600_000}ms and time <= {now_ms}ms"
    filled = query.replace("$timeFilter", window).replace("$__interval", panel.get("interval", "10s"))
    assert "$" not in filled
    return filled


def panels(name: str) -> list[dict]:
    return [panel for panel in DASHBOARDS[name]["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_every_query_of_every_panel_returns_rows(running, name):
    asked = 0
    for panel in panels(name):
        for target in panel["targets"]:
            values = [value for _, value in running.ask(as_grafana_sends(target["query"], panel)) if value is not None]
            assert values, f"{panel['title']}: no rows for {target['query']}"
            asked += 1
    assert asked > 20


def test_no_database_mapping_is_set_up(running):
    orgs = running.server.call("GET", f"/api/v2/orgs?org={running.server.org}")["orgs"]
    mappings = running.server.call("GET", f"/api/v2/dbrps?orgID={orgs[0]['id']}")["content"]
    assert [mapping for mapping in mappings if not mapping.get("virtual")] == []


def test_the_screen_says_that_the_line_runs_and_which_lot(running):
    (_, state), (_, lot), (_, recipe) = (
        running.ask(queries.last_of_run(LINE, field))[0] for field in ("state", "lot", "recipe")
    )
    assert state == STATE_RUNNING
    assert lot.startswith("F1-")
    assert recipe == "lin30-pp"


def test_an_idle_line_has_no_lot_and_no_recipe(empty):
    now_ns = time.time_ns()
    day_ns = 86_400 * NS_PER_S
    started = RunMark(line=LINE.path, time_ns=now_ns - 9 * day_ns, state=STATE_RUNNING, run="r", lot="l", recipe="p")
    stopped = RunMark(line=LINE.path, time_ns=now_ns - 8 * day_ns, state=STATE_IDLE, run="r", lot="", recipe="")
    empty.write(marks=[started, stopped])
    assert [empty.ask(queries.last_of_run(LINE, field))[0][1] for field in ("state", "lot")] == [STATE_IDLE, ""]


def test_a_device_that_went_silent_has_no_newest_reading(empty):
    signal = LINE.signal("extruder.melt_temp")
    late_s = queries.silent_after_s(signal) + 10
    empty.write([row(signal.device, {signal.id: 190.0}, age_s=late_s)])
    assert empty.ask(queries.newest(LINE, signal)) == []
    empty.write([row(signal.device, {signal.id: 191.0}, age_s=2)])
    assert [value for _, value in empty.ask(queries.newest(LINE, signal))] == [191.0]


def test_a_silent_signal_ends_with_null_and_keeps_its_place_among_the_alarms(empty):
    signal = LINE.signal("extruder.melt_temp")
    empty.write([row(signal.device, {signal.id: 190.0}, age_s=600)])
    values = [value for _, value in empty.ask(queries.now_or_nothing(LINE, signal))]
    assert values[-1] is None
    assert 190.0 in values


def test_the_last_step_of_an_alarm_is_never_one_that_just_began(empty):
    signal = LINE.signal("extruder.melt_temp")
    empty.write([row(signal.device, {signal.id: 190.0}, age_s=queries.silent_after_s(signal) * 0.7)])
    assert empty.ask(queries.now_or_nothing(LINE, signal))[-1][1] == 190.0


def test_another_line_is_not_seen(empty):
    signal = LINE.signal("extruder.melt_temp")
    empty.write([row(signal.device, {signal.id: 190.0}, age_s=2, line="caux/textile/t1")])
    assert empty.ask(queries.newest(LINE, signal)) == []


def test_what_several_collectors_count_is_added_up(empty):
    device = f"{LINE.path}/extruder"
    now_ns = time.time_ns()
    empty.write(accounts=minutes(now_ns, device=device, missing=6) + minutes(now_ns, device=UNKNOWN_DEVICE, missing=1))
    empty.write(accounts=minutes(now_ns, collector="south", device=device, missing=60))
    assert [value for _, value in empty.ask(queries.account_now(LINE, "extruder", "missing"))] == [66]
    assert [value for _, value in empty.ask(queries.total_now("missing"))] == [67]
    panel = {"interval": queries.ACCOUNT_STEP}
    curve = [value for _, value in empty.ask(as_grafana_sends(queries.total_curve("missing"), panel)) if value]
    assert max(curve) == 67
    rates = [value for _, value in empty.ask(as_grafana_sends(queries.total_rate("missing"), panel)) if value]
    assert rates == pytest.approx([67 / 60] * len(rates))
    assert len(rates) > 50


def test_what_a_collector_writes_is_what_the_panels_ask(empty, tmp_path):
    settings = load_settings(data_dir=tmp_path)
    book = Book(settings.recorder_path)
    for line in PLANT.lines:
        for unit in line.units:
            book.stored(1, 5, device=f"{line.path}/{unit.id}").heard(0, device=f"{line.path}/{unit.id}", skew_s=0.5)
        book.stored(0, device=f"{line.path}/terminal").heard(0, device=f"{line.path}/terminal")
    book.refused(7, device="x/y/z/stranger", reason="unknown_device").write()
    with MessageLog.open(settings.log_path) as log:
        log.append([(b"t", b"p", 1)])
    now_ns = time.time_ns()
    draw = marks_of(settings, PLANT)
    empty.write(accounts=draw(now_ns - 60 * NS_PER_S) + draw(now_ns))
    for panel in panels("caux-collector-fr.json"):
        for target in panel["targets"]:
            values = [value for _, value in empty.ask(as_grafana_sends(target["query"], panel)) if value is not None]
            assert values, f"{panel['title']}: no rows for {target['query']}"
    machines = sum(len(line.units) for line in PLANT.lines)
    assert [value for _, value in empty.ask(queries.total_now("missing"))] == [machines]
    assert [value for _, value in empty.ask(queries.total_now("quarantined"))] == [1]


def test_one_collector_that_accepts_nothing_is_not_hidden_by_another(empty):
    now_ns = time.time_ns()
    for collector, ok in (("north", 1.0), ("south", 0.0)):
        empty.write(accounts=[AccountMark(collector=collector, device=None, time_ns=now_ns, values={"intake_ok": ok})])
    assert [value for _, value in empty.ask(queries.collector_now("intake_ok", "min"))] == [0]


def test_a_collector_that_is_silent_says_nothing_of_now(empty):
    long_ago_ns = time.time_ns() - round((queries.ACCOUNT_STALE_S + 10) * NS_PER_S)
    empty.write(accounts=minutes(long_ago_ns, intake_ok=1) + minutes(long_ago_ns, device=UNKNOWN_DEVICE, missing=1))
    assert empty.ask(queries.collector_now("intake_ok", "min")) == []
    assert empty.ask(queries.total_now("missing")) == []


def test_names_cannot_leave_their_quotes():
    assert queries.name('a"b\\') == '"a\\"b\\\\"'
    assert queries.text("a'b\\") == "'a\\'b\\\\'"


@pytest.mark.parametrize(("seconds", "shown"), [(15.0, "15s"), (0.5, "500ms"), (300, "300s")])
def test_durations_are_whole(seconds, shown):
    assert queries.duration(seconds) == shown


def row(device: str, values: dict[str, float], *, age_s: float, line: str = LINE.path) -> Block:
    return Block.one(line=line, device=device, time_ns=time.time_ns() - round(age_s * NS_PER_S), values=values)
