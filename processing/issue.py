"""Issuing: fetch the readings of the runs behind a lot, compute the statement, seal, sign, keep. Doing it again
changes nothing.

The same ledger and the same readings make the same bytes: no clock is read for what is signed, and what was sealed or
issued once stands.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from filiere.archive import SealedRun, read_run, write_run
from filiere.chain import Chain, Run
from filiere.clock import NS_PER_S, Clock
from filiere.errors import BalanceError, NotAuthentic, NotFound, StoreUnavailable
from filiere.events import RunClosed, parse_event
from filiere.plant import Label, Plant
from filiere.readings_store import ReadingsStore
from processing.balance import mass_balance
from processing.certificate import read_certificate, sign, verify
from processing.claims import claim
from processing.compose import RunEvidence, make_statement
from processing.exact import decimal_text, time_text
from processing.genealogy import in_order, trace
from processing.keys import key_id, public_pem
from processing.policy import ISSUE_POLICY, Candidate, IssueRefused, Policy
from processing.quality import RunQuality, fetch_run, keys_of, run_statistics, verdict_of_runs
from processing.release import Word
from processing.seal import seal
from processing.statement import certificate_id
from processing.statistics import SignalStatistics

FIRST_REVISION = 1
REFUSAL_FORMAT = "filiere-refusal/1"
REFUSAL_SUFFIX = ".refused.json"


class RecordedEvent(Protocol):
    """An event of the ledger."""

    @property
    def position(self) -> int:
        """Its place in the ledger."""
        ...

    @property
    def body(self) -> bytes:
        """EPCIS 2.0 JSON-LD."""
        ...

    @property
    def record_time_ns(self) -> int:
        """When it was written down, UTC ns."""
        ...


class EventLedger(Protocol):
    """The ledger, as far as issuing reads it."""

    def chain(self) -> Chain:
        """The chain of all events."""
        ...

    def events(self, after: int = 0) -> Iterator[RecordedEvent]:
        """Events after a position."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate that was issued, or refused."""

    lot: str
    certificate_id: str
    """Empty when it was refused."""
    path: Path
    """The certificate; or the file that keeps why it was refused."""
    mass_kg: Decimal | None
    """None while its run is open."""
    recycled: Decimal | None
    """Recycled content, 0..1, and its U95; None when it was refused."""
    u95: Decimal | None
    verdict: Word | None
    refused: tuple[Label, ...] = ()
    """Why there is no certificate."""


def issue_lot(
    *,
    plant: Plant,
    chain: Chain,
    store: ReadingsStore,
    key: Ed25519PrivateKey,
    lot_id: str,
    archive_dir: Path,
    certificates_dir: Path,
    policy: Policy = ISSUE_POLICY,
) -> Issued:
    """Issue the certificate of a lot; the one that is there already stands.

    Raises:
        NotFound: nothing makes such a lot.
        IssueRefused: a policy refuses. When the lot exists, the reasons are kept in `{lot}.refused.json`.
        StoreUnavailable, StoreRefused: the readings cannot be had or kept; nothing was issued.
    """
    run = run_that_makes(chain, lot_id)
    path = certificate_path(certificates_dir, lot_id)
    if path.exists():
        _lift_refusal(certificates_dir, lot_id)
        return _already_issued(path)
    try:
        sealed = _fetch(plant, chain, store, run, archive_dir)
        statistics = {each: run_statistics(plant, chain.runs[each], readings) for each, readings in sealed.items()}
        candidate = make_candidate(plant, chain, run, sealed=sealed, statistics=statistics)
        policy.check(candidate)
        evidence = {
            each: RunEvidence(seal=seal(readings), statistics=statistics[each]) for each, readings in sealed.items()
        }
        statement = make_statement(plant, chain, lot_id, evidence=evidence, key_id=key_id(key.public_key()))
        content = sign(statement, key)
        _refuse_what_does_not_verify(content, key, sealed)
    except IssueRefused as error:
        _keep_refusal(certificates_dir, chain, run, error.labels)
        raise
    except (NotFound, BalanceError, NotAuthentic) as error:
        labels = (Label(fr=f"Ne peut être calculé : {error}", en=f"Cannot be computed: {error}"),)
        _keep_refusal(certificates_dir, chain, run, labels)
        raise IssueRefused(labels) from error
    for each, readings in sealed.items():
        write_run(archive_path(archive_dir, each), readings)
    _lift_refusal(certificates_dir, lot_id)
    _write_whole(path, content, once=True)
    return _already_issued(path)  # of two issuers the first one's stands


def _refuse_what_does_not_verify(content: bytes, key: Ed25519PrivateKey, sealed: Mapping[str, SealedRun]) -> None:
    """A certificate that a stranger would refuse is never issued: it is checked as they check it, readings and all."""
    verification = verify(content, trusted=[public_pem(key.public_key())], readings=tuple(sealed.values()))
    if not verification.authentic:
        raise IssueRefused(tuple(check.label for check in verification.checks if not check.ok))


def certificate_path(certificates_dir: Path, lot_id: str, revision: int = FIRST_REVISION) -> Path:
    """Where the certificate of a lot is kept."""
    return certificates_dir / f"{certificate_id(lot_id, revision)}.json"


def refusal_path(certificates_dir: Path, lot_id: str) -> Path:
    """Where the reasons against a certificate are kept."""
    return certificates_dir / f"{lot_id}{REFUSAL_SUFFIX}"


def archive_path(archive_dir: Path, run_id: str) -> Path:
    """Where the sealed readings of a run are kept."""
    return archive_dir / f"{run_id}.parquet"


def read_refusal(path: Path) -> tuple[Label, ...]:
    """The reasons in a `.refused.json`. Raises NotFound when there is none."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise NotFound(f"{path}: no refusal is kept there") from None
    return tuple(Label(fr=reason["fr"], en=reason["en"]) for reason in document["reasons"])


def run_that_makes(chain: Chain, lot_id: str) -> Run:
    """The run that was started to make a lot, closed or not. Raises NotFound: received, a residue, or not known."""
    for run in chain.runs.values():
        if run.lot == lot_id:
            return run
    known = chain.lots.get(lot_id)
    if known is None:
        raise NotFound(f"no lot {lot_id!r} in the ledger; expected a lot that a run was started for")
    came = "was received" if known.run is None else f"came out of run {known.run} beside {chain.runs[known.run].lot!r}"
    raise NotFound(f"lot {lot_id!r} {came}; expected a lot that a run was started for")


def runs_behind(chain: Chain, run: Run) -> tuple[Run, ...]:
    """The runs behind what `run` makes, itself last."""
    behind = {run.id: run}
    for portion in run.inputs:
        behind |= {each.id: each for each in trace(chain, portion.lot, "back").runs}
    return in_order(behind.values())


def make_candidate(
    plant: Plant,
    chain: Chain,
    run: Run,
    *,
    sealed: Mapping[str, SealedRun],
    statistics: Mapping[str, tuple[SignalStatistics, ...]],
) -> Candidate:
    """Everything that the policies look at."""
    behind = runs_behind(chain, run)
    balances = {each.id: mass_balance(each) for each in behind if each.closed}
    complete = all(each.closed and each.id in statistics for each in behind)
    return Candidate(
        lot=run.lot,
        run=run,
        behind=behind,
        balances=balances,
        claim=claim(chain, run.lot) if run.closed else None,
        verdict=verdict_of_runs(
            plant,
            (
                RunQuality(
                    run=each.id,
                    line=each.line,
                    step=each.step,
                    statistics=statistics[each.id],
                    balance=balances[each.id],
                )
                for each in behind
            ),
        )
        if complete
        else None,
        sealed=sealed,
        signals={each.id: _keys(plant, each) for each in behind},
    )


def _keys(plant: Plant, run: Run) -> tuple[str, ...]:
    line = plant.line(run.line)
    return keys_of(line, line.step(run.step))


def _fetch(plant: Plant, chain: Chain, store: ReadingsStore, run: Run, archive_dir: Path) -> dict[str, SealedRun]:
    """Readings of every closed run behind: the sealed ones where there are, else the store's."""
    sealed: dict[str, SealedRun] = {}
    for each in runs_behind(chain, run):
        path = archive_path(archive_dir, each.id)
        if path.exists():
            sealed[each.id] = read_run(path)
        elif each.closed:
            sealed[each.id] = fetch_run(plant, store, each)
    return sealed


def _already_issued(path: Path) -> Issued:
    statement = read_certificate(path.read_bytes()).statement
    return Issued(
        lot=statement.lot.id,
        certificate_id=certificate_id(statement.lot.id, statement.revision),
        path=path,
        mass_kg=Decimal(statement.lot.mass_kg),
        recycled=Decimal(statement.claim.recycled_content),
        u95=Decimal(statement.claim.u95),
        verdict=statement.release.verdict,
    )


def _keep_refusal(certificates_dir: Path, chain: Chain, run: Run, labels: Iterable[Label]) -> None:
    """Keep the reasons where people see them. A run that is only open is no news, nor is a lot that has its
    certificate, from another issuer.
    """
    if run.stop_ns is None or certificate_path(certificates_dir, run.lot).exists():
        return
    document: dict[str, Any] = {
        "format": REFUSAL_FORMAT,
        "lot": run.lot,
        "run": run.id,
        "mass_kg": decimal_text(chain.lots[run.lot].portion.mass_kg),
        "date": time_text(run.stop_ns),
        "reasons": [{"fr": label.fr, "en": label.en} for label in labels],
    }
    _write_whole(refusal_path(certificates_dir, run.lot), rfc8785.dumps(document))


def _lift_refusal(certificates_dir: Path, lot_id: str) -> None:
    """A refusal never stands beside a certificate, whenever the process that wrote one of them ended."""
    path = refusal_path(certificates_dir, lot_id)
    if path.exists():
        path.unlink(missing_ok=True)


def _write_whole(path: Path, content: bytes, *, once: bool = False) -> None:
    """Write a file so that others see all of it or nothing, also after a power cut; `once`: one that is there stands.

    Raises StoreUnavailable.
    """
    try:
        _put_file(path, content, once=once)
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}; make room or the folder writable, then try again") from error


def _put_file(path: Path, content: bytes, *, once: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
            if once:
                with contextlib.suppress(FileExistsError):
                    os.link(temporary, path)
            else:
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@dataclass(slots=True, kw_only=True)
class Issuer:
    """Issues certificates as runs of certified steps close. Call `run_once` as often as wanted."""

    plant: Plant
    ledger: EventLedger
    store: ReadingsStore
    key: Ed25519PrivateKey
    archive_dir: Path
    certificates_dir: Path
    settle_s: float
    """How long after the closing of a run was recorded its late readings are awaited, s."""
    clock: Clock
    policy: Policy = ISSUE_POLICY
    _closed_at_ns: dict[str, int] = field(default_factory=dict)
    """Run id → when its closing was recorded."""
    _position: int = 0
    _done: set[str] = field(default_factory=set)
    """Lots that this issuer has issued or refused: it does not look at them again."""

    def run_once(self) -> list[Issued]:
        """Issue what can be issued now; refusals are among the results, each once.

        A run is taken up when the readings of all its devices have arrived (the latest is at or after its stop), or
        `settle_s` after its closing was recorded.

        Raises:
            StoreUnavailable: the readings cannot be had now and nothing was issued; call again later.
            StoreRefused: the store or the archive says no; it must be put right first.
        """
        chain = self.ledger.chain()
        self._note_closings()
        latest: dict[str, dict[str, int]] = {}
        results: list[Issued] = []
        for run in self._pending(chain):
            try:
                if all(self._settled(each, latest) for each in runs_behind(chain, run)):
                    results.append(self._issue(chain, run.lot))
                    self._done.add(run.lot)
            except StoreUnavailable:
                if not results:
                    raise
                break
        return results

    def issue(self, lot_id: str) -> Issued:
        """Issue the certificate of one lot now, with the readings that are there; or say why it is refused.

        Raises:
            NotFound: nothing makes such a lot.
            StoreUnavailable, StoreRefused: as `run_once`.
        """
        return self._issue(self.ledger.chain(), lot_id)

    def _pending(self, chain: Chain) -> list[Run]:
        closed = [
            (run.stop_ns, run.id)
            for run in chain.runs.values()
            if run.stop_ns is not None and run.lot not in self._done and self._certified(run)
        ]
        runs = [chain.runs[run_id] for _, run_id in sorted(closed)]
        for run in runs:
            if certificate_path(self.certificates_dir, run.lot).exists():
                _lift_refusal(self.certificates_dir, run.lot)
                self._done.add(run.lot)
        return [run for run in runs if run.lot not in self._done]

    def _certified(self, run: Run) -> bool:
        try:
            return self.plant.line(run.line).step(run.step).certified
        except NotFound:
            return False

    def _settled(self, run: Run, latest: dict[str, dict[str, int]]) -> bool:
        if run.stop_ns is None:
            return False
        if archive_path(self.archive_dir, run.id).exists():
            return True
        recorded_ns = self._closed_at_ns.get(run.id)
        if recorded_ns is not None and self.clock() >= recorded_ns + round(self.settle_s * NS_PER_S):
            return True
        try:
            line = self.plant.line(run.line)
            devices = {signal.device for signal in line.signals_of(line.step(run.step))}
        except NotFound:
            return True  # the refusal says what the plant model does not know
        if run.line not in latest:
            latest[run.line] = self._latest_by_device(run.line)
        return all(latest[run.line].get(device, -1) >= run.stop_ns for device in devices)

    def _latest_by_device(self, line: str) -> dict[str, int]:
        latest: dict[str, int] = {}
        for reading in self.store.latest(line):
            device = reading.key.partition(".")[0]
            latest[device] = max(latest.get(device, 0), reading.time_ns)
        return latest

    def _issue(self, chain: Chain, lot_id: str) -> Issued:
        try:
            return issue_lot(
                plant=self.plant,
                chain=chain,
                store=self.store,
                key=self.key,
                lot_id=lot_id,
                archive_dir=self.archive_dir,
                certificates_dir=self.certificates_dir,
                policy=self.policy,
            )
        except IssueRefused as error:
            return Issued(
                lot=lot_id,
                certificate_id="",
                path=refusal_path(self.certificates_dir, lot_id),
                mass_kg=chain.lots[lot_id].portion.mass_kg if lot_id in chain.lots else None,
                recycled=None,
                u95=None,
                verdict=None,
                refused=error.labels,
            )

    def _note_closings(self) -> None:
        for stored in self.ledger.events(self._position):
            event = parse_event(stored.body)
            if isinstance(event, RunClosed):
                self._closed_at_ns[event.run] = stored.record_time_ns
            self._position = stored.position
