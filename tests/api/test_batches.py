from decimal import Decimal

import pytest
from fastapi.testclient import TestClient

from api.batches import POINTS_MAX
from filiere.clock import parse_time
from tests.api.conftest import HTML
from tests.api.workshop import T1, Workshop

LOTS = 14


def everything(client: TestClient, **filters: object) -> list[dict[str, object]]:
    """All pages, one after the other."""
    found: list[dict[str, object]] = []
    cursor = None
    while True:
        page = client.get("/batches", params={**filters, **({"cursor": cursor} if cursor else {})}).json()
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def test_every_lot_is_listed_once_newest_first(client: TestClient) -> None:
    found = everything(client, limit=3)
    assert len({batch["id"] for batch in found}) == len(found) == LOTS
    times = [str(batch["created"]) for batch in found]
    assert times == sorted(times, reverse=True)


def test_a_lot_being_made_is_listed_without_a_mass(client: TestClient) -> None:
    (batch,) = everything(client, state="in_progress")
    assert (batch["id"], batch["material"], batch["mass_kg"]) == ("T1-0004", "recycled_granulate", None)


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({"line": "caux/flax/f1"}, {"F1-0001", "F1-0001-rebut"}),
        ({"material": "textile_bale"}, {"BALLE-001", "BALLE-002"}),
        ({"state": "used_up"}, {"BALLE-001", "BALLE-002", "LIN-9", "PP-3"}),
        ({"line": T1, "material": "recycled_granulate", "state": "in_stock"}, {"T1-0002", "T1-0003"}),
    ],
)
def test_filters_narrow_the_list(client: TestClient, filters: dict[str, str], ids: set[str]) -> None:
    assert {batch["id"] for batch in everything(client, limit=2, **filters)} == ids


@pytest.mark.parametrize("wrong", [{"line": "caux/textile/t9"}, {"material": "gold"}])
def test_an_unknown_filter_is_said_instead_of_an_empty_list(client: TestClient, wrong: dict[str, str]) -> None:
    answer = client.get("/batches", params=wrong)
    assert answer.status_code == 404
    assert "known:" in answer.json()["detail"]


def test_masses_are_exact_decimal_texts(client: TestClient) -> None:
    batch = client.get("/batches/BALLE-001").json()
    assert batch["mass_kg"] == "640.0"
    assert Decimal(batch["stock_kg"]) == 0
    assert batch["origin"] == {"post_consumer": "0.92", "pre_consumer": "0.08"}
    assert batch["evidence"] == "BSD-2026-1187"


def test_a_trace_goes_back_to_the_bales_and_forward_to_the_granulate(client: TestClient) -> None:
    back = client.get("/batches/T1-0002/trace").json()
    assert {"BALLE-001", "BALLE-002", "MM-17"} <= {batch["id"] for batch in back["batches"]}
    assert [run["id"] for run in back["runs"]] == ["T1-R1", "T1-R2"]
    forward = client.get("/batches/BALLE-001/trace", params={"direction": "forward"}).json()
    assert {"T1-0002", "T1-0003"} <= {batch["id"] for batch in forward["batches"]}
    assert {edge["kind"] for edge in forward["edges"]} == {"input", "output"}


def test_a_trace_sideways_is_refused(client: TestClient) -> None:
    assert client.get("/batches/T1-0002/trace", params={"direction": "sideways"}).status_code == 422


def test_readings_are_those_of_the_run_with_its_limits_and_units(client: TestClient) -> None:
    answer = client.get("/batches/T1-0002/readings", params={"signal": "extruder.melt_temp", "points": 50}).json()
    (signal,) = answer["signals"]
    assert (signal["unit"], signal["low"], signal["high"]) == ("Cel", 210.0, 245.0)
    assert (signal["count"], signal["downsampled"]) == (1200, True)
    assert len(signal["value"]) == len(signal["time_ms"]) == len(signal["quality"]) <= 50
    assert parse_time(answer["start"]) // 1_000_000 <= min(signal["time_ms"])
    assert max(signal["time_ms"]) < parse_time(answer["stop"]) // 1_000_000


def test_the_lowest_and_highest_reading_survive_downsampling(client: TestClient) -> None:
    signals = [
        client.get("/batches/T1-0002/readings", params={"signal": "extruder.melt_temp", "points": points}).json()[
            "signals"
        ][0]
        for points in (20, POINTS_MAX)
    ]
    few, all_of_them = signals
    assert not all_of_them["downsampled"]
    assert (min(few["value"]), max(few["value"])) == (min(all_of_them["value"]), max(all_of_them["value"]))


def test_without_a_signal_all_of_the_step_are_given(client: TestClient, filled: Workshop) -> None:
    line = filled.plant.line(T1)
    wanted = [signal.key for signal in line.signals_of(line.step("extrusion"))]
    answer = client.get("/batches/T1-0002/readings", params={"points": 2}).json()
    assert [signal["key"] for signal in answer["signals"]] == wanted


def test_a_run_under_way_gives_what_there_is(client: TestClient) -> None:
    answer = client.get("/batches/T1-0004/readings", params={"signal": "extruder.melt_temp"}).json()
    assert answer["signals"][0]["count"] == 601


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        ("0001-01-01T00:00:00+23:59", "1700-01-02T00:00:00Z"),
        ("9999-12-31T00:00:00Z", "9999-12-31T23:59:59-23:59"),
    ],
)
def test_a_window_outside_the_run_is_empty(client: TestClient, start: str, stop: str) -> None:
    answer = client.get("/batches/T1-0002/readings", params={"start": start, "stop": stop})
    assert answer.status_code == 200
    assert {signal["count"] for signal in answer.json()["signals"]} == {0}


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"points": "NaN"}, 422),
        ({"points": "1"}, 422),
        ({"points": str(POINTS_MAX + 1)}, 422),
        ({"points": "1e3"}, 422),
        ({"start": "yesterday"}, 400),
        ({"start": "2026-11-23T09:00:00"}, 400),
        ({"start": "2026-11-23T10:00:00Z", "stop": "2026-11-23T09:00:00Z"}, 400),
        ({"start": "x" * 65}, 422),
        ({"signal": "extruder.nothing"}, 404),
        ({"signal": "a\0b"}, 404),
        ({"signal": ["extruder.melt_temp"] * 51}, 422),
    ],
)
def test_wrong_windows_are_refused_with_what_was_expected(
    client: TestClient, parameters: dict[str, str], status: int
) -> None:
    answer = client.get("/batches/T1-0002/readings", params=parameters)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_received_lot_has_no_readings_and_says_why(client: TestClient) -> None:
    answer = client.get("/batches/BALLE-001/readings")
    assert answer.status_code == 404
    assert "received" in answer.json()["detail"]


def test_quality_gives_statistics_balance_and_verdict(client: TestClient) -> None:
    quality = client.get("/batches/T1-0003/quality").json()
    assert quality["release"]["verdict"] == "fail"
    last = quality["runs"][-1]
    melt = next(each for each in last["statistics"] if each["key"] == "extruder.melt_temp")
    assert melt["minutes_outside"] > 30
    assert last["balance"]["balanced"] is True
    assert {"T1-0002", "T1-0003"} == set(quality["charts"][0]["batches"])


def test_quality_of_flax_has_its_fibre_ratio_with_uncertainty(client: TestClient) -> None:
    (ratio,) = client.get("/batches/F1-0001/quality").json()["fibre_ratios"]
    assert ratio["mean"] == pytest.approx(0.30, abs=0.01)
    assert ratio["u95"] > 0


def test_quality_of_a_received_lot_has_no_verdict(client: TestClient) -> None:
    assert client.get("/batches/BALLE-001/quality").json()["release"] is None


def test_the_list_is_a_page_for_a_browser_and_keeps_filters_between_pages(client: TestClient) -> None:
    page = client.get("/batches", params={"line": T1, "limit": 2, "lang": "en"}, headers=HTML)
    assert page.headers["content-type"].startswith("text/html")
    assert "line=caux/textile/t1" in page.text
    assert "lang=en" in page.text
    assert "Tri <b>" not in client.get("/batches", headers=HTML).text


def test_a_person_who_opens_a_batch_is_led_to_its_page_and_a_program_gets_json(client: TestClient) -> None:
    answer = client.get("/batches/T1-0001", params={"lang": "en"}, headers=HTML, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/batches/T1-0001/certificate?lang=en")
    assert client.get("/batches/T1-0001").json()["id"] == "T1-0001"
