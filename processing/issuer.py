"""The issuer: looks at the ledger again and again, and issues the certificate of each lot whose readings are there."""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from filiere.chain import Chain, Run
from filiere.clock import NS_PER_S, Clock
from filiere.errors import NotFound, StoreUnavailable
from filiere.events import RunClosed, parse_event
from filiere.ledger import Ledger
from filiere.plant import Plant
from filiere.readings_store import ReadingsStore
from processing.files import archive_path, certificate_path, disk_errors_said, lift_refusal, refusal_path
from processing.issue import Issued, issue_lot, runs_behind
from processing.policy import ISSUE_POLICY, IssueRefused, Policy


@dataclass(slots=True, kw_only=True)
class Issuer:
    """Issues certificates as runs of certified steps close. Call `run_once` as often as wanted."""

    plant: Plant
    ledger: Ledger
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
    _refused_early: set[str] = field(default_factory=set)
    """Lots refused before all their readings had arrived: it looks at them again when these have."""

    @disk_errors_said()
    def run_once(self) -> list[Issued]:
        """Issue what can be issued now; refusals are among the results, each once.

        A run is taken up when the readings of all its devices have arrived (the latest is at or after its stop), or
        `settle_s` after its closing was recorded. What was refused then is looked at again, once, when they have.

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
                results += self._look_at(chain, run, latest)
            except StoreUnavailable:
                if not results:
                    raise
                break
        return results

    def _look_at(self, chain: Chain, run: Run, latest: dict[str, dict[str, int]]) -> list[Issued]:
        """What comes of a lot's run now: nothing while its readings are awaited."""
        awaited = [each for each in runs_behind(chain, run) if not self._arrived(each, latest)]
        if awaited and (run.lot in self._refused_early or not all(map(self._waited_enough, awaited))):
            return []
        issued = self._issue(chain, run.lot)
        if issued.refused and awaited:
            self._refused_early.add(run.lot)
        else:
            self._done.add(run.lot)
        return [issued]

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
                lift_refusal(self.certificates_dir, run.lot)
                self._done.add(run.lot)
        return [run for run in runs if run.lot not in self._done]

    def _certified(self, run: Run) -> bool:
        try:
            return self.plant.line(run.line).step(run.step).certified
        except NotFound:
            return False

    def _arrived(self, run: Run, latest: dict[str, dict[str, int]]) -> bool:
        """Whether the readings of a run are sealed, or the latest of each of its devices is at or after its stop."""
        if run.stop_ns is None:
            return False
        if archive_path(self.archive_dir, run.id).exists():
            return True
        try:
            line = self.plant.line(run.line)
            devices = {signal.device for signal in line.signals_of(line.step(run.step))}
        except NotFound:
            return True  # the refusal says what the plant model does not know
        if run.line not in latest:
            latest[run.line] = self._latest_by_device(run.line)
        return all(latest[run.line].get(device, -1) >= run.stop_ns for device in devices)

    def _waited_enough(self, run: Run) -> bool:
        recorded_ns = self._closed_at_ns.get(run.id)
        return recorded_ns is not None and self.clock() >= recorded_ns + round(self.settle_s * NS_PER_S)

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
