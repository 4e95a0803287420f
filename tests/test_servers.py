"""The tests' own servers keep their promises: same port and data after a kill, nothing left behind."""

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.servers import HOST, InfluxDB, Mosquitto, PostgreSQL, ServerMissing, find_program, port_answers


def test_a_missing_program_is_named_with_the_way_to_get_it():
    with pytest.raises(ServerMissing, match="no-such-server not found: ask the moon"):
        find_program("no-such-server", get="ask the moon")


def test_a_broker_comes_back_on_its_port_after_a_kill(mosquitto: Mosquitto):
    port, pid = mosquitto.port, mosquitto.pid
    mosquitto.kill()
    assert not port_answers(port)
    mosquitto.start()
    assert mosquitto.port == port
    assert mosquitto.pid != pid
    assert port_answers(port)


def test_influxdb_keeps_its_points_over_a_kill(influxdb: InfluxDB):
    bucket = influxdb.new_bucket()
    write = urllib.request.Request(
        f"{influxdb.url}/api/v2/write?org={influxdb.org}&bucket={bucket}&precision=ns",
        data=b"reading,line=l1 v=4.5 1700000000000000000",
        headers={"Authorization": f"Token {influxdb.token}"},
    )
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(write, timeout=10).close()
    influxdb.kill()
    influxdb.start()
    answer = influxdb.call("GET", f"/query?db={bucket}&q=SELECT%20v%20FROM%20reading")
    assert answer["results"][0]["series"][0]["values"][0][1] == 4.5


def test_each_bucket_is_new(influxdb: InfluxDB):
    assert influxdb.new_bucket() != influxdb.new_bucket()


def test_postgresql_gives_an_empty_database(postgres_url: str):
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        rows = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert rows == (0,)


def test_postgresql_keeps_its_databases_over_a_kill(postgresql: PostgreSQL, postgres_url: str):
    psycopg = pytest.importorskip("psycopg")
    dsn = postgres_url.replace("+psycopg", "")
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    postgresql.kill()
    postgresql.start()
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_the_browser_says_its_version(chromium: Path):
    said = subprocess.run([chromium, "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert "Chrom" in said.stdout


@pytest.mark.usefixtures("mosquitto")
def test_no_server_outlives_a_killed_test_run():
    code = "import time; from tests.servers import *; print(Mosquitto().start().port, flush=True); time.sleep(60)"
    run = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent, env=dict(os.environ)
    )
    assert run.stdout is not None
    port = int(run.stdout.readline())
    assert port_answers(port), HOST
    run.kill()
    run.communicate()
    deadline = time.monotonic() + 10
    while port_answers(port):
        assert time.monotonic() < deadline, "the broker is still there"
        time.sleep(0.05)
