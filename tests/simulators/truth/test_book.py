"""What the recorder's book says of a simulation."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from collector.recorder.book import ChunkRecord, DeviceCounts, Quarantined, RecordBook
from filiere.errors import StoreUnavailable
from filiere.events import Event
from simulators.faults.fault import Layer
from simulators.truth import book
from simulators.truth.book import Absorption, of_book
from simulators.truth.conclusion import Conclusion, Source
from simulators.truth.records import FaultTruth
from tests.processing.builders import LINE, two_step_events
from tests.simulators.truth.builders import at, fault, progress, system, write_truth


def quarantined(offset: int, **fields: object) -> Quarantined:
    values: dict[str, object] = {
        "offset": offset,
        "device": f"{LINE}/extruder",
        "topic": b"t",
        "payload": b"{",
        "reason": "not_json",
        "message": "got {",
        "record_time_ns": at(1_000),
        "rows": 1,
        "numbered": True,
        "boot": "b0",
        "seq": 60 * 5,
    }
    return Quarantined(**(values | fields))  # type: ignore[arg-type]  # a builder


def told_by(
    tmp_path: Path,
    *,
    refused: Sequence[Quarantined] = (),
    spans: Sequence[tuple[int, int]] = ((0, 719),),
    **counts: int,
) -> list[Conclusion]:
    path = tmp_path / "recorder.sqlite"
    with RecordBook.open(path) as book:
        record = ChunkRecord(progress=progress(), quarantined=list(refused))
        record.spans = [(f"{LINE}/extruder", "b0", first, last) for first, last in spans]
        record.counts[f"{LINE}/extruder"] = DeviceCounts(stored=1, **counts)
        book.commit(record)
    truth = write_truth(tmp_path / "truth")
    return of_book(truth, replace(system(tmp_path), recorder_path=path))


def test_a_refused_message_is_dated_by_its_number_and_not_by_its_arrival(tmp_path: Path) -> None:
    (alarm,) = told_by(tmp_path, refused=[quarantined(1)])
    assert (alarm.source, alarm.target, alarm.words.en) == (Source.QUARANTINE, "extruder", "refused: not_json")
    assert alarm.known_ns == at(5)


def test_of_many_refused_messages_the_first_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "PAGE", 2)
    (alarm,) = told_by(tmp_path, refused=[quarantined(place, seq=60 + place) for place in range(1, 6)])
    assert (alarm.known_ns, alarm.stop_ns) == (at(1 + 1 / 60), at(1 + 5 / 60))


def test_a_refused_event_is_dated_by_its_own_words(tmp_path: Path) -> None:
    event = b'{"event":{"eventTime":"%s"}}' % b"2026-09-21T19:13:20Z"
    refused = quarantined(1, device=f"{LINE}/terminal", payload=event, seq=3, reason="event_refused")
    (alarm,) = told_by(tmp_path, refused=[refused])
    assert (alarm.target, alarm.known_ns) == ("terminal", 1_790_018_000 * 10**9)


def test_what_cannot_be_dated_has_no_time(tmp_path: Path) -> None:
    refused = quarantined(1, boot=None, seq=None, payload=b"\xff\x00", record_time_ns=at(1_000))
    (alarm,) = told_by(tmp_path, refused=[refused])
    assert alarm.known_ns is None
    assert (alarm.start_ns, alarm.stop_ns) == (at(0), at(12))


def test_what_arrived_while_it_was_simulated_is_dated_by_that(tmp_path: Path) -> None:
    (alarm,) = told_by(tmp_path, refused=[quarantined(1, boot=None, seq=None, record_time_ns=at(2))])
    assert alarm.known_ns == at(2)


def test_strangers_are_nobodys_fault(tmp_path: Path) -> None:
    assert told_by(tmp_path, refused=[quarantined(1, device="")]) == []


def test_numbers_that_never_arrived_are_known_with_the_next_one(tmp_path: Path) -> None:
    (alarm,) = told_by(tmp_path, spans=[(0, 59), (120, 719)])
    assert (alarm.source, alarm.target) == (Source.ACCOUNTS, "extruder")
    assert (alarm.start_ns, alarm.stop_ns, alarm.known_ns) == (at(1), at(2 - 1 / 60), at(2))
    assert alarm.alarm


def test_counts_are_told_without_a_time_and_call_nobody(tmp_path: Path) -> None:
    late, twice = told_by(tmp_path, duplicates=7, late=2)
    assert (twice.words.en, late.words.en) == ("7 arrived twice, left out", "2 late, recorded")
    assert [(each.alarm, each.known_ns) for each in (late, twice)] == [(False, None)] * 2
    assert "duplicate" in twice.kinds


def absorbs(tmp_path: Path, harm: FaultTruth, *spans: tuple[int, int], events: tuple[Event, ...] = ()) -> bool:
    """Whether a fault is absorbed, when these numbers of the extruder arrived."""
    told_by(tmp_path, spans=spans)
    known = system(tmp_path, events=events or None)
    return Absorption(write_truth(tmp_path / "truth"), replace(known, recorder_path=tmp_path / "recorder.sqlite"))(harm)


def outage(**fields: object) -> FaultTruth:
    return fault(**{"kind": "outage", "layer": Layer.NETWORK, "start": 1.0, "stop": 2.0} | fields)


def test_an_outage_after_which_nothing_is_missing_is_absorbed(tmp_path: Path) -> None:
    assert absorbs(tmp_path, outage(), (0, 719))


def test_an_outage_that_took_a_row_is_not(tmp_path: Path) -> None:
    assert not absorbs(tmp_path, outage(), (0, 99), (101, 719))


def test_what_is_lost_at_the_very_end_is_lost_though_no_number_after_it_tells(tmp_path: Path) -> None:
    assert not absorbs(tmp_path, outage(start=11.0, stop=None), (0, 700))


def test_what_another_time_or_device_lost_is_not_its_doing(tmp_path: Path) -> None:
    assert absorbs(tmp_path, outage(), (0, 199), (300, 719))
    assert not absorbs(tmp_path, outage(target=""), (0, 719))  # of the sorter nothing came


def test_a_terminal_whose_closing_never_came_did_lose_something(tmp_path: Path) -> None:
    dark = outage(target="terminal", start=3.5, stop=4.5)
    assert absorbs(tmp_path, dark, (0, 719))
    assert not absorbs(tmp_path, dark, (0, 719), events=two_step_events()[:-1])


def test_only_the_networks_faults_can_be_absorbed(tmp_path: Path) -> None:
    assert not absorbs(tmp_path, fault(), (0, 719))


def test_without_a_book_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert of_book(write_truth(tmp_path / "truth"), system(tmp_path)) == []


def test_a_missing_book_is_told(tmp_path: Path) -> None:
    told = replace(system(tmp_path), recorder_path=tmp_path / "gone.sqlite")
    with pytest.raises(StoreUnavailable):
        of_book(write_truth(tmp_path / "truth"), told)
