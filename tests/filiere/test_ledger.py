"""The ledger's promises, on SQLite always and on a real PostgreSQL when there is one."""

import random
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filiere.chain import fold
from filiere.errors import EventRefused, SettingsError, StoreRefused, StoreUnavailable
from filiere.events import event_json
from filiere.ledger import Admission, Ledger
from tests.chain_events import closed, portion, received, some_plant, started, two_steps


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def open_ledger(request: pytest.FixtureRequest, tmp_path) -> Iterator[Callable[[str], Ledger]]:
    """Opens ledgers by name: the same name is the same database."""
    opened: list[Ledger] = []
    databases: dict[str, str] = {}

    def url_of(name: str) -> str:
        if request.param == "sqlite":
            return f"sqlite:///{tmp_path / name}.sqlite"
        if name not in databases:
            databases[name] = new_postgresql_database(request.getfixturevalue("postgres_url"))
        return databases[name]

    def open_(name: str = "ledger") -> Ledger:
        ledger = Ledger.open(url_of(name))
        opened.append(ledger)
        return ledger

    yield open_
    for ledger in opened:
        ledger.close()


def new_postgresql_database(server_url: str) -> str:
    url = sa.make_url(server_url).set(drivername="postgresql+psycopg")
    name = f"ledger_{uuid.uuid4().hex}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)


def append_all(ledger: Ledger, events) -> list[Admission]:
    return [ledger.append(event_json(event), record_time_ns=number) for number, event in enumerate(events)]


def test_events_are_kept_as_they_were_sent_and_found_after_reopening(open_ledger):
    append_all(open_ledger(), two_steps())
    again = open_ledger()
    assert [stored.body for stored in again.events()] == [event_json(event) for event in two_steps()]
    assert again.chain().lots["G1"].run == "R2"


def test_another_process_sees_what_was_added_since(open_ledger):
    writer, reader = open_ledger(), open_ledger()
    assert not reader.chain().lots
    append_all(writer, two_steps())
    assert reader.chain().runs == writer.chain().runs


def test_the_same_event_twice_is_kept_once(open_ledger):
    ledger = open_ledger()
    assert append_all(ledger, [received(), received()]) == [Admission.ADDED, Admission.KNOWN]
    assert len(list(ledger.events())) == 1


def test_an_early_event_waits_and_is_admitted_when_what_it_names_arrives(open_ledger):
    ledger = open_ledger()
    assert append_all(ledger, [closed(), started(), started()]) == [Admission.WAITING] * 3
    assert [held.refused for held in ledger.held()] == [False, False]
    assert append_all(ledger, [received()]) == [Admission.ADDED]
    assert ledger.held() == ()
    assert ledger.chain().runs["R1"].closed


def test_an_early_event_that_turns_out_impossible_is_kept_with_its_reason(open_ledger):
    ledger = open_ledger()
    append_all(ledger, [started(at=1), received(at=5)])
    (held,) = ledger.held()
    assert held.refused
    assert "before it existed" in held.reason
    assert not ledger.chain().runs


def test_a_refused_event_leaves_the_ledger_unchanged(open_ledger):
    ledger = open_ledger()
    append_all(ledger, [received(), started()])
    before = list(ledger.events())
    with pytest.raises(EventRefused, match="expected at most 2%"):
        ledger.append(event_json(closed("R1", portion("S1", "900", "sorted_textile"))), record_time_ns=9)
    assert list(ledger.events()) == before
    assert ledger.held() == ()
    assert not ledger.chain().runs["R1"].closed


def test_starts_that_wait_for_each_other_in_a_circle_are_refused(open_ledger):
    ledger = open_ledger()
    ledger.append(event_json(started("R1", "S1", portion("S2"))), record_time_ns=1)
    with pytest.raises(EventRefused, match="expected no circle"):
        ledger.append(event_json(started("R2", "S2", portion("S1"))), record_time_ns=2)


def test_any_order_of_arrival_gives_the_same_chain(open_ledger):
    straight = open_ledger("straight")
    append_all(straight, two_steps())
    for seed in range(5):
        events = two_steps()
        random.Random(seed).shuffle(events)
        shuffled = open_ledger(f"shuffled{seed}")
        append_all(shuffled, events)
        assert shuffled.held() == ()
        assert shuffled.chain().lots == straight.chain().lots
        assert shuffled.chain().runs == straight.chain().runs


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dice=st.randoms(use_true_random=False))
def test_any_plant_s_events_in_any_order_with_any_repeated_give_the_same_chain(open_ledger, dice):
    events = some_plant(dice)
    straight = fold(events)
    arriving = [*events, *dice.choices(events, k=dice.randrange(5))]
    dice.shuffle(arriving)
    ledger = open_ledger(uuid.uuid4().hex)
    append_all(ledger, arriving)
    assert ledger.held() == ()
    chain = ledger.chain()
    assert (chain.lots, chain.runs) == (straight.lots, straight.runs)
    assert all(chain.users(lot) == straight.users(lot) for lot in straight.lots)
    assert sorted(stored.body for stored in ledger.events()) == sorted(map(event_json, events))


def test_a_closing_that_was_refused_is_sent_again_corrected(open_ledger):
    ledger = open_ledger()
    impossible = closed("R1", portion("S1", "900", "sorted_textile"))
    append_all(ledger, [impossible, received(), started()])
    assert [held.refused for held in ledger.held()] == [True]
    with pytest.raises(EventRefused, match="expected at most 2%"):
        ledger.append(event_json(impossible), record_time_ns=3)
    assert append_all(ledger, [closed(event_id="urn:test:corrected")]) == [Admission.ADDED]
    assert ledger.chain().runs["R1"].closed


def test_a_ledger_that_is_put_in_another_s_place_is_read_anew(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    reader, writer = Ledger.open(url), Ledger.open(url)
    append_all(writer, two_steps())
    assert "G1" in reader.chain().lots
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.executescript("DROP TRIGGER event_no_DELETE; DELETE FROM event; DELETE FROM sqlite_sequence")
    connection.close()
    assert append_all(writer, [received("B7")]) == [Admission.ADDED]
    assert set(reader.chain().lots) == set(writer.chain().lots) == {"B7"}
    append_all(writer, [received(f"C{number}") for number in range(6)])
    assert len(reader.chain().lots) == 7
    reader.close()
    writer.close()


def test_a_damaged_ledger_is_the_ledger_s_fault_and_not_the_next_event_s(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    ledger = Ledger.open(url)
    append_all(ledger, [received("B1"), started("R1", "S1", portion("B1"))])
    ledger.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.executescript("DROP TRIGGER event_no_DELETE; DELETE FROM event WHERE position = 1")
    connection.close()
    ledger = Ledger.open(url)
    for use in (lambda: ledger.append(event_json(received("B2")), record_time_ns=9), ledger.chain):
        with pytest.raises(StoreRefused, match=r"event 2 .*restore the ledger from a backup"):
            use()
    ledger.close()


def test_a_folder_that_is_not_there_is_no_reason_to_wait(tmp_path):
    with pytest.raises(StoreRefused, match="check that the folder exists"):
        Ledger.open(f"sqlite:///{tmp_path}/nowhere/ledger.sqlite")


def test_the_database_itself_refuses_edits(open_ledger):
    ledger = open_ledger()
    append_all(ledger, [received()])
    for statement in ("UPDATE event SET event_id = 'x'", "DELETE FROM event"):
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), ledger._engine.begin() as connection:
            connection.execute(sa.text(statement))
    assert len(list(ledger.events())) == 1


def test_two_writers_do_not_admit_what_contradicts_the_other(open_ledger):
    ledgers = [open_ledger(), open_ledger()]
    ledgers[0].append(event_json(received("B1", "500")), record_time_ns=0)
    starts = [started(f"R{n}", f"S{n}", portion("B1", "400"), at=1) for n in range(2)]
    outcomes: list[object] = []

    def write(ledger: Ledger, number: int) -> None:
        try:
            outcomes.append(ledger.append(event_json(starts[number]), record_time_ns=1))
        except EventRefused as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=write, args=(ledger, number)) for number, ledger in enumerate(ledgers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == sorted(map(str, [Admission.ADDED, EventRefused]))


def test_sqlite_is_durable_before_append_returns(tmp_path):
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite")
    with ledger._reading() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    ledger.close()


def test_a_locked_file_is_unavailable_and_the_ledger_goes_on_after(tmp_path, monkeypatch):
    monkeypatch.setattr("filiere.ledger.BUSY_TIMEOUT_MS", 50)
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite")
    other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        ledger.append(event_json(received()), record_time_ns=1)
    other.execute("ROLLBACK")
    other.close()
    assert ledger.append(event_json(received()), record_time_ns=1) is Admission.ADDED
    ledger.close()


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(StoreRefused, match="not a database"):
        Ledger.open(f"sqlite:///{path}")


@pytest.mark.parametrize("url", ["", "ledger.sqlite", "oracle+nothing://x", "postgresql+psycopg3x://x"])
def test_a_url_that_is_none_says_what_one_looks_like(url):
    with pytest.raises(SettingsError, match="FILIERE_LEDGER_URL"):
        Ledger.open(url)


def test_a_server_that_does_not_answer_is_unavailable():
    with pytest.raises(StoreUnavailable, match="ledger"):
        Ledger.open("postgresql+psycopg://filiere@127.0.0.1:1/filiere")
