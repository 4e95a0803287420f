import json
from pathlib import Path

from fastapi.testclient import TestClient

from api.live import Board
from tests.api.conftest import HTML
from tests.api.workshop import Workshop
from tests.servers import InfluxDB


def test_pages_over_influxdb_say_the_same_as_over_the_embedded_store(
    influxdb: InfluxDB, filled: Workshop, tmp_path: Path
) -> None:
    workshop = Workshop.open(
        tmp_path / "influx",
        influx_url=influxdb.url,
        influx_token=influxdb.token,
        influx_org=influxdb.org,
        influx_bucket=influxdb.new_bucket(),
    )
    try:
        workshop.fill()
        here, there = TestClient(workshop.app), TestClient(filled.app)
        for address in ("/lines", "/batches", "/batches/T1-0002/readings?points=100", "/batches/T1-0003/quality"):
            assert here.get(address).json() == there.get(address).json()
        mine, theirs = (Board(each.app.state.parts) for each in (workshop, filled))
        assert json.loads(mine.charts()) == json.loads(theirs.charts())
        assert "Authentique" in here.get("/batches/T1-0002/certificate", headers=HTML).text
        assert here.get("/readyz").json()["checks"][0]["detail"].startswith("InfluxDB")
    finally:
        workshop.close()
