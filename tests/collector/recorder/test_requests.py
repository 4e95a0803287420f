"""What is asked of the recorder is done: by the one that runs, or by who asks."""

import threading
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from collector.accounts.audit import audit
from collector.processes import run_recorder
from collector.recorder.book import RecordBook
from collector.recorder.requests import FOLDER, Outcome, RequestFolder, Retry, Rewind, submit
from filiere.embedded_store import EmbeddedStore
from filiere.errors import StoreUnavailable
from filiere.message_log import MessageLog
from filiere.plant_file import load_plant
from filiere.settings import load_settings
from tests.collector.builders import LINE, NOON_NS, TOPIC, readings
from tests.collector.mqtt import until

COLOUR = "{id: colour, label: {fr: Couleur, en: Colour}, unit: '1', period_s: 2, range: [0, 10], resolution: 1}"


@pytest.fixture
def settings(tmp_path):
    """A data folder with some messages, one of them with a signal that the plant lacks."""
    settings = load_settings(data_dir=tmp_path, plant="caux")
    with MessageLog.open(settings.log_path) as log:
        sent = [readings(seq=0, rows=3), readings(seq=3, colour=3), b"hello", readings(seq=4)]
        log.append([(TOPIC.encode(), payload, NOON_NS) for payload in sent])
    return settings


@contextmanager
def recorder(settings):
    stop = threading.Event()
    recording = threading.Thread(
        target=run_recorder, args=(settings, load_plant(settings.plant)), kwargs={"stop": stop}
    )
    recording.start()
    try:
        until(lambda: settings.recorder_path.exists() and bookmark(settings) == 4)
        yield
    finally:
        stop.set()
        recording.join()


def bookmark(settings):
    try:
        with RecordBook.open_reader(settings.recorder_path) as book:
            return book.progress().bookmark
    except StoreUnavailable:
        return None


def with_colour(settings, tmp_path):
    """Settings with a plant whose extruder has the signal `colour`."""
    from filiere import plant_file  # noqa: PLC0415 - only to find the packaged file

    text = (plant_file._PACKAGED / "caux.yaml").read_text(encoding="utf-8")
    start = text.index("- {id: melt_temp") if "- {id: melt_temp" in text else text.index("- id: melt_temp")
    indent = " " * (start - text.rindex("\n", 0, start) - 1)
    path = tmp_path / "plant.yaml"
    path.write_text(f"{text[:start]}- {COLOUR}\n{indent}{text[start:]}", encoding="utf-8")
    return settings.model_copy(update={"plant": str(path)})


def stored(settings):
    store = EmbeddedStore.open(settings.embedded_store_path)
    try:
        (series,) = store.window(LINE, ["extruder.melt_temp"], 0, 2**62)
        return len(series.value)
    finally:
        store.close()


def test_before_any_recorder_ran_there_is_nothing_to_ask(settings):
    with pytest.raises(StoreUnavailable, match="no recorder's book yet"):
        submit(settings, Retry())


@pytest.mark.parametrize("runs", [True, False], ids=["the recorder that runs", "who asks"])
def test_a_retry_is_done_by(settings, tmp_path, runs):
    told = []
    with recorder(settings):
        pass
    settings = with_colour(settings, tmp_path)
    if runs:
        with recorder(settings):
            outcome = submit(settings, Retry(), note=told.append)
    else:
        outcome = submit(settings, Retry())
    assert (outcome.done, outcome.total, outcome.moved, outcome.left) == (True, 2, 1, 1)
    (account,) = audit(settings.recorder_path)
    assert (account.stored, account.quarantined, account.closes) == (5, 1, True)
    assert list((settings.data_dir / FOLDER).iterdir()) == []


@pytest.mark.parametrize("runs", [True, False], ids=["the recorder that runs", "who asks"])
def test_a_rewind_is_done_by(settings, runs):
    with recorder(settings):
        if runs:
            assert submit(settings, Rewind(1)) == Outcome(done=True, total=4)
            until(lambda: bookmark(settings) == 4)
    if not runs:
        assert submit(settings, Rewind(2)) == Outcome(done=True, total=3)
        assert bookmark(settings) == 1
        with recorder(settings):
            pass
    (account,) = audit(settings.recorder_path)
    assert (account.stored, account.quarantined, account.duplicates, account.closes) == (4, 2, 0, True)
    assert stored(settings) == 4


def test_a_rewind_that_cannot_be_is_answered_with_the_reason(settings):
    with recorder(settings):
        outcome = submit(settings, Rewind(5))
    assert outcome.done
    assert "expected at most 4" in outcome.problem


def test_who_does_not_want_to_wait_leaves_the_request_and_it_is_done_later(settings, monkeypatch):
    with recorder(settings):
        pass
    monkeypatch.setattr("collector.recorder.requests._recorders_place", lambda _settings: taken())
    outcome = submit(settings, Rewind(1), wait_s=0)
    assert not outcome.done
    with recorder(settings):
        until(lambda: not list((settings.data_dir / FOLDER).glob("*.request.json")))
        until(lambda: bookmark(settings) == 4)


@contextmanager
def taken():
    yield False


def test_what_somebody_else_asked_for_stays_when_it_cannot_be_done_now(settings, tmp_path):
    with recorder(settings):
        pass
    settings = with_colour(settings, tmp_path)
    RequestFolder(settings.data_dir / FOLDER).place(Retry(reason="unknown_signal"))
    unreachable = {"influx_url": "http://127.0.0.1:9", "influx_token": SecretStr("token")}
    assert "127.0.0.1:9" in submit(settings.model_copy(update=unreachable), Retry(reason="not_json")).problem
    assert submit(settings, Retry(reason="not_json")) == Outcome(done=True, total=1, judged=1, left=1)
    (account,) = audit(settings.recorder_path)
    assert (account.stored, account.quarantined) == (5, 1)


def test_what_cannot_be_done_is_not_done_later_either(settings, tmp_path):
    with recorder(settings):
        pass
    (tmp_path / "wrong.yaml").write_text("site: [", encoding="utf-8")
    assert (
        "wrong.yaml" in submit(settings.model_copy(update={"plant": str(tmp_path / "wrong.yaml")}), Rewind(1)).problem
    )
    assert list((settings.data_dir / FOLDER).iterdir()) == []


def test_without_a_recorder_a_store_that_does_not_answer_is_the_outcome(settings, tmp_path):
    with recorder(settings):
        pass
    unreachable = {"influx_url": "http://127.0.0.1:9", "influx_token": SecretStr("token")}
    outcome = submit(with_colour(settings, tmp_path).model_copy(update=unreachable), Retry())
    assert outcome.done
    assert "127.0.0.1:9" in outcome.problem
    (account,) = audit(settings.recorder_path)
    assert (account.stored, account.quarantined) == (4, 2)
