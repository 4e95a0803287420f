"""What InfluxDB answers becomes wait (StoreUnavailable) or hold (StoreRefused), in words that a person can act on."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from filiere.errors import FiliereError, StoreRefused, StoreUnavailable
from filiere.influx_store import InfluxStore
from filiere.readings import OUT_OF_RANGE, STATE_IDLE, STATE_RUNNING, Block, RunMark

LINE = "caux/textile/t1"
LINE_TAGS = "line=t1,site=caux,workshop=textile"
DEVICE_TAGS = f"device=extruder,{LINE_TAGS}"
T0 = 1_795_425_245_250_000_041
ROW = Block.one(line=LINE, device="extruder", time_ns=T0, values={"melt_temp": 231.4})
CALLS = {
    "write": lambda store: store.write([ROW]),
    "window": lambda store: store.window(LINE, ["extruder.melt_temp"], 0, T0),
    "latest": lambda store: store.latest(LINE),
    "check": lambda store: store.check(),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


class Answering(BaseHTTPRequestHandler):
    """Gives the same answer to every request and keeps what it was asked."""

    status, headers_out, body = 204, {}, b""
    asked: list[bytes]

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.send_response(self.status)
        for name, value in self.headers_out.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def answering() -> Iterator:
    """Starts a server with one answer and gives a store that asks it."""
    started = []

    def start(status: int, body: bytes = b"", **headers: str) -> tuple[InfluxStore, list[bytes]]:
        asked: list[bytes] = []
        kind = type(
            "Kind",
            (Answering,),
            {
                "status": status,
                "body": body,
                "headers_out": {k.replace("_", "-"): v for k, v in headers.items()},
                "asked": asked,
            },
        )
        server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
        thread = threading.Thread(target=server.serve_forever, args=(0.005,))
        thread.start()
        store = InfluxStore(url=f"http://127.0.0.1:{server.server_port}", token="t", org="o", bucket="b")
        started.append((store, server, thread))
        return store, asked

    yield start
    for store, server, thread in started:
        store.close()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def store(influxdb) -> Iterator[InfluxStore]:
    store = InfluxStore(url=influxdb.url, token=influxdb.token, org=influxdb.org, bucket=influxdb.new_bucket())
    yield store
    store.close()


@every_call
def test_nobody_listening_means_wait(call):
    store = InfluxStore(url="http://127.0.0.1:9", token="t", org="o", bucket="b")
    with pytest.raises(StoreUnavailable, match=r"^InfluxDB http://127\.0\.0\.1:9/b: got no answer .*is InfluxDB run"):
        call(store)
    store.close()


@every_call
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_server_that_is_busy_or_broken_means_wait(answering, call, status):
    store, _ = answering(status, b'{"code":"x","message":"engine: cache-max-memory-size exceeded"}', Retry_After="7")
    with pytest.raises(StoreUnavailable, match=f"said {status} engine: cache-max.*exceeded; try again in 7 s"):
        call(store)


def test_without_retry_after_none_is_said(answering):
    store, _ = answering(503, b"<html>down</html>")
    with pytest.raises(StoreUnavailable, match=r"said 503 <html>down</html>; try again$"):
        store.write([ROW])


@every_call
@pytest.mark.parametrize(
    ("status", "step"),
    [
        (400, "correct the line that it names"),
        (401, "check FILIERE_INFLUX_TOKEN"),
        (403, "leave to read and write the bucket"),
        (404, "check FILIERE_INFLUX_URL, FILIERE_INFLUX_ORG and FILIERE_INFLUX_BUCKET"),
        (413, "limit on the size of a request"),
        (422, "the other lines were written"),
        (301, "check FILIERE_INFLUX_URL"),
    ],
)
def test_a_server_that_says_no_means_hold_with_its_words_and_the_next_step(answering, call, status, step):
    store, _ = answering(status, b'{"code":"x","message":"the reason"}')
    with pytest.raises(StoreRefused, match=f"said {status} the reason; .*{step}"):
        call(store)


@every_call
def test_a_connection_that_breaks_means_wait(answering, call):
    store, _ = answering(200, b"{}", Transfer_Encoding="chunked")
    with pytest.raises(StoreUnavailable):
        call(store)


@pytest.mark.parametrize("body", [b"", b"<html>a login page</html>", b"{}", b"[]", b'{"results":[{"series":['])
def test_an_answer_that_is_not_a_query_result_means_wait(answering, body):
    store, _ = answering(200, body)
    with pytest.raises(StoreUnavailable, match="expected JSON with 'results'"):
        store.latest(LINE)


def test_an_error_inside_an_answer_is_an_error(answering):
    store, _ = answering(200, b'{"results":[{"statement_id":0,"error":"engine is closed"}]}')
    with pytest.raises(StoreUnavailable, match="the server said 'engine is closed'; trying again may help"):
        store.latest(LINE)


def test_a_server_that_never_answers_means_wait(monkeypatch):
    monkeypatch.setattr("filiere.influx_store.READ_TIMEOUT_MS", 50)
    silent = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # listens; nobody serves
    store = InfluxStore(url=f"http://127.0.0.1:{silent.server_port}", token="t", org="o", bucket="b")
    with pytest.raises(StoreUnavailable, match="timed out"):
        store.write([ROW])
    store.close()
    silent.server_close()


def test_the_wire_holds_one_line_a_row_and_a_quality_only_where_it_is_not_good(answering):
    store, asked = answering(204)
    row = Block.one(
        line=LINE,
        device="extruder",
        time_ns=T0,
        values={"melt_temp": 231.4, "melt_pressure": 44},
        quality={"melt_temp": OUT_OF_RANGE, "melt_pressure": ""},
    )
    mark = RunMark(line=LINE, time_ns=T0, state=STATE_RUNNING, run="R1", lot='say "L\\1"', recipe="")
    store.write([row], [mark])
    (body,) = asked
    assert body.decode().splitlines() == [
        f'reading,{DEVICE_TAGS} melt_temp=231.4,melt_pressure=44.0,q_melt_temp="out_of_range" {T0}',
        f'run,{LINE_TAGS} state="running",run="R1",lot="say \\"L\\\\1\\"",recipe="" {T0}',
    ]


def test_a_stopped_server_means_wait_and_a_started_one_has_everything(influxdb, store):
    store.write([ROW])
    influxdb.kill()
    for call in CALLS.values():
        with pytest.raises(StoreUnavailable):
            call(store)
    influxdb.start()
    store.check()
    (series,) = store.window(LINE, ["extruder.melt_temp"], 0, T0 + 1)
    assert series.value.tolist() == [231.4]


@every_call
def test_a_wrong_token_means_hold(influxdb, call):
    store = InfluxStore(url=influxdb.url, token="wrong", org=influxdb.org, bucket=influxdb.bucket)
    with pytest.raises(StoreRefused, match=r"said 401 .*; check FILIERE_INFLUX_TOKEN"):
        call(store)
    store.close()


@every_call
def test_a_bucket_that_is_not_there_means_hold(influxdb, call):
    store = InfluxStore(url=influxdb.url, token=influxdb.token, org=influxdb.org, bucket="nowhere")
    with pytest.raises(StoreRefused, match=r"nowhere.* not found|not found: nowhere"):
        call(store)
    store.close()


def test_an_organisation_that_is_not_there_means_hold(influxdb):
    store = InfluxStore(url=influxdb.url, token=influxdb.token, org="nowhere", bucket=influxdb.bucket)
    for call in (CALLS["write"], CALLS["check"]):
        with pytest.raises(StoreRefused, match='organization name "nowhere" not found'):
            call(store)
    store.close()


@pytest.mark.parametrize(
    ("actions", "words"), [(["read"], "insufficient permissions for write"), (["write"], "may write and not read")]
)
def test_a_token_that_may_do_half_is_found_by_the_check(influxdb, actions, words):
    bucket = influxdb.call("GET", f"/api/v2/buckets?name={influxdb.new_bucket()}")["buckets"][0]
    resource = {"type": "buckets", "id": bucket["id"], "orgID": bucket["orgID"]}
    permissions = [{"action": action, "resource": resource} for action in actions]
    made = influxdb.call("POST", "/api/v2/authorizations", {"orgID": bucket["orgID"], "permissions": permissions})
    store = InfluxStore(url=influxdb.url, token=made["token"], org=influxdb.org, bucket=bucket["name"])
    with pytest.raises(StoreRefused, match=words):
        store.check()
    store.close()


def test_a_token_for_this_bucket_alone_is_enough(influxdb):
    bucket = influxdb.call("GET", f"/api/v2/buckets?name={influxdb.new_bucket()}")["buckets"][0]
    resource = {"type": "buckets", "id": bucket["id"], "orgID": bucket["orgID"]}
    permissions = [{"action": action, "resource": resource} for action in ("read", "write")]
    made = influxdb.call("POST", "/api/v2/authorizations", {"orgID": bucket["orgID"], "permissions": permissions})
    store = InfluxStore(url=influxdb.url, token=made["token"], org=influxdb.org, bucket=bucket["name"])
    for call in CALLS.values():
        call(store)
    store.close()


@pytest.mark.parametrize(
    "text", ["L1", "", 'a "quoted" \\ text', "two\nlines, a=b", "lot n° 7 — été", "\\", '"', "\\n"]
)
def test_run_marks_come_back_as_text(store, text):
    marks = [
        RunMark(line=LINE, time_ns=T0, state=STATE_RUNNING, run="R1", lot=text, recipe=text),
        RunMark(line=LINE, time_ns=T0 + 1, state=STATE_IDLE, run="R1", lot="", recipe=""),
    ]
    store.write([], marks)
    store.write([], marks)
    (tables,) = store._query(['SELECT "state", "run", "lot", "recipe" FROM "run"'])
    assert json.loads(json.dumps(tables[0]["values"])) == [
        [T0, STATE_RUNNING, "R1", text, text],
        [T0 + 1, STATE_IDLE, "R1", "", ""],
    ]


def test_text_that_is_not_unicode_is_refused(store):
    mark = RunMark(line=LINE, time_ns=T0, state=STATE_RUNNING, run="\udcff", lot="", recipe="")
    with pytest.raises(StoreRefused, match="not Unicode"):
        store.write([], [mark])


def test_nothing_foreign_crosses_the_border(answering):
    """Whatever the status, what is raised is in the one error tree."""
    for status in (*range(300, 308), *range(400, 430), *range(500, 512)):
        store, _ = answering(status, b"\xff\xfe")
        for call in CALLS.values():
            with pytest.raises(FiliereError):
                call(store)


def test_lines_for_a_server_elsewhere_go_compressed_and_are_the_same(store, influxdb, monkeypatch):
    monkeypatch.setattr("filiere.influx_store.NEAR", ())
    far = InfluxStore(url=influxdb.url, token=influxdb.token, org=influxdb.org, bucket=store._bucket)
    far.check()
    far.write([ROW])
    far.close()
    (series,) = store.window(LINE, ["extruder.melt_temp"], 0, T0 + 1)
    assert series.value.tolist() == [231.4]
