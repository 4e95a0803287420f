"""What the demo sees: the state of the lines, of the recorder and of the certificates, read as anyone could read it."""

import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TypeGuard
from zoneinfo import ZoneInfo

from collector.accounts.audit import SILENT_S_MAX, RecorderState, recorder_state
from collector.condition import Trouble, intake_trouble, receipts_trouble
from filiere.chain import Chain, Run
from filiere.clock import NS_PER_S, from_ns
from filiere.errors import FiliereError, NotAuthentic, NotFound
from filiere.ledger import Ledger
from filiere.message_log import MessageLog
from filiere.plant import Label, Limits, Line, Plant, Signal, limits_of
from filiere.readings import Latest
from filiere.readings_store import ReadingsStore, open_store
from filiere.settings import Settings
from filiere.terminal import Language
from filiere.units import display
from processing.certificate import read_certificate
from processing.files import REFUSAL_SUFFIX, read_refusal
from processing.release import WORDS
from simulators.output.live_faults import FOLDER, FaultFolder, words_of

RATE_POINTS = 8
SHOWN_SIGNALS = 4
STARTING_MESSAGES = 200
"""A recorder that has not begun by then has failed; it begins within some seconds."""
REFUSED = Label(fr="refusé", en="refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineView:
    """A line now."""

    label: str
    state: str
    run: str
    lot: str
    values: tuple["Shown", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A reading as people read it."""

    text: str
    """`Humidité 0,06 %`; beyond a limit with which one: `▲ Humidité 1,20 % (max. 1 %)`."""
    beyond: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The whole demo now."""

    time: str
    """Virtual time of the last reading, on the clocks of the site; empty = none yet."""
    lines: tuple[LineView, ...]
    messages: int
    messages_per_s: float
    log_lag: int
    quarantined: int
    waiting: int
    """Messages in the simulator's outbox."""
    faults: tuple[str, ...]
    """What the simulator lets go wrong now: `Filtre qui se colmate, Textile T1, extrudeuse (clog-1)`."""
    problems: tuple[str, ...]
    """What is wrong, in words, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A lot that has its certificate, or its refusal."""

    lot: str
    path: Path
    mass_kg: str
    recycled: Decimal | None
    u95: Decimal | None
    bio_based: Decimal = Decimal(0)
    verdict: str
    """In the language of who looks."""
    address: str
    """Where its page is; empty when it was refused."""
    reasons: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """One line for people."""
        if self.recycled is None or self.u95 is None:
            return f"{self.lot} · pas de certificat : {' ; '.join(self.reasons)}"
        content = _content(self.recycled, self.u95, self.bio_based)
        return f"{self.lot} · {_french(self.mass_kg)} kg · {content} · {self.verdict} · {self.address}"


@dataclass(slots=True)
class Observer:
    """Opens what is there when it is there; a part that is not there yet is no error."""

    settings: Settings
    plant: Plant
    language: Language = "fr"
    """Of verdicts and reasons."""
    _store: ReadingsStore | None = None
    _ledger: Ledger | None = None
    _log: MessageLog | None = None
    _began_ns: int = field(default_factory=time.time_ns)
    _rates: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RATE_POINTS))
    _told: set[str] = field(default_factory=set)
    _faults: FaultFolder = field(init=False)

    def __post_init__(self) -> None:
        self._faults = FaultFolder(self.settings.data_dir / FOLDER, self.plant)

    def close(self) -> None:
        """Close the files."""
        for part in (self._store, self._ledger, self._log):
            if part is not None:
                part.close()

    def recorder(self) -> RecorderState | None:
        """None before the recorder has begun."""
        try:
            return recorder_state(self.settings.recorder_path)
        except FiliereError:
            return None

    def log_head(self) -> int:
        """Offset of the last message on the disk; 0 before the first."""
        try:
            self._log = self._log or MessageLog.open_reader(self.settings.log_path)
            return self._log.head()
        except FiliereError:
            return 0

    def chain(self) -> Chain:
        """The ledger's chain, empty before the recorder has begun."""
        if self._ledger is None:
            if self.recorder() is None:
                return Chain()
            self._ledger = Ledger.open(self.settings.ledger_database_url)
        return self._ledger.chain()

    def view(self) -> View:
        """All that the live view shows."""
        head, recorder = self.log_head(), self.recorder()
        self._rates.append((time.monotonic(), head))
        (then_s, then), (now_s, now) = self._rates[0], self._rates[-1]
        problems = [*self._collector_problems(), _problem(recorder, head, since_ns=self._began_ns)]
        running = self._faults.running()
        newest_ns = 0
        lines: tuple[LineView, ...] = ()
        try:
            chain = self.chain()
            lines = tuple(self._line(line, chain) for line in self.plant.lines)
            newest_ns = max((reading.time_ns for line in self.plant.lines for reading in self.latest(line)), default=0)
        except FiliereError as error:
            problems = [f"les données ne se lisent pas : {error}"]
        return View(
            time=_moment(newest_ns, self.plant.timezone) if newest_ns else "",
            lines=lines,
            messages=head,
            messages_per_s=(now - then) / (now_s - then_s) if now_s > then_s else 0.0,
            log_lag=max(0, head - recorder.bookmark) if recorder is not None else head,
            quarantined=recorder.quarantined if recorder is not None else 0,
            waiting=running.waiting if running is not None else 0,
            faults=tuple(words_of(fault, self.plant).fr for fault in running.active) if running is not None else (),
            problems=tuple(problem for problem in problems if problem),
        )

    def _collector_problems(self) -> Iterator[str]:
        """Why nothing is accepted, or nobody answered, in words; nothing = all is well, or not begun yet."""
        intake = intake_trouble(self.settings.intake_status_path, time.time_ns())
        if _begun(intake):
            yield f"rien n'est accepté, les mesures attendent : {intake.words}"
            return
        receipts = receipts_trouble(self.settings.receipts_status_path, time.time_ns())
        if _begun(receipts):
            yield f"les appareils ne reçoivent pas de réponse et gardent tout : {receipts.words}"

    def _line(self, line: Line, chain: Chain) -> LineView:
        run = chain.open_run(line.path)
        latest = {reading.key: reading for reading in self.latest(line)}
        recipe = next((each for each in line.step(run.step).recipes if each.id == run.recipe), None) if run else None
        judged = {signal.key for signal in line.signals_of(line.step(run.step))} if run is not None else set()
        return LineView(
            label=line.label.fr,
            state="en production" if run is not None else ("à l'arrêt" if latest else "en attente"),
            run=line.step(run.step).label.fr if run is not None else "",
            lot=run.lot if run is not None else "",
            values=tuple(
                _reading(
                    signal, latest[signal.key].value, limits_of(signal, recipe) if signal.key in judged else Limits()
                )
                for signal in _shown(line, run)
                if signal.key in latest
            ),
        )

    def latest(self, line: Line) -> tuple[Latest, ...]:
        """The last reading of each signal of a line."""
        self._store = self._store or open_store(self.settings)
        return self._store.latest(line.path)

    def finished(self) -> Iterator[Finished]:
        """Lots that were finished since the last call."""
        folder = self.settings.certificates_dir
        for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns) if folder.exists() else ():
            if path.name not in self._told and not path.name.startswith("."):
                found = self.read(path)
                if found is not None:
                    self._told.add(path.name)
                    yield found

    def read(self, path: Path) -> Finished | None:
        """A certificate or a refusal as one line says it; None when it cannot be read."""
        try:
            if path.name.endswith(REFUSAL_SUFFIX):
                return Finished(
                    lot=path.name.removesuffix(REFUSAL_SUFFIX),
                    path=path,
                    mass_kg="",
                    recycled=None,
                    u95=None,
                    verdict=REFUSED.in_language(self.language),
                    address="",
                    reasons=tuple(label.in_language(self.language) for label in read_refusal(path)),
                )
            statement = read_certificate(path.read_bytes()).statement
        except (NotAuthentic, NotFound, OSError, KeyError, TypeError, ValueError):
            return None
        return Finished(
            lot=statement.lot.id,
            path=path,
            mass_kg=statement.lot.mass_kg,
            recycled=Decimal(statement.claim.recycled_content),
            u95=Decimal(statement.claim.u95),
            bio_based=Decimal(statement.claim.bio_based),
            verdict=WORDS[statement.release.verdict].in_language(self.language),
            address=f"{self.settings.public_base_url}/certificates/{path.stem}",
        )

    def certified_runs(self) -> tuple[Run, ...]:
        """Closed runs whose product is sold."""
        return tuple(
            run
            for run in self.chain().runs.values()
            if run.closed and self.plant.line(run.line).step(run.step).certified
        )


def _begun(trouble: Trouble | None) -> TypeGuard[Trouble]:
    """Of a process that has begun: at the start of the demo none has."""
    return trouble is not None and trouble.state not in ("absent", "silent")


def _shown(line: Line, run: Run | None) -> tuple[Signal, ...]:
    """A few signals that say most: the critical ones of the open run's units, one of each name."""
    step = line.step(run.step) if run is not None else line.steps[-1]
    signals = sorted(line.signals_of(step), key=lambda signal: not signal.critical)
    chosen: dict[str, Signal] = {}
    for signal in signals:
        # Of the zones of a barrel one is enough.
        chosen.setdefault(signal.id.rstrip("0123456789"), signal)
    return tuple(chosen.values())[:SHOWN_SIGNALS]


def _problem(recorder: RecorderState | None, head: int, *, since_ns: int) -> str:
    """What keeps the recorder from working, and what to do; empty = nothing.

    Before `since_ns` there was another demo, whose recorder is silent because it was stopped.
    """
    if recorder is None:
        return "l'enregistreur n'a pas démarré : voir logs/collect.log" if head > STARTING_MESSAGES else ""
    if recorder.store_problem:
        return f"l'enregistreur attend la base des mesures, rien n'est perdu : {recorder.store_problem}"
    silent_s = (time.time_ns() - max(recorder.updated_ns, since_ns)) / NS_PER_S
    if silent_s > SILENT_S_MAX:
        return f"l'enregistreur ne répond plus depuis {silent_s:.0f} s : voir logs/collect.log"
    return ""


def _reading(signal: Signal, value: float, limits: Limits) -> Shown:
    """A value in the unit that people read, with the limit that it is beyond."""
    scale, sign = display(signal.unit)
    places = max(0, -math.floor(math.log10(signal.resolution * scale)))
    text = f"{signal.label.fr} {_french(f'{value * scale:.{places}f}')} {sign}"
    if limits.high is not None and value > limits.high:
        return Shown(text=f"▲ {text} (max. {_french(f'{limits.high * scale:g}')} {sign})", beyond=True)
    if limits.low is not None and value < limits.low:
        return Shown(text=f"▼ {text} (min. {_french(f'{limits.low * scale:g}')} {sign})", beyond=True)
    return Shown(text=text)


def _moment(time_ns: int, timezone: str) -> str:
    """`17/11/2026 12:07:46`, on the clocks of the site."""
    return from_ns(time_ns).astimezone(ZoneInfo(timezone)).strftime("%d/%m/%Y %H:%M:%S")


def _content(recycled: Decimal, u95: Decimal, bio_based: Decimal) -> str:
    """What a buyer asks for: recycled content; of a material with none, what grew."""
    if not recycled and bio_based:
        return f"biosourcé {_french(f'{bio_based * 100:.1f}')} %"
    return f"recyclé {_percent(recycled)}" + (f" ± {_percent(u95)} %" if u95 else " %")


def _percent(fraction: Decimal) -> str:
    return _french(f"{fraction * 100:.2f}")


def _french(number: str) -> str:
    return number.replace(".", ",")
