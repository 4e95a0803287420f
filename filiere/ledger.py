"""The event ledger: an append-only table of EPCIS events, SQLite or PostgreSQL, and the chain folded from it.

Nothing is edited: the database itself refuses UPDATE and DELETE on `event`. An event that names what has not arrived
yet is held beside the ledger and judged again after each event that comes.
"""

import enum
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from filiere.chain import Chain
from filiere.errors import EventEarly, EventRefused, SettingsError, StoreRefused, StoreUnavailable
from filiere.events import Event, RunStarted, parse_event
from filiere.sqlite_file import meaning

BUSY_TIMEOUT_MS = 10_000
CONNECT_TIMEOUT_S = 5
READ_CHUNK = 1000
HELD_MAX = 10_000
"""More held events than this means that a sender is lost, not late: the next early one is refused."""

_metadata = sa.MetaData()
_event = sa.Table(
    "event",
    _metadata,
    sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("event_id", sa.Text, nullable=False, unique=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("record_time_ns", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
_held = sa.Table(
    "held_event",
    _metadata,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("refused", sa.Boolean, nullable=False),
    sa.Column("record_time_ns", sa.BigInteger, nullable=False),
)
_SQLITE_APPEND_ONLY = tuple(
    f"CREATE TRIGGER IF NOT EXISTS event_no_{verb.lower()} BEFORE {verb} ON event"
    f" BEGIN SELECT RAISE(ABORT, 'the event ledger is append-only'); END"
    for verb in ("UPDATE", "DELETE")
)
_POSTGRESQL_APPEND_ONLY = (
    """CREATE OR REPLACE FUNCTION filiere_append_only() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN RAISE EXCEPTION 'the event ledger is append-only'; END $$""",
    """CREATE OR REPLACE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event
       FOR EACH STATEMENT EXECUTE FUNCTION filiere_append_only()""",
)
_READING = "filiere_reading"
_POSTGRESQL_WRITER_LOCK = 0x0F11E12E


class Admission(enum.Enum):
    """What became of an event."""

    ADDED = "added"
    KNOWN = "known"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event as it was sent, with its place in the ledger."""

    position: int
    event_id: str
    body: bytes
    record_time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldEvent:
    """An event beside the ledger: it waits for what it names, or was refused once that came."""

    event_id: str
    body: bytes
    reason: str
    refused: bool
    record_time_ns: int


class Ledger:
    """Open one with `Ledger.open(url)`. Threads may share it; other processes may read, and with PostgreSQL write."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._forget()
        self._snapshot: tuple[int, str, Chain] = (0, "", Chain())

    @classmethod
    def open(cls, url: str) -> "Ledger":
        """`sqlite:///path` or `postgresql+psycopg://…` → Ledger, its tables made when missing.

        Raises:
            SettingsError: the URL is not one, or its driver is not installed.
            StoreUnavailable: the database does not answer.
            StoreRefused: the file is not a database, or the user may not.
        """
        try:
            sqlite = make_url(url).get_backend_name() == "sqlite"
            arguments = {"timeout": BUSY_TIMEOUT_MS / 1000} if sqlite else {"connect_timeout": CONNECT_TIMEOUT_S}
            engine = sa.create_engine(url, connect_args=arguments, pool_pre_ping=not sqlite)
        except (ArgumentError, ImportError, SQLAlchemyError) as error:
            raise SettingsError(
                f"FILIERE_LEDGER_URL: got {url.rsplit('@', maxsplit=1)[-1]!r} ({error}); expected"
                " sqlite:///path/to/ledger.sqlite or postgresql+psycopg://user:password@host/database"
                " (install the extra: filiere[postgres])"
            ) from None
        if sqlite:
            sa.event.listen(engine, "connect", _prepare_sqlite)
            sa.event.listen(engine, "begin", _begin_immediate)
        ledger = cls(engine)
        with ledger._reading() as connection:
            ready = sa.inspect(connection).has_table(_held.name)
        if not ready:
            ledger._make_tables(_SQLITE_APPEND_ONLY if sqlite else _POSTGRESQL_APPEND_ONLY)
        return ledger

    def _make_tables(self, append_only: tuple[str, ...]) -> None:
        with self._transaction() as connection:
            for table in (_event, _held):
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
            for statement in append_only:
                connection.execute(sa.text(statement))

    def append(self, body: bytes, *, record_time_ns: int) -> Admission:
        """Judge one EPCIS event and keep it, durably, before returning.

        Raises:
            EventRefused: it contradicts itself or the ledger, which is unchanged.
            StoreUnavailable, StoreRefused: the database; the ledger is unchanged.
        """
        event = parse_event(body)
        with self._lock:
            try:
                with self._transaction() as connection:
                    return self._append(connection, event, body, record_time_ns)
            except EventRefused:
                raise
            except BaseException:
                self._forget()
                raise

    def _append(self, connection: Connection, event: Event, body: bytes, record_time_ns: int) -> Admission:
        self._refresh(connection)
        try:
            if not self._chain.admit(event):
                return Admission.KNOWN
        except EventEarly as early:
            return _hold(connection, event, body, str(early), record_time_ns)
        self._insert(connection, event.event_id, body, record_time_ns)
        self._release(connection)
        return Admission.ADDED

    def _insert(self, connection: Connection, event_id: str, body: bytes, record_time_ns: int) -> None:
        result = connection.execute(
            sa.insert(_event).values(event_id=event_id, body=body, record_time_ns=record_time_ns)
        )
        key = result.inserted_primary_key
        assert key is not None
        self._position, self._last_id = key[0], event_id

    def _release(self, connection: Connection) -> None:
        """Judge the held events again until none of them moves."""
        moved = True
        while moved:
            moved = False
            for held in _held_events(connection, waiting_only=True):
                try:
                    self._chain.admit(parse_event(held.body))
                except EventEarly:
                    continue
                except EventRefused as refused:
                    connection.execute(
                        sa.update(_held)
                        .where(_held.c.event_id == held.event_id)
                        .values(refused=True, reason=str(refused))
                    )
                    continue
                self._insert(connection, held.event_id, held.body, held.record_time_ns)
                connection.execute(sa.delete(_held).where(_held.c.event_id == held.event_id))
                moved = True

    def chain(self) -> Chain:
        """The chain of all events so far: a snapshot that later events do not change."""
        with self._lock, self._reading() as connection:
            self._refresh(connection)
            if self._snapshot[:2] != (self._position, self._last_id):
                self._snapshot = (self._position, self._last_id, self._chain.snapshot())
            return self._snapshot[2]

    def events(self, after: int = 0) -> Iterator[StoredEvent]:
        """Events with position > `after`, in the order in which they were admitted."""
        while True:
            with self._reading() as connection:
                chunk = _events_after(connection, after)
            yield from chunk
            if len(chunk) < READ_CHUNK:
                return
            after = chunk[-1].position

    def held(self) -> tuple[HeldEvent, ...]:
        """Events that wait, and those refused after waiting."""
        with self._reading() as connection:
            return _held_events(connection, waiting_only=False)

    def check(self) -> None:
        """Raises StoreUnavailable or StoreRefused when the database cannot be read."""
        with self._reading() as connection:
            connection.execute(sa.select(sa.func.max(_event.c.position)))

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _refresh(self, connection: Connection) -> None:
        if not self._still_there(connection):
            self._forget()  # another ledger was put in this one's place, a backup say: it is folded from its start
        while True:
            chunk = _events_after(connection, self._position)
            for stored in chunk:
                try:
                    self._chain.admit(parse_event(stored.body))
                except (EventEarly, EventRefused) as impossible:
                    raise StoreRefused(
                        f"ledger: event {stored.position} ({stored.event_id}) cannot have been admitted ({impossible});"
                        " restore the ledger from a backup"
                    ) from None
                self._position, self._last_id = stored.position, stored.event_id
            if len(chunk) < READ_CHUNK:
                return

    def _still_there(self, connection: Connection) -> bool:
        """Whether the last event that was folded stands where it stood."""
        found = connection.execute(sa.select(_event.c.event_id).where(_event.c.position == self._position)).scalar()
        return self._position == 0 or found == self._last_id

    def _forget(self) -> None:
        self._chain, self._position, self._last_id = Chain(), 0, ""

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with _foreign_errors_mapped(self._engine), self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_POSTGRESQL_WRITER_LOCK)))
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A reader of a SQLite file takes no writer's lock."""
        with _foreign_errors_mapped(self._engine), self._engine.connect() as connection:
            yield connection.execution_options(**{_READING: True})


def _events_after(connection: Connection, position: int) -> tuple[StoredEvent, ...]:
    rows = connection.execute(
        sa.select(_event).where(_event.c.position > position).order_by(_event.c.position).limit(READ_CHUNK)
    )
    return tuple(StoredEvent(**row) for row in rows.mappings())


def _held_events(connection: Connection, *, waiting_only: bool) -> tuple[HeldEvent, ...]:
    query = sa.select(_held).order_by(_held.c.record_time_ns, _held.c.event_id)
    if waiting_only:
        query = query.where(sa.not_(_held.c.refused))
    return tuple(HeldEvent(**row) for row in connection.execute(query).mappings())


def _hold(connection: Connection, event: Event, body: bytes, reason: str, record_time_ns: int) -> Admission:
    waiting = {held.event_id: parse_event(held.body) for held in _held_events(connection, waiting_only=True)}
    known = waiting.get(event.event_id)
    if known is not None:
        if known == event:
            return Admission.WAITING
        raise EventRefused(f"got another event with eventID {event.event_id}; expected a new id for a new event")
    if len(waiting) >= HELD_MAX:
        raise EventRefused(f"{reason}; {len(waiting)} events wait already: send the events that they name first")
    _refuse_circle(event, [other for other in waiting.values() if isinstance(other, RunStarted)])
    connection.execute(sa.delete(_held).where(_held.c.event_id == event.event_id))
    connection.execute(
        sa.insert(_held).values(
            event_id=event.event_id, body=body, reason=reason, refused=False, record_time_ns=record_time_ns
        )
    )
    return Admission.WAITING


def _refuse_circle(event: Event, waiting: list[RunStarted]) -> None:
    """A start whose input is made, through starts that wait, out of its own lot would wait for ever."""
    if not isinstance(event, RunStarted):
        return
    makers = {start.lot: start for start in waiting}
    behind, seen = [portion.lot for portion in event.inputs], set[str]()
    while behind:
        lot = behind.pop()
        if lot == event.lot:
            raise EventRefused(
                f"run {event.run}: lot {event.lot} would be made, through other runs, out of itself;"
                " expected no circle: correct the inputs"
            )
        if lot in makers and lot not in seen:
            seen.add(lot)
            behind.extend(portion.lot for portion in makers[lot].inputs)


@contextmanager
def _foreign_errors_mapped(engine: sa.Engine) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise meaning(Path(engine.url.database or ""), error.orig) from None
        if isinstance(error, OperationalError | InterfaceError):
            raise StoreUnavailable(f"ledger: {error.orig}; wait until it answers, then try again") from None
        raise StoreRefused(f"ledger: {error.orig}; look at FILIERE_LEDGER_URL and the rights of its user") from None


def _prepare_sqlite(connection: object, _record: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]  # the driver's own transactions off: BEGIN is ours
    cursor = connection.cursor()  # type: ignore[attr-defined]  # a sqlite3.Connection behind SQLAlchemy's object
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    if _READING not in connection.get_execution_options():
        connection.exec_driver_sql("BEGIN IMMEDIATE")
