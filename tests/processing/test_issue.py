import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.archive import SealedRun, read_run, write_run
from filiere.chain import Chain, fold
from filiere.clock import NS_PER_S
from filiere.errors import NotFound, PolicyRefused, StoreRefused, StoreUnavailable
from filiere.events import Event, event_json
from filiere.ledger import Ledger
from filiere.readings import Latest, Series
from processing import claims
from processing.certificate import verify
from processing.files import UNREADABLE, read_refusal, refusal_path
from processing.issue import Issued, issue_lot
from processing.issuer import Issuer
from processing.keys import public_pem
from processing.policy import AllOf, IssueRefused
from tests.processing.builders import (
    HOUR_NS,
    KEY,
    T0,
    MemoryStore,
    folders,
    plant,
    portion,
    received,
    run,
    two_step_chain,
    two_step_events,
)


def issue(root: Path, **fields: Any) -> Issued:
    where = folders(root)
    values: dict[str, Any] = {
        "plant": plant(),
        "chain": two_step_chain(),
        "store": MemoryStore(),
        "key": KEY,
        "lot_id": "G1",
        "archive_dir": where.archive_dir,
        "certificates_dir": where.certificates_dir,
    }
    return issue_lot(**(values | fields))


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_good_lot_gets_a_certificate_that_its_archive_proves(tmp_path: Path) -> None:
    issued = issue(tmp_path)
    assert (issued.certificate_id, issued.verdict, str(issued.recycled)) == ("G1-r1", "pass", "1")
    assert set(files(tmp_path)) == {"certificates/G1-r1.json", "archive/R1.parquet", "archive/R2.parquet"}
    sealed = [read_run(path) for path in (tmp_path / "archive").iterdir()]
    assert verify(issued.path.read_bytes(), trusted=[public_pem(KEY.public_key())], readings=sealed).authentic


def test_issuing_again_changes_nothing(tmp_path: Path) -> None:
    issued = issue(tmp_path)
    before = files(tmp_path)
    assert issue(tmp_path) == issued
    assert files(tmp_path) == before


def test_the_same_ledger_and_readings_make_the_same_bytes_elsewhere(tmp_path: Path) -> None:
    issue(tmp_path / "here")
    issue(tmp_path / "there")
    assert files(tmp_path / "here") == files(tmp_path / "there")


def test_what_was_sealed_stands_when_the_store_changes_its_mind(tmp_path: Path) -> None:
    issue(tmp_path)
    before = files(tmp_path)
    (tmp_path / "certificates/G1-r1.json").unlink()
    issue(tmp_path, store=MemoryStore(levels=dict.fromkeys(MemoryStore().levels, 1.0)))
    assert files(tmp_path) == before


def test_a_missing_certificate_is_made_again_from_the_archive_without_the_store(tmp_path: Path) -> None:
    issue(tmp_path)
    before = files(tmp_path)
    (tmp_path / "certificates/G1-r1.json").unlink()
    issue(tmp_path, store=MemoryStore(down=True))
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"chain": two_step_chain(granulate_kg="700")}, "écart de bilan"),
        ({"store": MemoryStore(missing=frozenset({"extruder.melt_temp"}))}, "mesures complètes à 0 %"),
        ({"store": MemoryStore(until_ns=T0 + 3 * HOUR_NS + HOUR_NS // 2)}, "mesures complètes à 54,44 %"),
        ({"store": MemoryStore(levels=MemoryStore().levels | {"extruder.melt_temp": 300.0})}, "non conforme"),
        ({"policy": AllOf(())}, "Aucune règle"),
    ],
)
def test_a_refusal_issues_nothing_and_keeps_its_reasons(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(PolicyRefused):
        issue(tmp_path, **fields)
    assert set(files(tmp_path)) == {"certificates/G1.refused.json"}
    reasons = read_refusal(refusal_path(tmp_path / "certificates", "G1"))
    assert any(said in reason.fr for reason in reasons), reasons


def test_a_balance_that_does_not_close_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(IssueRefused) as refused:
        issue(tmp_path, chain=two_step_chain(granulate_kg="700"))
    assert sum("bilan" in label.fr for label in refused.value.labels) == 1


def test_a_lot_of_water_gets_no_certificate(tmp_path: Path) -> None:
    outputs = [portion("G1", 100, moisture=Decimal(1)), portion("X", 495, moisture=Decimal(0), role="residue")]
    chain = fold((received("A"), *run("R", [portion("A", 500)], outputs, start=1, stop=2)))
    with pytest.raises(IssueRefused, match="no dry mass"):
        issue(tmp_path, chain=chain)


def test_a_refusal_never_stands_beside_a_certificate(tmp_path: Path) -> None:
    issued = issue(tmp_path)
    stale = refusal_path(issued.path.parent, "G1")
    stale.write_bytes(b"{}")  # the process was killed, or another one refused what this one issued
    issue(tmp_path)
    assert not stale.exists()
    stale.write_bytes(b"{}")
    issuer(tmp_path).run_once()
    assert not stale.exists()


def test_the_certificate_that_came_first_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two issuers at once, one of which saw other readings: certificate and archive are of the same one."""
    first = issue(tmp_path / "first")
    late = MemoryStore(levels=MemoryStore().levels | {"extruder.current": 41.0})
    root, real = tmp_path / "both", write_run

    def the_other_comes_first(path: Path, sealed: SealedRun) -> None:
        monkeypatch.setattr("processing.issue.write_run", real)
        issue(root)
        real(path, sealed)

    monkeypatch.setattr("processing.issue.write_run", the_other_comes_first)
    with suppress(StoreRefused):
        issue(root, store=late)
    path = root / "certificates/G1-r1.json"
    assert path.read_bytes() == first.path.read_bytes()
    sealed = [read_run(each) for each in (root / "archive").iterdir()]
    assert verify(path.read_bytes(), trusted=[public_pem(KEY.public_key())], readings=sealed).authentic


def test_a_kill_between_the_archive_and_the_certificate_leaves_nothing_half_done(tmp_path: Path) -> None:
    whole = files(tmp_path / "whole") if issue(tmp_path / "whole") else {}
    root = tmp_path / "killed"
    write_run(root / "archive/R1.parquet", read_run(tmp_path / "whole/archive/R1.parquet"))
    issue(root)
    assert files(root) == whole


def test_a_refusal_is_lifted_by_a_later_issue(tmp_path: Path) -> None:
    with pytest.raises(IssueRefused):
        issue(tmp_path, store=MemoryStore(missing=frozenset({"extruder.melt_temp"})))
    issue(tmp_path)
    assert "certificates/G1.refused.json" not in files(tmp_path)


def test_an_open_run_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    chain = fold((received("A"), *run("R", [portion("A", 500)], [portion("G1", 500)], start=1, stop=None)))
    with pytest.raises(IssueRefused, match="still open"):
        issue(tmp_path, chain=chain)
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("lot", "said"), [("A", "was received"), ("P1", "came out of run R2 beside 'G1'"), ("nothing", "no lot 'nothing'")]
)
def test_only_a_lot_that_a_run_was_started_for_gets_a_certificate(tmp_path: Path, lot: str, said: str) -> None:
    with pytest.raises(NotFound, match=said):
        issue(tmp_path, lot_id=lot)


def test_a_plant_model_that_does_not_know_the_recipe_refuses_instead_of_judging_without_limits(tmp_path: Path) -> None:
    chain = two_step_chain()
    chain.runs["R2"] = type(chain.runs["R2"])(**{**_fields(chain.runs["R2"]), "recipe": "r99"})
    with pytest.raises(IssueRefused, match="no recipe 'r99'"):
        issue(tmp_path, chain=chain)


def _fields(thing: Any) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in thing.__dataclass_fields__}


def test_a_damaged_archive_is_refused_and_said(tmp_path: Path) -> None:
    issue(tmp_path)
    (tmp_path / "certificates/G1-r1.json").unlink()
    archived = tmp_path / "archive/R1.parquet"
    content = archived.read_bytes()
    archived.unlink()
    archived.write_bytes(content[: len(content) // 2])
    with pytest.raises(IssueRefused, match="truncated or damaged"):
        issue(tmp_path)


def test_a_certificate_that_would_not_verify_is_never_issued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = claims.claim
    monkeypatch.setattr(
        "processing.compose.claim", lambda chain, lot: replace(wrong(chain, lot), recycled=Decimal("0.9"))
    )
    with pytest.raises(IssueRefused, match=r"stated 0\.9, recomputed 1"):
        issue(tmp_path)
    assert set(files(tmp_path)) == {"certificates/G1.refused.json"}


def test_a_refusal_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_refusal(refusal_path(tmp_path, "G1"))


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"reasons": 3}', b'{"reasons": [{}]}', b'{"reasons": []}', b"\xff"]
)
def test_a_damaged_refusal_says_that_it_cannot_be_read(tmp_path, body):
    path = refusal_path(tmp_path, "G1")
    path.write_bytes(body)
    assert read_refusal(path) == (UNREADABLE,)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "certificates").write_text("a file stands where the folder should be")
    with pytest.raises(StoreUnavailable, match="try again"):
        issue(tmp_path)


def test_a_refusal_that_cannot_be_lifted_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    issue(tmp_path)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", denied)
    with pytest.raises(StoreUnavailable, match="Permission denied"):
        issue(tmp_path)


def test_a_store_that_is_down_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        issue(tmp_path, store=MemoryStore(down=True))
    assert files(tmp_path) == {}


@given(st.permutations(two_step_events(evidence="")))
def test_any_order_of_arrival_makes_the_same_certificate(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event]
) -> None:
    root = tmp_path_factory.mktemp("shuffled")
    assert issue(root, chain=_replayed(events)).path.read_bytes() == _in_order(tmp_path_factory)


_IN_ORDER: list[bytes] = []


def _in_order(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    if not _IN_ORDER:
        root = tmp_path_factory.mktemp("in-order")
        _IN_ORDER.append(issue(root, chain=_replayed(two_step_events(evidence=""))).path.read_bytes())
    return _IN_ORDER[0]


def _replayed(events: Sequence[Event]) -> Chain:
    """Through a real ledger, as bytes."""
    ledger = Ledger.open("sqlite://")
    try:
        for event in events:
            ledger.append(event_json(event), record_time_ns=T0)
        return ledger.chain()
    finally:
        ledger.close()


# --- the issuer that looks for what is ready ------------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    position: int
    body: bytes
    record_time_ns: int


class FakeLedger:
    """Events with the time at which they were recorded: one second apart, from RECORDED."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.all = list(events)

    def chain(self) -> Chain:
        return fold(self.all)

    def events(self, after: int = 0) -> Iterator[Recorded]:
        for position, event in enumerate(self.all, start=1):
            if position > after:
                yield Recorded(position, event_json(event), RECORDED + position * NS_PER_S)


RECORDED = T0 + 100 * HOUR_NS
SETTLE_S = 30.0


def issuer(root: Path, *, now_s: float = 0.0, **fields: Any) -> Issuer:
    where = folders(root)
    values: dict[str, Any] = {
        "plant": plant(),
        "ledger": FakeLedger(two_step_events()),
        "store": MemoryStore(),
        "key": KEY,
        "archive_dir": where.archive_dir,
        "certificates_dir": where.certificates_dir,
        "settle_s": SETTLE_S,
        "clock": lambda: RECORDED + round(now_s * NS_PER_S),
    }
    return Issuer(**(values | fields))


def test_a_closed_run_of_a_certified_step_is_issued_once(tmp_path: Path) -> None:
    made = issuer(tmp_path)
    assert [issued.certificate_id for issued in made.run_once()] == ["G1-r1"]
    assert made.run_once() == []
    assert issuer(tmp_path).run_once() == []


def test_late_readings_are_awaited_and_then_the_settle_time_ends(tmp_path: Path) -> None:
    late = MemoryStore(until_ns=T0 + 4 * HOUR_NS - 1)  # the last reading of a device is before the stop
    assert issuer(tmp_path, store=late, now_s=SETTLE_S).run_once() == []
    recorded_last = len(two_step_events())
    assert issuer(tmp_path, store=late, now_s=recorded_last + SETTLE_S - 0.001).run_once() == []
    assert len(issuer(tmp_path, store=late, now_s=recorded_last + SETTLE_S).run_once()) == 1


class OneDeviceLate(MemoryStore):
    """The sorter's readings have arrived, the extruder's not yet."""

    def latest(self, line: str) -> tuple[Latest, ...]:
        return tuple(each for each in MemoryStore.latest(self, line) if each.key.startswith("sorter."))


def test_every_device_of_the_run_must_have_reported(tmp_path: Path) -> None:
    """Also when another device of the same step has: here the sorter stands in the extrusion, too."""
    known = plant()
    line = known.workshops[0].lines[0]
    sorting, extrusion = line.steps
    both = replace(line, steps=(sorting, replace(extrusion, units=("sorter", "extruder"))))
    known = replace(known, workshops=(replace(known.workshops[0], lines=(both,)),))
    assert issuer(tmp_path, plant=known, store=OneDeviceLate()).run_once() == []
    assert [issued.lot for issued in issuer(tmp_path, plant=known).run_once()] == ["G1"]


def test_a_run_that_closes_later_is_found_later(tmp_path: Path) -> None:
    ledger = FakeLedger(two_step_events()[:-1])
    made = issuer(tmp_path, ledger=ledger)
    assert made.run_once() == []
    ledger.all.append(two_step_events()[-1])
    assert [issued.lot for issued in made.run_once()] == ["G1"]


def test_a_refusal_is_told_once_and_asked_again_by_the_next_issuer(tmp_path: Path) -> None:
    ledger = FakeLedger(two_step_events(granulate_kg="700"))
    made = issuer(tmp_path, ledger=ledger)
    results = made.run_once()
    assert [(issued.certificate_id, bool(issued.refused)) for issued in results] == [("", True)]
    assert results[0].path == tmp_path / "certificates" / "G1.refused.json"
    assert json.loads(results[0].path.read_bytes())["lot"] == "G1"
    assert made.run_once() == []
    assert len(issuer(tmp_path, ledger=ledger).run_once()) == 1


def test_a_lot_refused_before_its_readings_came_is_looked_at_again_when_they_have(tmp_path: Path) -> None:
    store = MemoryStore(until_ns=T0 + 3 * HOUR_NS + HOUR_NS // 2)  # a device was cut off in the middle of the run
    made = issuer(tmp_path, store=store, now_s=len(two_step_events()) + SETTLE_S)
    assert [bool(issued.refused) for issued in made.run_once()] == [True]
    assert made.run_once() == []
    store.until_ns = MemoryStore().until_ns
    assert [issued.certificate_id for issued in made.run_once()] == ["G1-r1"]
    assert made.run_once() == []
    assert "certificates/G1.refused.json" not in files(tmp_path)


def test_a_line_that_the_plant_model_does_not_know_is_not_certified(tmp_path: Path) -> None:
    elsewhere = run("R9", [portion("A", 1)], [portion("G9", 1)], start=5, stop=6, line="elsewhere/x/y")
    assert issuer(tmp_path, ledger=FakeLedger((received("A"), *elsewhere))).run_once() == []


class DownAfter(MemoryStore):
    """Answers some windows, then no more."""

    answers = 2

    def window(self, line: str, keys: Sequence[str], start_ns: int, stop_ns: int) -> tuple[Series, ...]:
        if self.answers == 0:
            raise StoreUnavailable("no answer")
        self.answers -= 1
        return MemoryStore.window(self, line, keys, start_ns, stop_ns)


def test_what_was_issued_before_the_store_went_down_is_told(tmp_path: Path) -> None:
    later = run("R3", [portion("A2", 100)], [portion("G2", 100)], start=5, stop=6)
    made = issuer(tmp_path, ledger=FakeLedger((received("A2"), *two_step_events(), *later)), store=DownAfter())
    assert [issued.lot for issued in made.run_once()] == ["G1"]
    made.store = MemoryStore()
    assert [issued.lot for issued in made.run_once()] == ["G2"]


def test_a_store_that_is_down_is_said_and_the_next_look_goes_on(tmp_path: Path) -> None:
    store = MemoryStore(down=True)
    made = issuer(tmp_path, store=store)
    with pytest.raises(StoreUnavailable):
        made.run_once()
    store.down = False
    assert len(made.run_once()) == 1
