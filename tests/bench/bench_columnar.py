"""Columnar payloads, as a gateway sends them, against what InfluxDB 2 takes when it is fed the same lines directly."""

import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from itertools import islice
from urllib.parse import urlencode

from tests.bench import Bench, Measurement, from_values
from tests.bench.consumers import Filiere, drop_bucket
from tests.bench.streams import Columns, yesterday_ms
from tests.bench.wire import Load, Publishing
from tests.servers import InfluxDB

MESSAGES = 5_000
ROUNDS = 3
SHARE_GOAL, LOG_GOAL = 0.7, 200_000.0
DIRECT_LINES = 5_000
"""Lines of one request where InfluxDB is fed directly."""
POLL_S = 0.005
NO_CONTENT = 204


def bench_columnar(bench: Bench) -> Iterator[Measurement]:
    """Messages of 100 rows × 10 signals: readings a second to the log, and into InfluxDB beside its own ceiling."""
    influxdb = bench.influxdb()
    ceiling: list[float] = []
    logged: list[float] = []
    queryable: list[float] = []
    for _ in range(ROUNDS):
        ceiling.append(_fed_directly(influxdb))
        to_log, to_query = _through_filiere(bench)
        logged.append(to_log)
        queryable.append(to_query)
    stream = Columns(boot="9f2c", start_ms=yesterday_ms())
    remark = f"{MESSAGES} messages of {len(stream.payload(MESSAGES // 2))} bytes, {stream.readings} readings each"
    direct = f"the same lines, one connection, {DIRECT_LINES} lines a request"
    yield from_values("columns, to the log", "readings/s", logged, remark=f"{remark}, a backlog", at_least=LOG_GOAL)
    yield from_values("columns, into InfluxDB 2", "readings/s", queryable, remark="the same, until queryable")
    yield from_values("InfluxDB 2 fed directly", "readings/s", ceiling, remark=direct)
    yield from_values(
        "columns ÷ InfluxDB fed directly",
        "×",
        [ours / alone for ours, alone in zip(queryable, ceiling, strict=True)],
        at_least=SHARE_GOAL,
    )


def _through_filiere(bench: Bench) -> tuple[float, float]:
    """Readings/s to the log, and until they are queryable; of a backlog in the broker."""
    broker = bench.mosquitto()
    ours = Filiere(broker=broker, influxdb=bench.influxdb(), folder=bench.folder(), profile=bench.profile)
    with ours, ours.reader() as log:
        stream = Columns(boot=ours.client_id, start_ms=yesterday_ms())
        ours.pause()
        done = log.head() + MESSAGES
        publishing = Publishing(Load(host=broker.host, port=broker.port, stream=stream, count=MESSAGES))
        publishing.go()
        publishing.wait()
        began_at = time.monotonic()
        ours.go_on()
        while log.head() < done:
            ours.refuse_dead()
            time.sleep(POLL_S)
        logged_at = time.monotonic()
        rows, found_at = ours.await_rows(MESSAGES * stream.rows)
        if rows != MESSAGES * stream.rows:
            raise TimeoutError(f"got {rows} of {MESSAGES * stream.rows} rows, then nothing")
    readings = MESSAGES * stream.readings
    return readings / (logged_at - began_at), readings / (found_at - began_at)


def _fed_directly(influxdb: InfluxDB) -> float:
    """Readings/s that InfluxDB takes of lines that are made before."""
    stream = Columns(boot="direct", start_ms=yesterday_ms())
    requests = list(_requests(stream))
    bucket = influxdb.new_bucket()
    address = "/api/v2/write?" + urlencode({"org": influxdb.org, "bucket": bucket, "precision": "ns"})
    headers = {"Authorization": f"Token {influxdb.token}", "Content-Type": "text/plain; charset=utf-8"}
    connection = HTTPConnection(influxdb.host, influxdb.port)
    began_at = time.monotonic()
    for body in requests:
        connection.request("POST", address, body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != NO_CONTENT:
            raise RuntimeError(f"InfluxDB said {answer.status}")
    took_s = time.monotonic() - began_at
    connection.close()
    drop_bucket(influxdb, bucket)
    return MESSAGES * stream.readings / took_s


def _requests(stream: Columns) -> Iterator[bytes]:
    lines = (stream.line(row) for row in range(MESSAGES * stream.rows))
    while chunk := list[str](islice(lines, DIRECT_LINES)):
        yield _joined(chunk)


def _joined(lines: Sequence[str]) -> bytes:
    return "\n".join(lines).encode()
