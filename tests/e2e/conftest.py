"""A collector between a real broker and a real InfluxDB."""

import pytest

from tests.collector.mqtt import Publisher, session
from tests.e2e.collecting import Collector


@pytest.fixture
def collector(mosquitto, influxdb, tmp_path):
    """Not started yet; nothing of it is left behind."""
    with session(mosquitto) as client_id:
        collector = Collector(folder=tmp_path, mosquitto=mosquitto, influxdb=influxdb, client_id=client_id)
        try:
            yield collector
        finally:
            collector.end()


@pytest.fixture
def publisher(mosquitto):
    with Publisher(mosquitto) as publisher:
        yield publisher
