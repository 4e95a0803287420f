"""A small plant, messages with sane defaults, and a recorder on real files with a readings store that can be broken."""

import threading
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from collector.codec import ReadingsMessage, encode_event, encode_readings, topic_text
from collector.recorder.book import RecordBook
from collector.recorder.recorder import Recorder
from collector.recorder.requests import FOLDER, RequestFolder, Retry, Rewind
from filiere.clock import NS_PER_S, parse_time
from filiere.embedded_store import EmbeddedStore
from filiere.errors import StoreRefused, StoreUnavailable
from filiere.events import event_json
from filiere.ledger import Ledger
from filiere.message_log import MessageLog
from filiere.plant import Label, Limits, Line, Plant, Signal, Unit, Workshop
from filiere.plant_file import load_plant

LINE = "caux/textile/t1"
EXTRUDER = f"{LINE}/extruder"
NOON_NS = parse_time("2026-03-11T12:00:00Z")
TOPIC = topic_text(LINE, "extruder", "readings")
TERMINAL_TOPIC = topic_text(LINE, "terminal", "events")


def signal(name, device="extruder", unit="Cel", range_low=-20.0, range_high=400.0):
    return Signal(
        id=name,
        device=device,
        label=Label(fr=name, en=name),
        unit=unit,
        period_s=2.0,
        range_low=range_low,
        range_high=range_high,
        resolution=0.5,
        critical=True,
        limits=Limits(),
    )


def with_signals(*more, unit="extruder"):
    """The plant with more signals of its extruder, or with another unit that has them."""
    model = plant()
    line = model.lines[0]
    if unit == "extruder":
        units = tuple(replace(each, signals=(*each.signals, *more)) for each in line.units)
    else:
        label = Label(fr=unit, en=unit)
        units = (*line.units, Unit(id=unit, label=label, signals=more, simulator={}))
    workshop = replace(model.workshops[0], lines=(replace(line, units=units),))
    return replace(model, workshops=(workshop,), digest=f"{unit}-{len(more)}")


def plant():
    signals = (signal("melt_temp"), signal("melt_pressure", unit="bar", range_low=0.0, range_high=300.0))
    unit = Unit(id="extruder", label=Label(fr="Extrudeuse", en="Extruder"), signals=signals, simulator={})
    label = Label(fr="T1", en="T1")
    caux = load_plant("caux")
    line = Line(id="t1", path=LINE, label=label, units=(unit,), steps=caux.line(LINE).steps, simulator={})
    return Plant(
        site="caux",
        label=label,
        issuer="Atelier",
        timezone="Europe/Paris",
        materials=caux.materials,
        workshops=(Workshop(id="textile", label=label, lines=(line,)),),
        digest="00",
    )


def readings(seq=0, boot="9f2c", time_ns=None, units=None, rows=1, **values):
    """One row, or `rows` of them a second apart, all with the same values."""
    start_ns = NOON_NS + seq * NS_PER_S if time_ns is None else time_ns
    return encode_readings(
        ReadingsMessage(
            boot=boot,
            seq=seq,
            time_ns=tuple(start_ns + row * NS_PER_S for row in range(rows)),
            values={name: (float(value),) * rows for name, value in (values or {"melt_temp": 230}).items()},
            units=units or {},
        )
    )


def event(seq, event, boot="9f2c"):
    return encode_event(boot, seq, event_json(event))


@dataclass
class BreakableStore:
    """The embedded store behind a switch: down, refusing all, or refusing rows with one value."""

    kept: EmbeddedStore
    down: bool = False
    locked: bool = False
    poison: float | None = None
    poison_run: str = ""
    writes: int = 0
    name: str = "breakable"

    def write(self, blocks, marks=(), accounts=()):
        self.check()
        poison = self.poison
        if poison is not None and any(poison in column for block in blocks for column in block.values.values()):
            raise StoreRefused("422: field type conflict")
        if any(mark.run == self.poison_run for mark in marks):
            raise StoreRefused("422: this mark")
        self.writes += 1
        self.kept.write(blocks, marks, accounts)

    def latest(self, line):
        self.check()
        return self.kept.latest(line)

    def check(self):
        if self.down:
            raise StoreUnavailable("connection refused")
        if self.locked:
            raise StoreRefused("401: unauthorized; check the token")
        self.kept.check()

    def close(self):
        self.kept.close()


@dataclass
class Rig:
    """A data folder with a recorder; `restart` is what a kill and a new start leave."""

    folder: Path
    clock_ns: int = NOON_NS
    stop: threading.Event = field(default_factory=threading.Event)
    plant: Plant = field(default_factory=plant)

    def __enter__(self):
        self._stack = ExitStack()
        self.log = self._stack.enter_context(MessageLog.open(self.folder / "messages.sqlite"))
        self.store = BreakableStore(EmbeddedStore.open(self.folder / "readings.sqlite"))
        self._stack.callback(self.store.close)
        self.ledger = Ledger.open(f"sqlite:///{self.folder / 'ledger.sqlite'}")
        self._stack.callback(self.ledger.close)
        self.restart()
        return self

    def __exit__(self, *_):
        self.book.close()
        self._stack.close()

    @property
    def requests(self):
        return RequestFolder(self.folder / FOLDER)

    @property
    def book_path(self):
        return self.folder / "recorder.sqlite"

    def restart(self):
        if hasattr(self, "book"):
            self.book.close()
        self.book = RecordBook.open(self.book_path)
        self.recorder = Recorder(
            plant=self.plant,
            log=self.log,
            store=self.store,
            ledger=self.ledger,
            book=self.book,
            clock=lambda: self.clock_ns,
            random=Random(1),
            stop=self.stop,
            requests=self.requests,
        )

    def arrive(self, *payloads, topic=TOPIC):
        self.log.append([(topic.encode(), payload, self.clock_ns) for payload in payloads])

    def record(self, *payloads, topic=TOPIC):
        """Let messages arrive and record all that is in the log."""
        self.arrive(*payloads, topic=topic)
        while self.recorder.step():
            pass

    def stored(self, key="extruder.melt_temp"):
        """(time_ns, value, quality index) of every reading of a signal."""
        (series,) = self.store.kept.window(LINE, [key], -(2**62), 2**62)
        return list(zip(series.time_ns.tolist(), series.value.tolist(), series.quality.tolist(), strict=True))

    def rewind(self, offset=1, *, empty=False):
        """Judge again from a message on; with `empty`, into a store with nothing in it."""
        if empty:
            self.store.kept.close()
            for file in self.folder.glob("readings.sqlite*"):
                file.unlink()
            self.store.kept = EmbeddedStore.open(self.folder / "readings.sqlite")
        self.requests.place(Rewind(offset))
        self.recorder.answer_requests()
        self.record()

    def retry(self, **choice):
        """Judge again what is in quarantine. Returns the Outcome."""
        name = self.requests.place(Retry(**choice))
        self.recorder.answer_requests()
        return self.requests.outcome(name)

    def everything_stored(self):
        """Every reading and every run mark of the store."""
        query = "SELECT line, key, time_ns, value, quality FROM reading JOIN series ON series = id ORDER BY 1, 2, 3"
        rows = self.store.kept._connection.execute(query).fetchall()
        return rows, self.marks()

    def marks(self):
        rows = self.store.kept._connection.execute("SELECT time_ns, state, run, lot FROM run_mark ORDER BY time_ns")
        return [tuple(row) for row in rows]
