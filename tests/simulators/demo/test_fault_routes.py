"""`/simulator/faults`: there in the demo alone, and the simulation has the last word."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.app import create_app
from filiere.clock import NS_PER_S, to_text
from simulators.demo.fault_routes import router
from simulators.faults.catalogue import KINDS
from simulators.faults.fault import Fault
from simulators.output import live_faults
from simulators.output.live_faults import FOLDER, FaultFolder
from tests.api.workshop import Workshop

T1 = "caux/textile/t1"
START_NS = 1_790_000_000 * NS_PER_S
NOW_NS = START_NS + 3600 * NS_PER_S
WITHIN_S = 60.0
CLOG = {"kind": "screen_clog", "line": T1, "target": "extruder", "label": "clog-1"}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    workshop = Workshop.open(tmp_path_factory.mktemp("demo"))
    yield workshop
    workshop.close()


@pytest.fixture(scope="module")
def app(workshop: Workshop) -> FastAPI:
    return create_app(
        settings=workshop.settings,
        plant=workshop.plant,
        store=workshop.store,
        ledger=workshop.ledger,
        clock=lambda: workshop.now_ns,
        extra_routers=(router,),
    )


def asking(app: FastAPI, *, of: str = "localhost:8000", at: str = "127.0.0.1") -> TestClient:
    """Somebody `at` an address who asks the server under a name."""
    return TestClient(app, base_url=f"http://{of}", client=(at, 50_000))


@pytest.fixture(scope="module")
def client(app: FastAPI) -> TestClient:
    return asking(app)


@contextmanager
def simulating(workshop: Workshop) -> Iterator[None]:
    """A simulation that takes up what is ordered."""
    folder, stop = FaultFolder(workshop.settings.data_dir / FOLDER, workshop.plant), threading.Event()
    shown = threading.Event()

    def run() -> None:
        faults: dict[str, Fault] = {}
        now_ns = NOW_NS
        while not stop.wait(0.005):
            changed = folder.take(tuple(faults.values()), start_ns=START_NS, now_ns=now_ns, windows={})
            faults |= {fault.label: fault for fault in changed}
            folder._show_at = 0.0
            folder.show(tuple(faults.values()), {}, virtual_ns=now_ns, waiting=12, problem=None)
            folder.tell()
            shown.set()
            now_ns += NS_PER_S

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert shown.wait(WITHIN_S)
        with pytest.MonkeyPatch.context() as patient:
            patient.setattr(live_faults, "ANSWER_S", WITHIN_S)
            patient.setattr(live_faults, "STALE_S", WITHIN_S)
            yield
    finally:
        stop.set()
        thread.join()
        (workshop.settings.data_dir / FOLDER / "running.json").unlink()


def test_filiere_serve_has_no_such_address(workshop: Workshop) -> None:
    plain = TestClient(workshop.app)
    assert plain.get("/simulator/faults").status_code == 404
    assert plain.post("/simulator/faults", json=CLOG).status_code == 404
    assert "/simulator/faults" not in plain.get("/openapi.json").json()["paths"]


def test_a_fault_is_triggered_seen_and_stopped(workshop: Workshop, client: TestClient) -> None:
    with simulating(workshop):
        made = client.post("/simulator/faults", json={**CLOG, "severity": 12})
        assert made.status_code == 201
        assert made.json() | {"start": None} == {
            "label": "clog-1",
            "kind": "screen_clog",
            "name": {"fr": KINDS["screen_clog"].words.fr, "en": KINDS["screen_clog"].words.en},
            "line": T1,
            "target": "extruder",
            "severity": 12.0,
            "state": "active",
            "start": None,
            "stop": None,
        }
        assert made.json()["start"] > to_text(NOW_NS)
        found = client.get("/simulator/faults").json()
        assert (found["running"], found["waiting"]) == (True, 12)
        assert [fault["label"] for fault in found["faults"]] == ["clog-1"]
        stopped = client.delete("/simulator/faults/clog-1")
        assert stopped.status_code == 200
        assert (stopped.json()["state"], stopped.json()["start"]) == ("over", made.json()["start"])
        assert client.delete("/simulator/faults/clog-2").status_code == 404
        assert client.delete("/simulator/faults/clog-1").status_code == 422


def test_a_fault_is_stopped_before_the_simulation_has_shown_it(
    workshop: Workshop, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown follows twice a second."""
    with simulating(workshop):
        assert client.post("/simulator/faults", json={**CLOG, "label": "new"}).status_code == 201
        shown = FaultFolder.running
        monkeypatch.setattr(FaultFolder, "running", lambda folder: msgspec.structs.replace(shown(folder), faults=()))
        assert client.delete("/simulator/faults/new").status_code == 200


@pytest.mark.parametrize(("of", "at"), [("127.0.0.1:8000", "127.0.0.1"), ("[::1]:8000", "::1")])
def test_whoever_is_at_the_machine_may_order(workshop: Workshop, app: FastAPI, of: str, at: str) -> None:
    with simulating(workshop):
        assert asking(app, of=of, at=at).post("/simulator/faults", json={**CLOG, "label": "here"}).status_code == 201


@pytest.mark.parametrize(
    ("of", "at"),
    [
        ("192.168.1.10:8000", "192.168.1.77"),
        ("192.168.1.10:8000", "192.168.1.10"),
        ("localhost", "10.0.0.1"),
        ("rebound.example", "127.0.0.1"),
        ("localhost.example", "127.0.0.1"),
    ],
)
def test_another_machine_and_a_strangers_page_see_faults_and_order_none(
    workshop: Workshop, app: FastAPI, of: str, at: str
) -> None:
    stranger = asking(app, of=of, at=at)
    with simulating(workshop):
        refused = stranger.post("/simulator/faults", json=CLOG)
        assert (refused.status_code, refused.json()["type"]) == (403, "/problems#forbidden")
        assert "http://localhost" in refused.json()["detail"]
        assert stranger.delete("/simulator/faults/clog-1").status_code == 403
        assert stranger.get("/simulator/faults").json()["faults"] == []


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "text/plain; application/json"]
)
def test_a_form_of_another_page_is_no_order(workshop: Workshop, client: TestClient, kind: str | None) -> None:
    """Browsers send these without asking first whether they may."""
    with simulating(workshop):
        sent = client.post(
            "/simulator/faults", content=json.dumps(CLOG), headers={} if kind is None else {"Content-Type": kind}
        )
        assert sent.status_code == 422
        asked = client.options("/simulator/faults", headers={"Origin": "http://rebound.example"})
        assert "access-control-allow-origin" not in asked.headers
        assert client.get("/simulator/faults").json()["faults"] == []


def test_another_method_is_told_which_there_are(client: TestClient) -> None:
    for path, allowed in (("/simulator/faults", "GET, HEAD, POST"), ("/simulator/faults/clog-1", "DELETE")):
        answer = client.put(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.json()["detail"] == f"got PUT; expected {allowed.replace(', ', ' or ')}"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({**CLOG, "kind": "gremlin"}, "expected one of heater_open"),
        ({**CLOG, "target": "sorter"}, "target"),
        ({**CLOG, "onset": "yesterday"}, "duration"),
        ({**CLOG, "severity": 0.5}, "severity"),
        ({**CLOG, "line": "caux/textile/t9"}, "the lines of this plant"),
        ({"kind": "screen_clog"}, "body.line"),
        ({**CLOG, "extra": 1}, "body.extra"),
        ({**CLOG, "label": "x" * 10_000}, "body.label"),
        ([], "body"),
        ("x", "body"),
    ],
)
def test_what_cannot_be_is_refused_with_why(workshop: Workshop, client: TestClient, body: object, words: str) -> None:
    with simulating(workshop):
        answer = client.post("/simulator/faults", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert str(workshop.settings.data_dir) not in answer.text


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"kind": NaN}', b"[" * 5000])
def test_a_body_that_is_no_json_is_refused(client: TestClient, content: bytes) -> None:
    answer = client.post("/simulator/faults", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_where_no_simulation_runs_it_says_so_and_leaves_no_order_behind(
    workshop: Workshop, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_faults, "ANSWER_S", 0.0)
    assert client.get("/simulator/faults").json()["running"] is False
    answer = client.post("/simulator/faults", json=CLOG)
    assert answer.status_code == 409
    assert "start `filiere demo`" in answer.json()["detail"]
    assert not list(Path(workshop.settings.data_dir / FOLDER).glob("*.order.json"))


def test_every_kind_is_listed_with_what_it_can_be_aimed_at(client: TestClient) -> None:
    kinds = {kind["kind"]: kind for kind in client.get("/simulator/faults").json()["kinds"]}
    assert list(kinds) == list(KINDS)
    assert kinds["screen_clog"]["targets"][T1] == ["extruder"]
    assert kinds["screen_clog"]["usual"] == 10.0
    assert kinds["label_swap"]["targets"][T1] == [""]
    assert kinds["outage"]["duration_s"] is not None


def test_the_demos_operations_are_described(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths["/simulator/faults"]) == {"get", "post"}
    assert set(paths["/simulator/faults/{label}"]) == {"delete"}
