import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from api import metrics
from api.health import LAG_MAX
from collector.accounts.audit import audit
from filiere.clock import NS_PER_S
from filiere.errors import StoreRefused, StoreUnavailable
from filiere.message_log import MessageLog
from tests.api.workshop import MESSAGES, T1, Workshop


def ready(workshop: Workshop) -> tuple[int, dict[str, dict[str, object]]]:
    answer = TestClient(workshop.app).get("/readyz")
    return answer.status_code, {check["name"]: check for check in answer.json()["checks"]}


def samples(client: TestClient) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def test_alive_is_alive_whatever_the_stores_do(tmp_path: Path) -> None:
    workshop = Workshop.open(tmp_path / "empty")
    workshop.close()
    assert TestClient(workshop.app).get("/healthz").json() == {"alive": True}


def test_all_is_ready_when_all_is_there(filled: Workshop) -> None:
    status, checks = ready(filled)
    assert status == 200
    assert list(checks) == ["readings_store", "ledger", "message_log", "intake", "recorder", "receipts"]
    assert all(check["ok"] for check in checks.values())
    assert "1 quarantined" in str(checks["recorder"]["detail"])


def test_a_folder_where_nothing_collects_is_not_ready_and_says_what_to_start(tmp_path: Path) -> None:
    workshop = Workshop.open(tmp_path / "empty")
    status, checks = ready(workshop)
    assert status == 503
    assert [name for name, check in checks.items() if not check["ok"]] == [
        "message_log",
        "intake",
        "recorder",
        "receipts",
    ]
    assert "start" in str(checks["recorder"]["detail"])
    assert str(tmp_path) not in str(checks)
    workshop.close()


def test_a_recorder_that_waits_for_its_store_says_for_what(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    workshop.record(
        messages=MESSAGES + 5, bookmark=MESSAGES, problem="InfluxDB http://127.0.0.1:8086: connection refused"
    )
    status, checks = ready(workshop)
    assert status == 503
    assert "waits with 5 messages" in str(checks["recorder"]["detail"])
    assert "connection refused" in str(checks["recorder"]["detail"])


def test_a_recorder_that_is_far_behind_is_not_ready(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    workshop.record(messages=MESSAGES + LAG_MAX + 1, bookmark=MESSAGES)
    status, checks = ready(workshop)
    assert status == 503
    assert "catching up" in str(checks["recorder"]["detail"])


def test_a_recorder_that_fell_silent_is_not_ready(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    workshop.record(messages=MESSAGES, bookmark=MESSAGES, age_s=600)
    status, checks = ready(workshop)
    assert status == 503
    assert "silent for 600 s" in str(checks["recorder"]["detail"])


def test_a_recorder_that_never_worked_is_told_to_start(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    workshop.record(messages=MESSAGES, bookmark=MESSAGES, age_s=workshop.now_ns / NS_PER_S)
    status, checks = ready(workshop)
    assert status == 503
    assert "start `filiere collect`" in str(checks["recorder"]["detail"])
    assert "never seen" in str(checks["recorder"]["detail"])


def test_a_store_that_is_down_is_named_and_the_others_are_still_asked(
    copied: Callable[[], Workshop], monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = copied()

    def down(_self: object) -> None:
        raise StoreUnavailable("InfluxDB does not answer")

    monkeypatch.setattr(type(workshop.store), "check", down)
    status, checks = ready(workshop)
    assert status == 503
    assert [name for name, check in checks.items() if not check["ok"]] == ["readings_store"]
    assert samples(TestClient(workshop.app))["filiere_store_up", "store=readings"] == 0


def test_a_damaged_recorders_book_is_said(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    sqlite3.connect(workshop.settings.recorder_path).close()
    for suffix in ("", "-wal", "-shm"):
        Path(f"{workshop.settings.recorder_path}{suffix}").unlink(missing_ok=True)
    workshop.settings.recorder_path.write_bytes(b"not a database, but long enough to be looked at" * 40)
    status, checks = ready(workshop)
    assert status == 503
    assert not checks["recorder"]["ok"]


def test_an_intake_that_acknowledges_nothing_says_why(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    workshop.intake(problem=f"{workshop.settings.log_path}: got database or disk is full; free space on this disk")
    status, checks = ready(workshop)
    assert status == 503
    assert [name for name, check in checks.items() if not check["ok"]] == ["intake"]
    assert "nothing that is sent is acknowledged" in str(checks["intake"]["detail"])
    assert "free space on this disk" in str(checks["intake"]["detail"])
    assert str(workshop.settings.data_dir) not in str(checks)
    assert samples(TestClient(workshop.app))["filiere_intake_acknowledging",] == 0


def test_an_intake_without_its_broker_is_trouble_after_a_while(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    workshop.intake(connected=False)
    status, checks = ready(workshop)
    assert status == 503
    assert "not connected for 61 s" in str(checks["intake"]["detail"])
    assert "FILIERE_MQTT_HOST" in str(checks["intake"]["detail"])


@pytest.mark.parametrize("left", ["dead", "nothing", "damage"])
def test_an_intake_that_does_not_run_is_told_to_start(copied: Callable[[], Workshop], left: str) -> None:
    workshop = copied()
    workshop.intake(age_s=600)
    if left == "nothing":
        workshop.settings.intake_status_path.unlink()
    if left == "damage":
        workshop.settings.intake_status_path.write_bytes(b"{\xff\x00")
    status, checks = ready(workshop)
    assert status == 503
    assert [name for name, check in checks.items() if not check["ok"]] == ["intake"]
    assert "start `filiere collect`" in str(checks["intake"]["detail"])


def test_receipts_that_nobody_gets_are_told_with_why(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    workshop.receipts(problem=f"{workshop.settings.log_path}: got another message log than the one that was read")
    status, checks = ready(workshop)
    assert status == 503
    assert [name for name, check in checks.items() if not check["ok"]] == ["receipts"]
    assert "their outboxes fill" in str(checks["receipts"]["detail"])
    assert "another message log" in str(checks["receipts"]["detail"])
    assert str(workshop.settings.data_dir) not in str(checks)
    assert samples(TestClient(workshop.app))["filiere_receipts_answering",] == 0


def test_receipts_that_are_far_behind_the_log_are_not_ready(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    workshop.record(messages=MESSAGES + LAG_MAX + 1, bookmark=MESSAGES + LAG_MAX + 1)
    workshop.receipts(position=MESSAGES)
    status, checks = ready(workshop)
    assert status == 503
    assert [name for name, check in checks.items() if not check["ok"]] == ["receipts"]
    assert "catching up" in str(checks["receipts"]["detail"])
    assert samples(TestClient(workshop.app))["filiere_receipts_lag_messages",] == LAG_MAX + 1


@pytest.mark.parametrize("left", ["dead", "nothing", "damage"])
def test_receipts_that_do_not_run_are_told_to_start(copied: Callable[[], Workshop], left: str) -> None:
    workshop = copied()
    workshop.receipts(age_s=600)
    if left == "nothing":
        workshop.settings.receipts_status_path.unlink()
    if left == "damage":
        workshop.settings.receipts_status_path.write_bytes(b"{\xff\x00")
    status, checks = ready(workshop)
    assert status == 503
    assert [name for name, check in checks.items() if not check["ok"]] == ["receipts"]
    assert "start `filiere collect`" in str(checks["receipts"]["detail"])


def test_a_damaged_message_log_is_said(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    for suffix in ("-wal", "-shm"):
        Path(f"{workshop.settings.log_path}{suffix}").unlink(missing_ok=True)
    workshop.settings.log_path.write_bytes(b"not a database, but long enough to be looked at" * 40)
    status, checks = ready(workshop)
    assert status == 503
    assert not checks["message_log"]["ok"]
    assert samples(TestClient(workshop.app))["filiere_store_up", "store=message_log"] == 0


def test_a_message_that_cannot_be_read_where_the_recorder_stands_is_said(
    copied: Callable[[], Workshop], monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = copied()
    asked = []

    def damaged(_log: MessageLog, after: int, _limit: int) -> None:
        asked.append(after)
        raise StoreRefused("messages 21 to 30 cannot be read; run `filiere log repair`")

    monkeypatch.setattr(MessageLog, "read", damaged)
    status, checks = ready(workshop)
    assert (status, asked) == (503, [MESSAGES])
    assert "filiere log repair" in str(checks["message_log"]["detail"])


def test_metrics_count_the_path_and_the_requests_by_route(filled: Workshop) -> None:
    client = TestClient(filled.app)
    before = samples(client)
    client.get("/batches/T1-0002")
    client.get("/batches/T1-0003")
    client.get("/nothing/at/all")
    client.request("BREW", "/batches")
    after = samples(client)
    extruder = f"device={T1}/extruder"
    assert after["filiere_log_messages_total",] == MESSAGES
    assert after["filiere_log_lag_messages",] == 0
    assert after["filiere_log_bytes",] > 0
    assert after["filiere_disk_free_bytes",] > 0
    assert after["filiere_intake_acknowledging",] == after["filiere_intake_connected",] == 1
    assert after["filiere_intake_acknowledged_messages_total",] == MESSAGES
    assert after["filiere_recorder_waiting",] == 0
    assert after["filiere_receipts_answering",] == 1
    assert after["filiere_receipts_sent_total",] == 7
    assert after["filiere_receipts_lag_messages",] == 0
    assert after["filiere_device_stored_rows_total", extruder] == MESSAGES - 1
    assert after["filiere_device_quarantined_rows", extruder, "reason=wrong_shape"] == 1
    assert after["filiere_device_account_closes", extruder] == 0
    route = ("filiere_http_requests_total", "method=GET", "route=/batches/{batch_id}", "status=200")
    assert after[route] - before.get(route, 0) == 2
    unmatched = ("filiere_http_requests_total", "method=GET", "route=unmatched", "status=404")
    assert after[unmatched] - before.get(unmatched, 0) == 1
    assert not any("T1-0002" in part or "BREW" in part for name in after for part in name)


def test_metrics_are_there_when_nothing_else_is(tmp_path: Path) -> None:
    workshop = Workshop.open(tmp_path / "empty")
    found = samples(TestClient(workshop.app))
    assert found["filiere_store_up", "store=message_log"] == 0
    assert found["filiere_store_up", "store=ledger"] == 1
    workshop.close()


def test_made_up_devices_make_no_new_series(filled: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = audit(filled.settings.recorder_path)[0]
    strangers = tuple(replace(heard, device=f"x/y/z/{n}", stored=0, quarantined=1) for n in range(1000))
    monkeypatch.setattr(metrics, "audit", lambda _path, **_: strangers)
    found = samples(TestClient(filled.app))
    assert found["filiere_device_quarantined_rows", "device=?", "reason=wrong_shape"] == 1000
    assert not any("x/y/z" in part for name in found for part in name)
