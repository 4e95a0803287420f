"""The intake: the only thing that acknowledges, and it understands nothing.

One thread: take what the socket has, one COMMIT in the message log for all of it, then the acknowledgements, never
before. While the disk refuses, nothing is acknowledged and nothing more is read: the broker keeps what it has. So the
memory of this process is bounded, whatever is down: one batch, and the packet that is on its way.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from random import Random

import structlog

from collector.broker import Broker
from collector.intake.assignment import HeldFilters, topic_filters
from collector.intake.bulk import BulkConnection
from collector.intake.connection import MQTT_3, MQTT_5, Connection, Ending, Session, Version
from collector.intake.status import StatusFile
from collector.patience import Patience, Stopped, waits_s
from filiere.clock import Clock
from filiere.errors import SettingsError, StoreRefused, StoreUnavailable
from filiere.message_log import MessageLog
from filiere.settings import variable

WAIT_S = 0.2
"""Longest wait for the socket: how soon a request to stop is seen."""
DISK_WAIT_S_MAX = 2.0
"""Longest wait between two tries of a disk that is full: how soon it goes on when there is room."""
TAKEN_OVER_WAIT_S = 20.0
"""Two collectors with one client id take the session from each other no more often than this, each."""
SHORT_S = 10.0
SHORT_IN_A_ROW_MAX = 5
"""So many connections in a row that the broker lets in and ends within SHORT_S: somebody else has our client id. Many
brokers do not say so."""
NO_ANSWERS_MAX = 3
"""So many connections in a row that end without an answer to CONNECT, and the other version of MQTT is tried."""
CHORE_EVERY_S = 0.1

_log = structlog.get_logger(__name__)


class Intake:
    """One process has one; it is the only writer of the message log."""

    def __init__(
        self,
        *,
        broker: Broker,
        log: MessageLog,
        clock: Clock,
        random: Random,
        stop: threading.Event,
        filters: tuple[str, ...] = topic_filters(),
        held: HeldFilters | None = None,
        status: StatusFile | None = None,
        chore: Callable[[], object] = lambda: None,
        connect: Callable[[Session, Clock, Version], Connection] = BulkConnection,
    ) -> None:
        """`filters` are asked for, and those of `held` given up that are not among them. `chore` is the log's upkeep,
        called between batches, at most ten times a second; it must be brief.
        """
        self._session = Session(broker=broker, filters=filters, held=held)
        self._messages = log
        self._clock = clock
        self._random = random
        self._stop = stop
        self._status = status
        self._chore = chore
        self._chore_at_s = 0.0
        self._connect = connect
        self._version: Version = MQTT_5
        self._no_answers = 0
        self._short_in_a_row = 0
        self._waits = waits_s(random)
        self._patience = Patience(stop=stop, random=random, note=self._note_disk, wait_s_max=DISK_WAIT_S_MAX)

    def run(self) -> None:
        """Take messages until asked to stop; connect again, for ever, when the broker goes away."""
        while not self._stop.is_set():
            # a connection object a connection: what an earlier one still had to acknowledge is forgotten with it
            connection = self._connect(self._session, self._clock, self._version)
            problem, began_s = None, time.monotonic()
            try:
                connection.open()
                self._serve(connection)
            except (OSError, UnicodeError) as error:  # the second: a host that cannot be a name
                problem = f"no connection to the broker {self._session.broker.address}: {error}; is it running there?"
                _log.warning("no connection to the broker", address=self._session.broker.address, got=str(error))
            except (SettingsError, StoreUnavailable, StoreRefused) as error:
                problem = str(error)
                _log.error("no connection to the broker", problem=problem)
            except Stopped:
                _log.info("intake stopped while it waited for the disk")
            finally:
                connection.close()
            lost_at_once = connection.ending is Ending.LOST and time.monotonic() - began_s < SHORT_S
            self._short_in_a_row = self._short_in_a_row + 1 if lost_at_once else 0
            self._choose_version(connection.ending, opened=problem is None)
            self._say(connected=False, problem=problem or self._problem_of(connection))
            self._wait(self._wait_s_after(connection.ending))

    def _serve(self, connection: Connection) -> None:
        ready = False
        while not self._stop.is_set() and connection.wait(WAIT_S):
            batch = connection.read()
            if batch:
                taken = len(batch)
                self._patience.until_done(partial(self._messages.append, batch))
                connection.acknowledge()
                if self._status is not None:
                    self._status.count(taken)
            if not ready and connection.ending is Ending.LOST:
                ready = True
                self._say(connected=True, problem=None)
            self._do_chore()

    def _problem_of(self, connection: Connection) -> str:
        broker = self._session.broker
        if connection.ending is Ending.NO_ANSWER and not self._stop.is_set():
            problem = f"{connection.ending.value} ({broker.address})"
            if broker.tls is None:
                problem += f": does it speak TLS alone ({variable('mqtt_ca')})?"
            elif broker.tls.certificate is None:
                problem += f": does it ask for a certificate ({variable('mqtt_certificate')})?"
            _log.warning("no connection to the broker", problem=problem)
            return problem
        if self._short_in_a_row < SHORT_IN_A_ROW_MAX:
            return connection.problem or connection.ending.value
        problem = (
            f"the broker {broker.address} lets {broker.client_id!r} in and drops it at once, again and again: most"
            " likely another client has this id too; two collectors must not share a client id (the broker's log tells)"
        )
        _log.error("the connection is lost again and again", problem=problem)
        return problem

    def _wait_s_after(self, ending: Ending) -> float:
        if ending is Ending.TAKEN_OVER or self._short_in_a_row >= SHORT_IN_A_ROW_MAX:
            return TAKEN_OVER_WAIT_S * self._random.uniform(0.5, 1.0)
        if ending is Ending.LOST:
            self._waits = waits_s(self._random)
        return next(self._waits)

    def _wait(self, wait_s: float) -> None:
        until_s = time.monotonic() + wait_s
        while (left_s := until_s - time.monotonic()) > 0 and not self._stop.wait(min(left_s, WAIT_S)):
            self._do_chore()

    def _do_chore(self) -> None:
        if self._status is not None:
            self._status.count(0)
        now_s = time.monotonic()
        if now_s < self._chore_at_s:
            return
        self._chore_at_s = now_s + CHORE_EVERY_S
        try:
            self._chore()
        except (StoreUnavailable, StoreRefused) as problem:
            # an append that cannot be written says so by itself; until then nothing is lost by not tidying up
            _log.warning("the message log cannot be kept small", problem=str(problem))
            self._chore_at_s = now_s + DISK_WAIT_S_MAX

    def _choose_version(self, ending: Ending, *, opened: bool) -> None:
        """A broker may say that it does not know MQTT 5, or just hang up."""
        self._no_answers = self._no_answers + 1 if opened and ending is Ending.NO_ANSWER else 0
        if ending is Ending.WRONG_VERSION or self._no_answers == NO_ANSWERS_MAX:
            self._no_answers = 0
            self._version = MQTT_3 if self._version == MQTT_5 else MQTT_5
            _log.warning("trying the other version of MQTT", version="5" if self._version == MQTT_5 else "3.1.1")

    def _note_disk(self, problem: str | None) -> None:
        if problem is not None:
            _log.error("nothing is acknowledged: the message log cannot be written", problem=problem)
        self._say(connected=True, problem=problem)

    def _say(self, *, connected: bool, problem: str | None) -> None:
        if self._status is not None:
            self._status.say(connected=connected, problem=problem)
