"""The whole system in one process: bus → message log → recorder → readings store and ledger → certificates → API.

Every part is the one that a workshop runs; only the broker, the processes and the waiting between them are left out.
Time is the test's own clock, and nothing happens that the test did not ask for: who asks the stack a question gets the
answer of after all that was published.
"""

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from collector.accounts.audit import DeviceAccount, audit
from collector.intake.assignment import subscriptions
from collector.intake.status import StatusFile as IntakeStatusFile
from collector.receipts.status import StatusFile as ReceiptsStatusFile
from collector.recorder.book import Quarantined, RecordBook
from collector.recorder.recorder import Recorder
from collector.recorder.requests import FOLDER, RequestFolder, Retry, Rewind
from filiere.embedded_store import EmbeddedStore
from filiere.errors import NotFound
from filiere.ledger import Ledger
from filiere.message_log import MessageLog
from filiere.plant import Plant
from filiere.readings import Series
from filiere.readings_store import ReadingsStore
from filiere.settings import Settings
from processing.certificate import Certificate, Verification, read_certificate, verify
from processing.files import certificate_path
from processing.issue import Issued
from processing.issuer import Issuer
from processing.keys import KEY_DIR_MODE, KEY_FILE_MODE, load_or_make_key, public_pem
from simulators.testing.bus import MessageBus
from simulators.testing.client import ApiClient
from simulators.testing.frozen import FrozenClock

if TYPE_CHECKING:
    from simulators.testing.lines import Simulation
    from simulators.testing.listening import Address
    from simulators.truth.score import Score

LOG_BATCH = 1_000
"""Messages that are written to the log together."""
ALL_TIME_NS = 2**62
TOPIC_ERRORS = "surrogateescape"
"""A recorded topic that is not UTF-8 goes through the bus and comes out as it was."""


class Timed(Protocol):
    """A message with its time: a simulation's publication, or one of a recording."""

    @property
    def time_ns(self) -> int:
        """When it is sent, UTC ns."""
        ...

    @property
    def topic(self) -> str | bytes:
        """Its topic."""
        ...

    @property
    def payload(self) -> bytes:
        """Its bytes."""
        ...


@dataclass(kw_only=True, repr=False)
class FiliereStack:
    """A data folder and all that works in it. Open one with `open_stack`."""

    settings: Settings
    plant: Plant
    clock: FrozenClock
    bus: MessageBus
    log: MessageLog
    store: ReadingsStore
    ledger: Ledger
    book: RecordBook
    recorder: Recorder
    issuer: Issuer
    statuses: tuple[IntakeStatusFile, ReceiptsStatusFile]
    issued: dict[str, Issued] = field(default_factory=dict)
    """Lot → its certificate, or why it has none; as far as `issue` was called."""
    _arrived: list[tuple[bytes, bytes, int]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"FiliereStack({self.settings.data_dir}, {len(self.bus)} messages published)"

    # in

    def run(self, messages: Iterable[Timed]) -> tuple[Issued, ...]:
        """Publish a simulation or a recording, each message when the clock is at its time; record, and issue what can
        be issued.
        """
        for message in messages:
            self.clock.reach(message.time_ns)
            topic = message.topic
            self.bus.publish(topic if isinstance(topic, str) else topic.decode(errors=TOPIC_ERRORS), message.payload)
        return self.issue()

    def publish(self, topic: str, payload: bytes | str) -> None:
        """Publish one message now, as a device would."""
        self.bus.publish(topic, payload)

    def take(self, topic: str, payload: bytes) -> None:
        """What the intake does with a message: to the log, untouched, with the time of the clock."""
        self._arrived.append((topic.encode(errors=TOPIC_ERRORS), payload, self.clock()))
        if len(self._arrived) >= LOG_BATCH:
            self._keep()

    @contextmanager
    def listening(self, broker: "Address") -> Iterator[None]:
        """Take what a real broker has for the plant's lines, as `filiere collect` does, while the block runs.

        A broker has a time of its own: wait for what you published with `wait_for`.
        """
        from simulators.testing.listening import listening  # noqa: PLC0415  # a stack on the bus needs no MQTT client

        with listening(
            broker, log_path=self.settings.log_path, plant=self.plant, clock=self.clock, status=self.statuses[0]
        ):
            yield

    def wait_for(self, messages: int, *, within_s: float = 30.0) -> None:
        """Wait until so many messages have arrived in all. Raises TimeoutError: they have not; says how many did."""
        from simulators.testing.listening import reached  # noqa: PLC0415  # same

        if not reached(lambda: self.log.head() >= messages, within_s=within_s):
            topics = ", ".join(subscriptions(self.plant))
            raise TimeoutError(
                f"got {self.log.head()} messages within {within_s:g} s; expected {messages}, on {topics}"
            )

    # onwards

    def record(self) -> None:
        """Bring everything that arrived to the stores, or to quarantine."""
        self._keep()
        while self.recorder.step():
            pass

    def issue(self) -> tuple[Issued, ...]:
        """Record, then issue the certificates of lots that are ready; refusals are among them, each once."""
        self.record()
        issued = tuple(self.issuer.run_once())
        self.issued |= {each.lot: each for each in issued}
        return issued

    def rewind(self, offset: int = 1) -> None:
        """Judge every message from `offset` on again, as `filiere log rewind` does."""
        self._ask(Rewind(offset))

    def retry_quarantine(self) -> None:
        """Judge again what was refused, as `filiere quarantine retry` does."""
        self._ask(Retry())

    # out

    def readings(self, line: str, key: str, *, start_ns: int = 0, stop_ns: int = ALL_TIME_NS) -> Series:
        """What is stored of one signal, `extruder.melt_temp`. Raises NotFound: the plant has no such line or signal."""
        self.plant.line(line).signal(key)
        self.record()
        (series,) = self.store.window(line, [key], start_ns, stop_ns)
        return series

    def accounts(self) -> tuple[DeviceAccount, ...]:
        """What each device published and what became of it: `filiere audit`."""
        self.record()
        return audit(self.settings.recorder_path)

    def quarantine(self) -> tuple[Quarantined, ...]:
        """The messages that were refused, each with its reason."""
        self.record()
        return tuple(self.book.quarantine())

    def certificate(self, lot: str) -> Certificate:
        """What the certificate of a lot says. Raises NotFound: it has none; says why where it was refused."""
        return read_certificate(self._certificate_bytes(lot))

    def verify(self, lot: str) -> Verification:
        """A lot's certificate, checked as a stranger who has the issuer's key does. Raises NotFound: it has none."""
        return verify(self._certificate_bytes(lot), trusted=[public_pem(self.issuer.key.public_key())])

    def score(self, simulation: "Simulation") -> "Score":
        """What was concluded of a simulation that was run here, beside what was true: `filiere score`."""
        from simulators.truth.folder import TruthWriter, read_truth  # noqa: PLC0415  # Parquet, for who scores
        from simulators.truth.score import score  # noqa: PLC0415  # same
        from simulators.truth.system import System  # noqa: PLC0415  # same

        self.issue()
        system = System(
            plant=self.plant,
            chain=self.ledger.chain(),
            store=self.store,
            recorder_path=self.settings.recorder_path,
            certificates_dir=self.settings.certificates_dir,
        )
        with TemporaryDirectory(prefix="truth-", dir=self.settings.data_dir) as folder:
            writer = TruthWriter(Path(folder), simulation.plant, simulation.scenario, seed=simulation.seed)
            for cycle in simulation.cycles:
                writer.write(cycle)
            return score(read_truth(Path(folder)), system)

    @cached_property
    def api(self) -> ApiClient:
        """The API over this stack; what was published before a request is recorded before it."""
        from api.app import create_app  # noqa: PLC0415  # FastAPI takes half a second that most tests have no use for

        app = create_app(
            settings=self.settings, plant=self.plant, store=self.store, ledger=self.ledger, clock=self.clock
        )
        return ApiClient(app, before=self.record)

    def _keep(self) -> None:
        if self._arrived:
            self.log.append(self._arrived)
            self._arrived.clear()
        for status in self.statuses:
            status.live()

    def _ask(self, request: Rewind | Retry) -> None:
        self.record()
        RequestFolder(self.settings.data_dir / FOLDER).place(request)
        self.recorder.answer_requests()
        self.record()

    def _certificate_bytes(self, lot: str) -> bytes:
        if lot not in self.issued:
            self.issue()
        path = certificate_path(self.settings.certificates_dir, lot)
        if path.exists():
            return path.read_bytes()
        refused = self.issued[lot].refused if lot in self.issued else ()
        why = "; ".join(reason.en for reason in refused) or "no run of it has closed"
        raise NotFound(f"lot {lot!r} has no certificate: {why}; those that have one: {', '.join(self._certified())}")

    def _certified(self) -> Sequence[str]:
        return [lot for lot, issued in self.issued.items() if not issued.refused] or ["none"]


@contextmanager
def open_stack(
    folder: Path,
    *,
    plant: Plant,
    clock: FrozenClock,
    bus: MessageBus | None = None,
    store: ReadingsStore | None = None,
    seed: int = 1,
) -> Iterator[FiliereStack]:
    """A stack in an empty folder, or in one that an earlier stack left. `store` stays the caller's to close.

    The issuer's key follows from `seed`: the same messages make the same certificates, byte for byte. It signs for
    tests alone.

    Raises SettingsError, StoreUnavailable, StoreRefused: as the parts do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = settings_of(folder)
    bus = MessageBus() if bus is None else bus
    with ExitStack() as opened:
        log = opened.enter_context(MessageLog.open(settings.log_path))
        book = opened.enter_context(RecordBook.open(settings.recorder_path))
        if store is None:
            store = opened.enter_context(closing(EmbeddedStore.open(settings.embedded_store_path)))
        ledger = opened.enter_context(closing(Ledger.open(settings.ledger_database_url)))
        intake = IntakeStatusFile(settings.intake_status_path, log_path=settings.log_path, clock=clock)
        receipts = ReceiptsStatusFile(settings.receipts_status_path, clock=clock)
        statuses = (opened.enter_context(intake), opened.enter_context(receipts))
        recorder = Recorder(
            plant=plant,
            log=log,
            store=store,
            ledger=ledger,
            book=book,
            clock=clock,
            random=Random(seed),  # noqa: S311 - spreads waits, guards nothing
            stop=threading.Event(),
            requests=RequestFolder(settings.data_dir / FOLDER),
        )
        stack = FiliereStack(
            settings=settings,
            plant=plant,
            clock=clock,
            bus=bus,
            log=log,
            store=store,
            ledger=ledger,
            book=book,
            recorder=recorder,
            issuer=Issuer(
                plant=plant,
                ledger=ledger,
                store=store,
                key=_issuer_key(settings.signing_key_path, seed),
                archive_dir=settings.archive_dir,
                certificates_dir=settings.certificates_dir,
                settle_s=0.0,
                clock=clock,
            ),
            statuses=statuses,
        )
        for status in statuses:
            status.say(connected=True)
        opened.callback(bus.subscribe("#", stack.take))
        recorder.answer_requests()
        yield stack


def settings_of(folder: Path, **changed: object) -> Settings:
    """The default settings in a data folder, whatever the environment says: no test writes to a workshop's server."""
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    return Settings(**{**defaults, "data_dir": folder, **changed})


def _issuer_key(path: Path, seed: int) -> Ed25519PrivateKey:
    if not path.exists():
        raw = hashlib.sha256(f"filiere, a key for tests\0{seed}".encode()).digest()
        pem = Ed25519PrivateKey.from_private_bytes(raw).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.parent.mkdir(parents=True, exist_ok=True, mode=KEY_DIR_MODE)
        path.touch(mode=KEY_FILE_MODE)
        path.write_bytes(pem)
    return load_or_make_key(path)
