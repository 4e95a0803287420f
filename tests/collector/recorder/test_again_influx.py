"""Rewound into an emptied bucket of the real server: the query answers byte for byte what it answered before."""

import json
import urllib.parse
import urllib.request

import pytest

from collector.accounts.audit import audit
from filiere.influx_store import InfluxStore
from tests.collector.builders import Rig
from tests.collector.recorder.test_again import eventful

QUERY = "SELECT * FROM reading GROUP BY *; SELECT * FROM run GROUP BY *"


class Emptied:
    """A bucket at a time behind one name, so that it can be emptied by taking another one."""

    def __init__(self, server):
        self._server = server
        self.name = "InfluxDB of the tests"
        self.take_another()

    def take_another(self):
        server, self.bucket = self._server, self._server.new_bucket()
        self._store = InfluxStore(url=server.url, token=server.token, org=server.org, bucket=self.bucket)

    def __getattr__(self, name):
        return getattr(self._store, name)

    def answer(self):
        """The body of the answer, as bytes."""
        form = urllib.parse.urlencode({"db": self.bucket, "epoch": "ns", "q": QUERY}).encode()
        headers = {"Authorization": f"Token {self._server.token}"}
        request = urllib.request.Request(f"{self._server.url}/query", form, headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            return answer.read()


@pytest.fixture
def rig(tmp_path, influxdb):
    with Rig(tmp_path) as rig:
        rig.store.close()
        rig.store = Emptied(influxdb)
        rig.restart()
        yield rig


def test_the_same_bytes_come_back(rig):
    eventful(rig)
    before, accounts = rig.store.answer(), audit(rig.book_path)
    assert len(json.loads(before)["results"][0]["series"][0]["values"]) > 10
    assert json.loads(before)["results"][1]["series"]
    for chunk in (1, 3, 4096):
        rig.store.take_another()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("collector.recorder.recorder.CHUNK_MESSAGES_MAX", chunk)
            patch.setattr("collector.recorder.recorder.READ_MESSAGES", chunk)
            rig.rewind(1)
        assert rig.store.answer() == before
        assert audit(rig.book_path) == accounts
