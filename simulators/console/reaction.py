"""What the system makes of it: read from its files, as anyone could read it. Without a system there is nothing."""

import sqlite3
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from api.lines import before_run
from collector.accounts.book import AccountBook
from collector.condition import intake_trouble, receipts_trouble
from filiere.chain import Chain
from filiere.errors import FiliereError
from filiere.plant import Label, Limits, Line, Plant, limits_of
from filiere.readings import Latest
from filiere.settings import Settings
from filiere.terminal import Language
from simulators.demo.observation import Finished, Observer

FINISHED_MAX = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The last reading of a signal in the readings store."""

    value: float
    quality: str
    """As the store has it."""
    beyond: str = ""
    """▲ or ▼ where the open run's limits are crossed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """The system now."""

    there: bool = False
    """A recorder has run in this data folder."""
    received: int = 0
    """Messages that ever came into the message log."""
    lag: int = 0
    """Of them, those that are not recorded yet."""
    quarantined: Mapping[str, int] = field(default_factory=dict)
    """Reason → rows and events that were refused for it."""
    stored: Mapping[str, Mapping[str, Stored]] = field(default_factory=dict)
    """Line path → signal key → its last reading."""
    finished: tuple[Finished, ...] = ()
    """Lots that have their certificate, or its refusal, the newest first."""
    problems: tuple[Label, ...] = ()
    """What keeps the system from working."""


class Watcher:
    """Looks at the system, again and again, from one thread."""

    def __init__(self, settings: Settings, plant: Plant, *, language: Language) -> None:
        self._settings = settings
        self._plant = plant
        self._observer = Observer(settings=settings, plant=plant, language=language)
        self._finished: deque[Finished] = deque(maxlen=FINISHED_MAX)

    def close(self) -> None:
        """Close what was opened."""
        self._observer.close()

    def look(self) -> Reaction:
        """What there is now; a part that cannot be read is a problem, never an error."""
        recorder, received = self._observer.recorder(), self._observer.log_head()
        self._finished.extendleft(self._observer.finished())
        if recorder is None:
            return Reaction(received=received, lag=received, finished=tuple(self._finished))
        problems = list(self._problems())
        if recorder.store_problem:
            words = recorder.store_problem
            problems.append(Label(fr=f"l'enregistreur attend : {words}", en=f"the recorder waits: {words}"))
        stored: Mapping[str, Mapping[str, Stored]] = {}
        quarantined: Mapping[str, int] = {}
        try:
            quarantined = self._quarantined()
            chain = self._observer.chain()
            stored = {line.path: self._stored(line, chain) for line in self._plant.lines}
        except (FiliereError, OSError, sqlite3.Error) as error:
            problems.append(Label(fr=f"les données ne se lisent pas : {error}", en=f"cannot be read: {error}"))
        return Reaction(
            there=True,
            received=received,
            lag=max(0, received - recorder.bookmark),
            quarantined=quarantined,
            stored=stored,
            finished=tuple(self._finished),
            problems=tuple(problems),
        )

    def _problems(self) -> list[Label]:
        now_ns = time.time_ns()
        intake = intake_trouble(self._settings.intake_status_path, now_ns)
        if intake is not None:
            return [Label(fr=f"rien n'est accepté : {intake.words}", en=f"nothing is accepted: {intake.words}")]
        receipts = receipts_trouble(self._settings.receipts_status_path, now_ns)
        if receipts is not None:
            return [Label(fr=f"personne n'a de réponse : {receipts.words}", en=f"nobody is answered: {receipts.words}")]
        return []

    def _quarantined(self) -> Mapping[str, int]:
        with AccountBook.open_reader(self._settings.recorder_path) as book:
            counts: Counter[str] = Counter()
            for (_, reason, _), rows in book.quarantine_counts().items():
                counts[reason] += rows
        return dict(counts.most_common())

    def _stored(self, line: Line, chain: Chain) -> Mapping[str, Stored]:
        run = chain.open_run(line.path)
        latest = {reading.key: reading for reading in self._observer.latest(line)}
        limits: dict[str, Limits] = {}
        if run is not None:
            step = line.step(run.step)
            recipe = next((each for each in step.recipes if each.id == run.recipe), None)
            limits = {
                signal.key: limits_of(signal, recipe)
                for signal in line.signals_of(step)
                if not before_run(signal, latest.get(signal.key), run.start_ns)
            }
        return {reading.key: _judged(reading, limits.get(reading.key, Limits())) for reading in latest.values()}


def _judged(reading: Latest, limits: Limits) -> Stored:
    above = limits.high is not None and reading.value > limits.high
    below = limits.low is not None and reading.value < limits.low
    return Stored(value=reading.value, quality=reading.quality, beyond="▲" if above else "▼" if below else "")
