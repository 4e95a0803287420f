"""Composition of the collector's three processes: settings in, parts built here, run until asked to stop."""

import fcntl
import gc
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import structlog

from collector.patience import Patience, Stopped
from collector.recorder.book import RecordBook
from filiere.clock import system_clock
from filiere.errors import SettingsError
from filiere.message_log import MessageLog
from filiere.plant import Plant
from filiere.settings import Settings

if TYPE_CHECKING:
    from collector.broker import Broker
    from collector.recorder.recorder import Recorder

GC_THRESHOLDS = (100_000, 50, 100)
"""A chunk makes many rows that live until its end and form no circles: looking for these ten times less often saves a
tenth of the recorder's time."""
LOCK_WAIT_S = 0.1
LOCK_S_MAX = 30.0
"""How long a process that was asked to stop may still hold its file when the next one starts."""

_log = structlog.get_logger(__name__)


def run_intake(settings: Settings, plant: Plant, *, stop: threading.Event) -> None:
    """Take messages from the broker into the message log until asked to stop.

    Raises:
        SettingsError: another intake uses this data folder; a line that it owns is not in the plant model; the files
            for TLS are not what they should be.
    """
    from collector.intake.assignment import HeldFilters  # noqa: PLC0415 - the recorder needs no MQTT client
    from collector.intake.intake import Intake  # noqa: PLC0415 - same
    from collector.intake.status import StatusFile  # noqa: PLC0415 - same
    from collector.log.pruning import pruner_of  # noqa: PLC0415 - same

    broker, filters = broker_and_filters(settings, plant)
    random = Random()  # noqa: S311 - spreads waits, guards nothing
    with suppress(Stopped), only_one(settings.data_dir / "intake.lock", stop), ExitStack() as stack:
        status = stack.enter_context(
            StatusFile(settings.intake_status_path, log_path=settings.log_path, clock=system_clock)
        )

        def note(problem: str | None) -> None:
            _say(problem)
            status.say(problem=problem)

        patience = Patience(stop=stop, random=random, note=note)
        log = stack.enter_context(patience.until_done(lambda: MessageLog.open(settings.log_path)))
        Intake(
            broker=broker,
            log=log,
            clock=system_clock,
            random=random,
            stop=stop,
            filters=filters,
            held=HeldFilters(settings.subscriptions_path, client_id=broker.client_id),
            status=status,
            chore=pruner_of(settings, log).step,
        ).run()


def broker_and_filters(settings: Settings, plant: Plant) -> "tuple[Broker, tuple[str, ...]]":
    """Whom the intake asks for what. Raises SettingsError: as `run_intake`, about lines and TLS."""
    from collector.broker import broker_of, ssl_context  # noqa: PLC0415 - the recorder needs neither
    from collector.intake.assignment import subscriptions  # noqa: PLC0415 - same

    broker = broker_of(settings)
    if broker.tls is not None:
        ssl_context(broker.tls)
    return broker, subscriptions(plant, settings.mqtt_lines)


def run_recorder(settings: Settings, plant: Plant, *, stop: threading.Event) -> None:
    """Record the message log until asked to stop.

    Raises:
        SettingsError: another recorder uses this data folder; the ledger's address is not one.
        StoreUnavailable, StoreRefused: the book, or the message log, fails.
    """
    with (
        suppress(Stopped),
        only_one(settings.data_dir / "recorder.lock", stop),
        recorder_of(settings, plant, stop=stop) as recorder,
    ):
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        recorder.run()


@contextmanager
def recorder_of(settings: Settings, plant: Plant, *, stop: threading.Event) -> "Iterator[Recorder]":
    """The recorder of a data folder, for who holds its lock. Raises as `run_recorder`, and Stopped."""
    from collector.accounts.marks import marks_of  # noqa: PLC0415 - the intake needs no SQLAlchemy
    from collector.recorder.recorder import Recorder  # noqa: PLC0415 - same
    from collector.recorder.requests import FOLDER, RequestFolder  # noqa: PLC0415 - same
    from filiere.ledger import Ledger  # noqa: PLC0415 - same
    from filiere.readings_store import open_store  # noqa: PLC0415 - same

    random = Random()  # noqa: S311 - spreads waits, guards nothing
    with ExitStack() as stack:
        book = stack.enter_context(RecordBook.open(settings.recorder_path))
        log = stack.enter_context(
            Patience(stop=stop, random=random, note=_say).until_done(lambda: MessageLog.open_reader(settings.log_path))
        )
        patience = Patience(stop=stop, random=random, note=lambda problem: _say_in_book(book, problem))
        store = patience.until_done(lambda: open_store(settings))
        stack.callback(store.close)
        ledger = patience.until_done(lambda: Ledger.open(settings.ledger_database_url))
        stack.callback(ledger.close)
        yield Recorder(
            plant=plant,
            log=log,
            store=store,
            ledger=ledger,
            book=book,
            clock=system_clock,
            random=random,
            stop=stop,
            requests=RequestFolder(settings.data_dir / FOLDER),
            account_marks=marks_of(settings, plant),
        )


def run_receipts(settings: Settings, *, stop: threading.Event) -> None:
    """Answer each device with what of its numbers is in the message log, until asked to stop.

    Raises:
        SettingsError: another one uses this data folder.
        StoreUnavailable, StoreRefused: the book, or the message log, fails.
    """
    from collector.broker import broker_of  # noqa: PLC0415 - the recorder needs no MQTT client
    from collector.receipts.book import ReceiptBook  # noqa: PLC0415 - same
    from collector.receipts.desk import ReceiptDesk, ReceiptSender  # noqa: PLC0415 - same
    from collector.receipts.status import StatusFile  # noqa: PLC0415 - same

    random = Random()  # noqa: S311 - spreads waits, guards nothing
    with suppress(Stopped), only_one(settings.data_dir / "receipts.lock", stop), ExitStack() as stack:
        status = stack.enter_context(StatusFile(settings.receipts_status_path, clock=system_clock))

        def note(problem: str | None) -> None:
            _say(problem)
            status.say(problem=problem)

        patience = Patience(stop=stop, random=random, note=note)
        log = stack.enter_context(patience.until_done(lambda: MessageLog.open_reader(settings.log_path)))
        open_book = partial(ReceiptBook.open, settings.recorder_path)
        desk = patience.until_done(lambda: ReceiptDesk(log=log, open_book=open_book))
        stack.callback(desk.close)
        ReceiptSender(broker=broker_of(settings, "-receipts"), desk=desk, random=random, stop=stop, status=status).run()


@contextmanager
def only_one(path: Path, stop: threading.Event, *, wait_s: float | None = None) -> Iterator[None]:
    """Hold a lock while the block runs: each file of the data folder has one writer. The kernel frees it at any death.

    Raises:
        SettingsError: another process holds it for longer than `wait_s`, or than a stopping one may; or the folder
            cannot be written.
        Stopped: asked to stop while waiting for it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise SettingsError(
            f"FILIERE_DATA_DIR: got {path.parent} ({error.strerror}); expected a folder that may be made and written"
        ) from None
    with file:
        for _ in range(1 + int((LOCK_S_MAX if wait_s is None else wait_s) / LOCK_WAIT_S)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if stop.wait(LOCK_WAIT_S):
                    raise Stopped from None
        else:
            raise SettingsError(
                f"FILIERE_DATA_DIR: got {path.parent}, where another collector runs ({path.name} is held); stop that"
                " `filiere collect` first, or give this one a folder of its own"
            )
        yield


def _say(problem: str | None) -> None:
    if problem is not None:
        _log.info("waiting", problem=problem)


def _say_in_book(book: RecordBook, problem: str | None) -> None:
    _say(problem)
    progress = book.progress()
    if problem != progress.store_problem:
        book.note(replace(progress, store_problem=problem, updated_ns=system_clock()))
