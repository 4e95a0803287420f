import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api import live
from api.live import CHARTS_MAX, MUTE_S_MIN, REFUSED_TOLD_S, charts_of
from collector.accounts.audit import SILENT_S_MAX
from collector.recorder.book import RecordBook
from filiere.clock import NS_PER_S
from filiere.errors import StoreUnavailable
from filiere.plant_file import load_plant
from filiere.readings import Block
from tests.api.site import Site, wait_until
from tests.api.workshop import F1, MESSAGES, START_NS, T1, Workshop
from tests.collector.book_by_hand import Book
from tests.servers import free_port


@pytest.fixture
def site(copied: Callable[[], Workshop]) -> Iterator[Site]:
    served = Site(copied(), free_port())
    yield served
    served.stop()


@contextmanager
def stream(site: Site) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(site.host, site.port, timeout=20)
    connection.request("GET", "/live/events", headers={"Accept": "text/event-stream"})
    try:
        yield connection.getresponse()
    finally:
        connection.close()


def next_event(response: http.client.HTTPResponse, kind: str) -> dict[str, object]:
    """The data of the next event of a kind."""
    found = ""
    while line := response.readline().decode():
        if line.startswith("event: "):
            found = line.removeprefix("event: ").strip()
        elif line.startswith("data: ") and found == kind:
            data: dict[str, object] = json.loads(line.removeprefix("data: "))
            return data
    raise AssertionError(f"the stream ended before an event {kind}")


def test_a_stream_tells_pictures_and_charts_again_and_again(site: Site) -> None:
    with stream(site) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        for _ in range(2):
            picture = next_event(response, "picture")
            assert [line["state"] for line in picture["lines"]] == ["running", "idle"]  # type: ignore[attr-defined, index]  # JSON
        charts = next_event(response, "charts")
        assert [line["line"] for line in charts["lines"]] == [T1, F1]  # type: ignore[attr-defined, index]  # JSON


def test_watchers_are_bounded_and_a_seat_is_given_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "CLIENTS_MAX", 1)
    board = site.workshop.app.state.board
    with stream(site) as first:
        next_event(first, "picture")
        with stream(site) as second:
            assert second.status == 503
            assert second.headers["retry-after"]
            assert second.headers["content-type"] == "application/problem+json"
    wait_until(lambda: board.watching == 0)
    with stream(site) as third:
        assert third.status == 200


def test_the_server_stops_though_somebody_watches(site: Site) -> None:
    with stream(site) as response:
        next_event(response, "picture")
        begun = time.monotonic()
        site.server.should_exit = True
        while response.readline():
            pass
        wait_until(lambda: not site.thread.is_alive())
        assert time.monotonic() - begun < live.RECONNECT_MS / 1000 + 3


def test_one_picture_is_made_for_all_who_watch(filled: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    board = live.Board(filled.app.state.parts)
    made: list[int] = []
    monkeypatch.setattr(
        live.lines, "states", lambda *_: made.append(1) or live.Lines(site="caux", newest=None, lines=[])
    )
    assert len({board.picture() for _ in range(20)}) == 1
    assert made == [1]


def test_a_store_that_is_down_is_part_of_the_picture(filled: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(_self: object, _line: str) -> None:
        raise StoreUnavailable("the database does not answer")

    monkeypatch.setattr(type(filled.store), "latest", down)
    board = live.Board(filled.app.state.parts)
    picture = json.loads(board.picture())
    assert picture["problem"] == "the database does not answer"
    assert picture["lines"] == []
    assert json.loads(board.charts())["problem"] == "the database does not answer"


def test_a_picture_counts_what_waits_and_what_was_refused(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    workshop.record(messages=27, bookmark=20, problem="waits for the store")
    picture = json.loads(live.Board(workshop.app.state.parts).picture())
    assert (picture["lag"], picture["quarantined"]) == (7, 1)
    assert picture["recorder"] == {"state": "waiting", "detail": "waits for the store"}


def later(workshop: Workshop, seconds: float) -> Workshop:
    """The same folder, seen so much later."""
    return Workshop.open(workshop.settings.data_dir, now_ns=workshop.now_ns + round(seconds * NS_PER_S))


def mute(board: live.Board) -> dict[str, bool]:
    return {line["line"]: line["mute"] for line in json.loads(board.picture())["lines"]}


def test_lines_whose_messages_stopped_are_mute_though_nobody_watched(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    assert mute(live.Board(workshop.app.state.parts)) == {T1: False, F1: False}
    after = later(workshop, MUTE_S_MIN + 5)
    assert mute(live.Board(after.app.state.parts)) == {T1: True, F1: True}
    after.close()


def test_a_line_that_alone_stops_is_mute_and_one_that_goes_on_is_not(
    copied: Callable[[], Workshop], monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = copied()
    board = live.Board(workshop.app.state.parts)
    assert mute(board) == {T1: False, F1: False}
    now_s = time.monotonic()
    monkeypatch.setattr(live.time, "monotonic", lambda: now_s + MUTE_S_MIN + 5)
    row = Block.one(line=T1, device="extruder", time_ns=START_NS + 5 * 3600 * NS_PER_S, values={"melt_temp": 228.0})
    workshop.store.write([row])
    assert mute(board) == {T1: False, F1: True}


def test_devices_that_get_no_answer_are_told_with_why_and_since_when(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    assert json.loads(live.Board(workshop.app.state.parts).picture())["receipts"] is None
    workshop.receipts(connected=False)
    told = json.loads(live.Board(workshop.app.state.parts).picture())["receipts"]
    assert (told["state"], told["since_s"]) == ("disconnected", 61.0)
    assert "FILIERE_MQTT_HOST" in told["detail"]


def test_an_intake_that_accepts_nothing_is_told_with_why_and_since_when(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    board = live.Board(workshop.app.state.parts)
    assert json.loads(board.picture())["intake"] is None
    workshop.intake(problem=f"{workshop.settings.log_path}: got database or disk is full")
    told = json.loads(live.Board(workshop.app.state.parts).picture())["intake"]
    assert told == {"state": "problem", "detail": "messages.sqlite: got database or disk is full", "since_s": 61.0}


def test_a_recorder_that_says_nothing_any_more_is_told(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    workshop.record(messages=MESSAGES, bookmark=MESSAGES, age_s=SILENT_S_MAX + 1)
    assert json.loads(live.Board(workshop.app.state.parts).picture())["recorder"]["state"] == "silent"


def test_a_refused_message_is_news_for_a_while_and_names_line_and_machine(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    picture = json.loads(live.Board(workshop.app.state.parts).picture())
    assert picture["refused"]["where"] == {"fr": "Ligne textile T1, Extrudeuse", "en": "Textile line T1, Extruder"}
    after = later(workshop, REFUSED_TOLD_S + 1)
    picture = json.loads(live.Board(after.app.state.parts).picture())
    assert (picture["refused"], picture["quarantined"]) == (None, 1)
    after.close()


@pytest.mark.parametrize(
    ("topic", "where"),
    [
        (f"filiere/v1/{T1}/robot/readings".encode(), "Ligne textile T1, robot"),
        (b"filiere/v1/elsewhere", "origine inconnue"),
        (b"\xff", "origine inconnue"),
    ],
)
def test_a_stranger_on_a_line_is_told_on_its_line(tmp_path: Path, topic: bytes, where: str) -> None:
    path = Book(tmp_path / "recorder.sqlite").refused(device="", reason="unknown_device", topic=topic).write()
    with RecordBook.open_reader(path) as book:
        (refused,) = book.quarantine(limit=1)
    assert live._label_of(load_plant("caux"), live._sender(refused)).fr == where


def test_a_device_that_is_not_in_the_plant_is_named_as_it_calls_itself() -> None:
    plant = load_plant("caux")
    assert live._label_of(plant, f"{T1}/robot").fr == "Ligne textile T1, robot"
    assert live._label_of(plant, "elsewhere/x").fr == "elsewhere/x"
    assert live._label_of(plant, "").fr == "origine inconnue"


def test_a_flax_lot_says_what_grew(filled: Workshop) -> None:
    picture = json.loads(live.Board(filled.app.state.parts).picture())
    flax = next(lot for lot in picture["finished"] if lot["batch"] == "F1-0001")
    assert float(flax["recycled_content"]) == 0
    assert 0.2 < float(flax["bio_based"]) < 0.4


def test_the_last_lots_come_with_their_certificate_or_why_not(filled: Workshop) -> None:
    picture = json.loads(live.Board(filled.app.state.parts).picture())
    by_lot = {lot["batch"]: lot for lot in picture["finished"]}
    assert list(by_lot) == ["T1-0003", "T1-0002", "F1-0001"]
    assert by_lot["T1-0003"]["certificate"] == "refused"
    assert by_lot["T1-0002"]["verdict"] == "pass"
    assert float(by_lot["T1-0002"]["recycled_content"]) > 0.8


def test_a_certificate_that_cannot_be_read_does_not_break_the_wall(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    (workshop.settings.certificates_dir / "T1-0002-r1.json").write_bytes(b"[]")
    picture = json.loads(live.Board(workshop.app.state.parts).picture())
    assert "recycled_content" not in next(lot for lot in picture["finished"] if lot["batch"] == "T1-0002")


def test_charts_share_one_time_axis_a_line(filled: Workshop) -> None:
    for line in json.loads(live.Board(filled.app.state.parts).charts())["lines"]:
        assert line["charts"]
        for chart in line["charts"]:
            assert all(len(values) == len(line["time_ms"]) for values in chart["values"])
            assert any(value is not None for values in chart["values"] for value in values)


def test_every_critical_signal_of_a_step_is_drawn() -> None:
    for line in load_plant("caux").lines:
        for step in line.steps:
            charts = charts_of(line, step)
            assert len(charts) <= CHARTS_MAX
            shown = {signal.key for chart in charts for signal in chart.signals}
            assert {signal.key for signal in line.signals_of(step) if signal.critical} <= shown


def test_a_picture_of_an_empty_plant_is_a_picture(tmp_path_factory: pytest.TempPathFactory) -> None:
    workshop = Workshop.open(tmp_path_factory.mktemp("empty"))
    board = live.Board(workshop.app.state.parts)
    picture = json.loads(board.picture())
    assert (picture["newest"], picture["lag"], picture["finished"]) == (None, None, [])
    assert picture["recorder"]["state"] == "absent"
    assert all(line["charts"] == [] for line in json.loads(board.charts())["lines"])
    assert TestClient(workshop.app).get("/live").status_code == 200
    workshop.close()


def test_a_step_with_few_signals_leaves_room_for_the_rest_of_its_line() -> None:
    line = load_plant("caux").line(T1)
    drawn = [(chart.device, chart.unit) for chart in charts_of(line, line.step("sorting"))]
    assert drawn[:3] == [("sorter", "1"), ("shredder", "1"), ("sorter", "kg")]
    assert ("extruder", "Cel") in drawn


def test_after_what_is_critical_the_product_on_its_scale_is_drawn_and_no_sample_of_the_laboratory() -> None:
    for path in (T1, F1):
        line = load_plant("caux").line(path)
        drawn = [chart.device for chart in charts_of(line, line.steps[-1])]
        assert "bagging" in drawn
        assert "laboratory" not in drawn
