"""Composition of the collector's two processes: settings in, parts built here, run until asked to stop."""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from random import Random

import structlog

from collector.patience import Patience, Stopped
from collector.record_book import RecordBook
from filiere.clock import system_clock
from filiere.errors import SettingsError
from filiere.message_log import MessageLog
from filiere.plant import Plant
from filiere.settings import Settings

LOCK_WAIT_S = 0.1
LOCK_S_MAX = 30.0
"""How long a process that was asked to stop may still hold its file when the next one starts."""

_log = structlog.get_logger(__name__)


def run_intake(settings: Settings, *, stop: threading.Event) -> None:
    """Take messages from the broker into the message log until asked to stop.

    Raises:
        SettingsError: another intake uses this data folder.
        StoreRefused: the message log cannot be opened.
    """
    from collector.intake import Broker, Intake  # noqa: PLC0415 - the recorder needs no MQTT client

    password = settings.mqtt_password
    broker = Broker(
        host=settings.mqtt_host,
        port=settings.mqtt_port,
        client_id=settings.mqtt_client_id,
        username=settings.mqtt_username,
        password=None if password is None else password.get_secret_value(),
    )
    random = Random()  # noqa: S311 - spreads waits, guards nothing
    with suppress(Stopped), only_one(settings.data_dir / "intake.lock", stop):
        patience = Patience(stop=stop, random=random, note=_say)
        log = patience.until_done(lambda: MessageLog.open(settings.log_path))
        with log:
            Intake(broker=broker, log=log, clock=system_clock, random=random, stop=stop).run()


def run_recorder(settings: Settings, plant: Plant, *, stop: threading.Event) -> None:
    """Record the message log until asked to stop.

    Raises:
        SettingsError: another recorder uses this data folder; the ledger's address is not one.
        StoreUnavailable, StoreRefused: the book, or the message log, fails.
    """
    from collector.recorder import Recorder  # noqa: PLC0415 - the intake needs no SQLAlchemy
    from filiere.ledger import Ledger  # noqa: PLC0415 - same
    from filiere.readings_store import open_store  # noqa: PLC0415 - same

    random = Random()  # noqa: S311 - spreads waits, guards nothing
    with suppress(Stopped), only_one(settings.data_dir / "recorder.lock", stop), ExitStack() as stack:
        book = stack.enter_context(RecordBook.open(settings.recorder_path))
        log = stack.enter_context(
            Patience(stop=stop, random=random, note=_say).until_done(lambda: MessageLog.open_reader(settings.log_path))
        )
        patience = Patience(stop=stop, random=random, note=lambda problem: _say_in_book(book, problem))
        store = patience.until_done(lambda: open_store(settings))
        stack.callback(store.close)
        ledger = patience.until_done(lambda: Ledger.open(settings.ledger_database_url))
        stack.callback(ledger.close)
        Recorder(
            plant=plant,
            log=log,
            store=store,
            ledger=ledger,
            book=book,
            clock=system_clock,
            random=random,
            stop=stop,
        ).run()


@contextmanager
def only_one(path: Path, stop: threading.Event) -> Iterator[None]:
    """Hold a lock while the block runs: each file of the data folder has one writer. The kernel frees it at any death.

    Raises:
        SettingsError: another process holds it for longer than a stopping one may, or the folder cannot be written.
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
        for _ in range(int(LOCK_S_MAX / LOCK_WAIT_S)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if stop.wait(LOCK_WAIT_S):
                    raise Stopped from None
        else:
            raise SettingsError(
                f"FILIERE_DATA_DIR: got {path.parent}, where another collector runs ({path.name} is held); expected a"
                " folder of its own, or that the other one is stopped first"
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
