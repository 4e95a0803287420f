"""Every answer that a recorder can get from an InfluxDB: nothing is lost or doubled, only what is bad is refused.

Where the real server cannot be made to say it, a small one of the test's own does.
"""

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

import pytest
from structlog.testing import capture_logs

import filiere.influx_store
from collector.patience import ASKED_WAIT_S_MAX, WAIT_S_MAX, Patience, Stopped
from filiere.clock import NS_PER_S, system_clock
from filiere.errors import StoreRefused, StoreUnavailable
from filiere.influx_store import InfluxStore
from filiere.readings import Block
from tests.collector.builders import LINE, NOON_NS, Rig, readings

KEY = "extruder.melt_temp"
BAD = 66.0
"""The value that the scripted server does not take."""


@dataclass
class Scripted:
    """Takes lines; what it says instead is decided by `script`, called with the lines of a write (a check has none)."""

    script: object = lambda _lines: None
    points: dict = field(default_factory=dict)
    """(head, time) → fields: the last write stands."""
    writes: int = 0

    def write(self, lines):
        self.writes += 1
        said = self.script(lines) or (204, b"", {}, lines)
        status, body, headers, taken = said
        for line in taken:
            head, fields, time_ns = line.rsplit(" ", 2)
            self.points[head, int(time_ns)] = fields
        return status, body, headers


def says(status, words="", *, taken=(), **headers):
    body = f'{{"code":"x","message":"{words}"}}'.encode()
    return status, body, {name.replace("_", "-"): value for name, value in headers.items()}, taken


@contextmanager
def serving(scripted):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            self._answer(*scripted.write([line for line in body.split("\n") if line]))

        def do_GET(self):
            self._answer(200, b'{"buckets":[{"name":"b"}]}', {})

        def _answer(self, status, body, headers):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.005,))
    thread.start()
    store = InfluxStore(url=f"http://127.0.0.1:{server.server_port}", token="t", org="o", bucket="b")
    try:
        yield store
    finally:
        store.close()
        server.shutdown()
        thread.join()
        server.server_close()


class Waits:
    """A stop event that does not wait, notes how long it would have, and stops after `most` waits."""

    def __init__(self, most=100):
        self.asked, self._most = [], most

    def is_set(self):
        return False

    def wait(self, wait_s):
        self.asked.append(wait_s)
        return len(self.asked) >= self._most


@pytest.fixture
def scripted():
    return Scripted()


@pytest.fixture
def rig(tmp_path, scripted):
    """A recorder that writes to the scripted server and does not wait."""
    with serving(scripted) as store, Rig(tmp_path) as rig:
        use(rig, store)
        yield rig


def use(rig, store, waits=None):
    """The rig's recorder on another store; its own is closed with the rig."""
    kept, rig.store, rig.stop = rig.store, store, waits or Waits()
    rig.restart()
    rig.store = kept


def one(value=1.0, time_ns=1):
    return Block.one(line=LINE, device="extruder", time_ns=time_ns, values={"melt_temp": value})


def send(rig, count, *, bad=()):
    rig.arrive(*(readings(seq=seq, melt_temp=BAD if seq in bad else 200 + seq) for seq in range(count)))
    while rig.recorder.step():
        pass


def is_bad(line):
    return f"melt_temp={BAD}" in line


def assert_refused_alone(rig, scripted, count, bad, words):
    refused = sorted(rig.book.quarantine(), key=lambda each: each.offset)
    assert [each.seq for each in refused] == sorted(bad)
    assert all(each.reason == "store_refused" and words in each.message for each in refused)
    assert {time_ns for _, time_ns in scripted.points} == {
        NOON_NS + seq * NS_PER_S + seq for seq in range(count) if seq not in bad
    }
    (counts,) = rig.book.counts().values()
    assert (counts.stored, counts.duplicates) == (count - len(bad), 0)


# wait


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_for_a_wait_gets_it(scripted, status):
    answers = [says(status, "too busy", Retry_After="7")] * 2
    scripted.script = lambda _: answers.pop() if answers else None
    waits = Waits()
    with serving(scripted) as store:
        Patience(stop=waits, random=Random(1), note=lambda _: None).until_done(lambda: store.write([one()]))
    assert waits.asked == [7.0, 7.0]
    assert len(scripted.points) == 1


@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [("0", None), ("", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-5", None), ("1e9", None), ("86400", 60.0)],
)
def test_a_wait_that_is_none_or_too_long_is_not_believed(scripted, retry_after, wait_s):
    scripted.script = lambda _: says(503, "down", Retry_After=retry_after)
    waits = Waits(most=3)
    with serving(scripted) as store, pytest.raises(Stopped):
        Patience(stop=waits, random=Random(1), note=lambda _: None).until_done(lambda: store.write([one()]))
    assert ASKED_WAIT_S_MAX == 60.0
    assert all(asked == wait_s if wait_s else 0 < asked < WAIT_S_MAX for asked in waits.asked)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_is_busy_or_broken_for_a_while_gets_every_row_once(rig, scripted, status):
    scripted.script = lambda _: says(status, "not now") if scripted.writes % 3 else None
    send(rig, 50)
    assert_refused_alone(rig, scripted, 50, set(), "")


def test_one_that_breaks_after_it_wrote_is_asked_again_and_has_each_row_once(rig, scripted):
    """The answer of a write that was done is lost: 500 after all lines were taken."""
    scripted.script = lambda lines: says(500, "no answer", taken=lines) if scripted.writes == 1 else None
    send(rig, 50)
    assert_refused_alone(rig, scripted, 50, set(), "")


# refuse what is bad, and only that


@pytest.mark.parametrize("bad", [{0}, {49}, {7, 8, 31}, set(range(50))])
def test_400_refuses_all_and_only_the_bad_lines_go_to_quarantine(rig, scripted, bad):
    scripted.script = lambda lines: says(400, "unable to parse") if any(map(is_bad, lines)) else None
    send(rig, 50, bad=bad)
    assert_refused_alone(rig, scripted, 50, bad, "unable to parse")


@pytest.mark.parametrize("bad", [{0}, {49}, {7, 8, 31}])
def test_422_writes_the_good_lines_and_only_the_bad_ones_go_to_quarantine(rig, scripted, bad):
    def script(lines):
        good = [line for line in lines if not is_bad(line)]
        return says(422, "partial write: field type conflict", taken=good) if len(good) < len(lines) else None

    scripted.script = script
    send(rig, 50, bad=bad)
    assert_refused_alone(rig, scripted, 50, bad, "partial write")


def test_413_is_answered_with_smaller_writes_and_nothing_is_refused(rig, scripted):
    scripted.script = lambda lines: says(413, "request too large") if len(lines) > 4 else None
    send(rig, 50)
    assert_refused_alone(rig, scripted, 50, set(), "")


def test_a_line_that_is_too_large_alone_goes_to_quarantine_alone(rig, scripted):
    scripted.script = lambda lines: says(413, "request too large") if any(map(is_bad, lines)) else None
    send(rig, 50, bad={20})
    assert_refused_alone(rig, scripted, 50, {20}, "raise the server's limit")


def test_a_server_that_breaks_while_the_bad_line_is_looked_for_loses_nothing(rig, scripted):
    def script(lines):
        if scripted.writes in (3, 6):
            return says(503, "restarting", Retry_After="1")
        return says(400, "unable to parse") if any(map(is_bad, lines)) else None

    scripted.script = script
    send(rig, 50, bad={20, 21})
    assert_refused_alone(rig, scripted, 50, {20, 21}, "unable to parse")


# hold


@pytest.mark.parametrize(("status", "step"), [(401, "FILIERE_INFLUX_TOKEN"), (403, "leave to"), (404, "INFLUX_BUCKET")])
def test_a_server_that_refuses_everything_holds_everything_and_quarantines_nothing(rig, scripted, status, step):
    """Credentials and places are put right by people: until then nothing is a row's own fault."""
    scripted.script = lambda _: says(status, "no") if scripted.writes <= 6 else None
    with capture_logs() as logs:
        send(rig, 50)
    assert any(step in line.get("problem", "") for line in logs)
    assert_refused_alone(rig, scripted, 50, set(), "")


# the real server


@pytest.fixture
def bucket(influxdb):
    return influxdb.new_bucket()


@contextmanager
def real(influxdb, bucket, *, token=None):
    store = InfluxStore(url=influxdb.url, token=token or influxdb.token, org=influxdb.org, bucket=bucket)
    try:
        yield store
    finally:
        store.close()


def held(store):
    (series,) = store.window(LINE, [KEY], 0, 2**62)
    return series.time_ns.tolist()


def test_rows_older_than_the_buckets_retention_are_refused_with_the_servers_words(influxdb, tmp_path):
    """422 of the real server: it writes the young ones and drops the others."""
    org = influxdb.call("GET", f"/api/v2/orgs?org={influxdb.org}")["orgs"][0]["id"]
    rule = [{"type": "expire", "everySeconds": 3600, "shardGroupDurationSeconds": 3600}]
    name = f"{tmp_path.name}-short"
    influxdb.call("POST", "/api/v2/buckets", {"name": name, "orgID": org, "retentionRules": rule})
    now_ns = system_clock() // NS_PER_S * NS_PER_S
    with real(influxdb, name) as store, Rig(tmp_path, clock_ns=now_ns) as rig:
        use(rig, store)
        old = {3, 7}
        rig.arrive(
            *(readings(seq=seq, time_ns=now_ns - (86_400 if seq in old else seq) * NS_PER_S) for seq in range(10))
        )
        while rig.recorder.step():
            pass
        refused = list(rig.book.quarantine())
        assert {each.seq for each in refused} == old
        assert all("retention policy" in each.message for each in refused)
        assert held(store) == sorted(now_ns - seq * NS_PER_S + seq for seq in range(10) if seq not in old)


def test_a_bucket_that_was_deleted_holds_everything_until_there_is_one(influxdb, bucket, tmp_path):
    with real(influxdb, bucket) as store, Rig(tmp_path) as rig:
        use(rig, store, Waits(most=3))
        rig.record(readings(seq=0))
        found = influxdb.call("GET", f"/api/v2/buckets?name={bucket}")["buckets"][0]
        influxdb.call("DELETE", f"/api/v2/buckets/{found['id']}")
        rig.arrive(*(readings(seq=seq) for seq in range(1, 20)))
        with pytest.raises(Stopped):
            rig.recorder.step()
        assert "not found" in rig.book.progress().store_problem
        assert list(rig.book.quarantine()) == []
        influxdb.call("POST", "/api/v2/buckets", {"name": bucket, "orgID": found["orgID"], "retentionRules": []})
        use(rig, store)
        rig.record()
        assert len(held(store)) == 19
        assert list(rig.book.quarantine()) == []


def test_a_token_that_was_withdrawn_holds_everything(influxdb, bucket, tmp_path):
    found = influxdb.call("GET", f"/api/v2/buckets?name={bucket}")["buckets"][0]
    resource = {"type": "buckets", "id": found["id"], "orgID": found["orgID"]}
    asked = {"orgID": found["orgID"], "permissions": [{"action": do, "resource": resource} for do in ("read", "write")]}
    made = influxdb.call("POST", "/api/v2/authorizations", asked)
    with real(influxdb, bucket, token=made["token"]) as store, Rig(tmp_path) as rig:
        use(rig, store, Waits(most=2))
        rig.record(readings(seq=0))
        influxdb.call("DELETE", f"/api/v2/authorizations/{made['id']}")
        rig.arrive(readings(seq=1))
        with pytest.raises(Stopped):
            rig.recorder.step()
        assert "check FILIERE_INFLUX_TOKEN" in rig.book.progress().store_problem
        assert list(rig.book.quarantine()) == []


def test_a_server_that_hangs_is_left_after_the_time_out_and_has_each_row_once_in_the_end(influxdb, bucket, monkeypatch):
    monkeypatch.setattr(filiere.influx_store, "READ_TIMEOUT_MS", 400)
    with real(influxdb, bucket) as store:
        store.write([one(1.0, NOON_NS)])
        influxdb.pause()
        try:
            with pytest.raises(StoreUnavailable, match="got no answer"):
                store.write([one(2.0, NOON_NS + 1), one(3.0, NOON_NS + 2)])
        finally:
            influxdb.go_on()
        with real(influxdb, bucket) as patient:
            patient.write([one(2.0, NOON_NS + 1), one(3.0, NOON_NS + 2)])
            assert held(patient) == [NOON_NS, NOON_NS + 1, NOON_NS + 2]


def test_a_line_that_the_real_server_cannot_parse_is_named_by_it(influxdb, bucket):
    with (
        real(influxdb, bucket) as store,
        pytest.raises(StoreRefused, match=r"said 400 .*correct the line that it names"),
    ):
        store._send("reading,device=x melt_temp=1.0 1\nreading,device=x melt_temp= 2")
