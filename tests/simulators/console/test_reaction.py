"""What the console tells of the system: read from its files, and nothing where there is none."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.intake.status import StatusFile
from collector.receipts.status import StatusFile as ReceiptsFile
from filiere.clock import system_clock
from filiere.events import event_json
from filiere.readings import Block
from simulators.console.reaction import Stored, Watcher
from tests.api.workshop import MESSAGES, START_NS, T1, Workshop, textile_events


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop.open(tmp_path / "data")
    yield workshop
    workshop.close()


@pytest.fixture
def watcher(workshop: Workshop) -> Iterator[Watcher]:
    watcher = Watcher(workshop.settings, workshop.plant, language="en")
    yield watcher
    watcher.close()


@pytest.fixture
def working(workshop: Workshop) -> Iterator[StatusFile]:
    """The collector's processes say that they work."""
    settings = workshop.settings
    with (
        StatusFile(settings.intake_status_path, log_path=settings.log_path, clock=system_clock) as intake,
        ReceiptsFile(settings.receipts_status_path, clock=system_clock) as receipts,
    ):
        intake.say(connected=True)
        receipts.say(connected=True)
        yield intake


def test_where_no_collector_has_run_there_is_nothing_and_nothing_is_made(tmp_path: Path, watcher: Watcher) -> None:
    before = sorted(path.name for path in (tmp_path / "data").iterdir())
    reaction = watcher.look()
    assert (reaction.there, reaction.received, reaction.problems) == (False, 0, ())
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == before


def test_what_waits_and_what_was_refused_is_counted(workshop: Workshop, watcher: Watcher) -> None:
    workshop.record(messages=MESSAGES + 5, bookmark=MESSAGES)
    reaction = watcher.look()
    assert (reaction.there, reaction.received, reaction.lag) == (True, MESSAGES + 5, 5)
    assert reaction.quarantined == {"wrong_shape": 1}


def test_a_stored_value_beyond_the_limits_of_the_open_run_is_marked(workshop: Workshop, watcher: Watcher) -> None:
    workshop.record(messages=MESSAGES, bookmark=MESSAGES)
    for event in textile_events():
        workshop.ledger.append(event_json(event), record_time_ns=event.event_time_ns)
    assert workshop.ledger.chain().open_run(T1) is not None
    hot = Block.one(line=T1, device="extruder", time_ns=START_NS, values={"melt_temp": 290.0, "melt_pressure": 40.0})
    workshop.store.write([hot])
    stored = watcher.look().stored[T1]
    assert stored["extruder.melt_temp"] == Stored(value=290.0, quality="", beyond="▲")
    assert stored["extruder.melt_pressure"].beyond == ""


def test_a_sample_of_an_earlier_lot_is_not_marked(workshop: Workshop, watcher: Watcher) -> None:
    workshop.record(messages=MESSAGES, bookmark=MESSAGES)
    for event in textile_events():
        workshop.ledger.append(event_json(event), record_time_ns=event.event_time_ns)
    run = workshop.ledger.chain().open_run(T1)
    assert run is not None
    for time_ns, mark in ((run.start_ns - 1, ""), (run.start_ns + 1, "▲")):
        workshop.store.write([Block.one(line=T1, device="laboratory", time_ns=time_ns, values={"contaminants": 61.0})])
        assert watcher.look().stored[T1]["laboratory.contaminants"].beyond == mark


def test_what_keeps_the_system_from_working_is_told_the_cause_first(
    workshop: Workshop, watcher: Watcher, working: StatusFile
) -> None:
    workshop.record(messages=MESSAGES, bookmark=MESSAGES, problem="InfluxDB: connection refused")
    working.say(connected=True, problem=None)
    told = [problem.en for problem in watcher.look().problems]
    assert any("the recorder waits: InfluxDB: connection refused" in each for each in told)


def test_a_refused_lot_is_told_with_its_reasons(workshop: Workshop, watcher: Watcher) -> None:
    folder = workshop.settings.certificates_dir
    folder.mkdir(parents=True)
    (folder / "T1-1.refused.json").write_text(
        json.dumps({"reasons": [{"fr": "masses", "en": "masses do not add up"}]}), encoding="utf-8"
    )
    workshop.record(messages=MESSAGES, bookmark=MESSAGES)
    (lot,) = watcher.look().finished
    assert (lot.lot, lot.verdict) == ("T1-1", "refused")
    assert watcher.look().finished == (lot,)


def test_a_book_that_cannot_be_read_is_a_problem_and_no_error(workshop: Workshop, watcher: Watcher) -> None:
    workshop.record(messages=MESSAGES, bookmark=MESSAGES)
    workshop.ledger.close()
    (workshop.settings.data_dir / "ledger.sqlite").write_bytes(b"not a database, but long enough to be looked at" * 99)
    assert any("cannot be read" in problem.en for problem in watcher.look().problems)
