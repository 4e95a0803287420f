"""Faults for a line that runs: who wants one leaves an order in a folder; the simulation takes it up and answers.

```
console, API ──▶ NAME.order.json ──▶ the simulation, between two messages ──▶ NAME.answer.json
                                     running.json: what is there now, twice a second
```

A fault that is added changes nothing before its onset, and its onset is after all that was sent: so the simulation is
computed again with it, what was sent is skipped, and nobody can tell that the fault was not there from the beginning.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from secrets import token_hex
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from filiere.clock import NS_PER_MS, NS_PER_S, Clock, system_clock
from filiere.errors import FiliereError, ScenarioError, SettingsError, StoreUnavailable
from filiere.plant import Label, Plant
from filiere.whole_file import whole_file
from simulators.faults.catalogue import KINDS, overlap
from simulators.faults.fault import FOREVER_NS, Fault, Onset, Window
from simulators.scenarios.scenario_file import parse_fault

FOLDER = "simulator-faults"
"""In the data folder of the simulation."""
ORDER_BYTES_MAX = 64 * 1024
ORDERS_MAX = 100
"""Orders that are answered at once; the next ones wait for the next turn."""
LIVE_FAULTS_MAX = 1_000
LOOK_S = 0.2
"""Between two looks at the folder."""
SHOW_S = 0.5
ANSWER_S = 5.0
"""How long an answer is awaited: a simulation that runs looks much more often."""
STALE_S = 5.0
"""A simulation that did not say for so long that it runs does not."""
ORDER_KEPT_S, ANSWER_KEPT_S = 60, 3600
_MODE = 0o600
_ORDER, _ANSWER, _RUNNING = ".order.json", ".answer.json", "running.json"
_SOURCE = "order"


class Trigger(msgspec.Struct, frozen=True, tag="trigger", tag_field="do", forbid_unknown_fields=True):
    """Let something go wrong."""

    fault: dict[str, Any]
    """As in a scenario file, but `onset` is a duration from now on; without it, now. It may do without a label."""


class Stop(msgspec.Struct, frozen=True, tag="stop", tag_field="do", forbid_unknown_fields=True):
    """Let it be over."""

    label: str


Order = Trigger | Stop


FaultState = Literal["waiting", "active", "over"]


class RunningFault(msgspec.Struct, frozen=True):
    """A fault of a simulation, as it is now."""

    label: str
    kind: str
    line: str
    target: str
    severity: float | None
    """None where its kind is there or not."""
    start_ns: int | None
    """UTC ns of simulated time; None = not known yet: its lot has not begun."""
    stop_ns: int | None
    """The same; None = until the end, or not known yet."""

    def state(self, virtual_ns: int) -> FaultState:
        """What it is at a simulated time."""
        if self.start_ns is None or virtual_ns < self.start_ns:
            return "waiting"
        return "over" if self.stop_ns is not None and virtual_ns >= self.stop_ns else "active"


class Done(msgspec.Struct, frozen=True):
    """An order that is done."""

    fault: RunningFault
    """As it is from now on."""
    now_ns: int
    """The first instant of simulated time that was not sent, UTC ns."""

    @property
    def state(self) -> FaultState:
        """What the fault is from now on."""
        return self.fault.state(self.now_ns)


class Answer(msgspec.Struct, frozen=True):
    """What became of an order."""

    done: Done | None = None
    """None = refused."""
    problem: str | None = None
    """Got, expected, do this; None = accepted."""


class Running(msgspec.Struct, frozen=True):
    """What a simulation says of itself."""

    virtual_ns: int
    """Simulated time, UTC ns."""
    updated_ns: int
    """When it said so, on the wall clock, UTC ns."""
    waiting: int
    """Messages in its outbox."""
    problem: str | None
    """Why nothing goes through; None = all is well."""
    faults: tuple[RunningFault, ...]

    @property
    def active(self) -> tuple[RunningFault, ...]:
        """Those that are there now."""
        return tuple(fault for fault in self.faults if fault.state(self.virtual_ns) == "active")


class FaultFolder:
    """Both sides of the folder: `waiting`, `take`, `tell`, `show` of the simulation; `order`, `running` of others."""

    def __init__(self, path: Path, plant: Plant, *, lines: Sequence[str] = (), clock: Clock = system_clock) -> None:
        """`lines`: paths of those that are simulated, for the simulation's side; empty = all of the plant."""
        self._path = path
        self._plant = plant
        self._lines = tuple(lines)
        self._clock = clock
        self._look_at = 0.0
        self._show_at = 0.0
        self._answers: dict[str, Answer] = {}

    # ------------------------------------------------------------------------------------------ the simulation's side

    def waiting(self) -> bool:
        """Whether there are orders. Looks at the disk five times a second at most, however often it is asked."""
        if time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LOOK_S
        return next(self._orders(), None) is not None

    def take(
        self,
        faults: Sequence[Fault],
        *,
        start_ns: int,
        now_ns: int,
        windows: Mapping[str, Window],
        sent_ns: Mapping[str, int] = MappingProxyType({}),
    ) -> tuple[Fault, ...]:
        """What was ordered: faults that are new, or that stand from now on in place of the one with the same label.

        `faults` are all of the simulation, `start_ns` is where it began, `now_ns` up to where it was sent, both UTC ns
        of simulated time; `windows` has what is known of when each fault is there, by label: those without a lot are
        known anyway. `sent_ns`: line path → up to where that line was sent, which may be ahead of `now_ns`: lines do
        not end their lots together, and who goes on after a stop begins with the one that is behind. The orders are
        answered by `tell`, when the caller has written down what it got here.
        """
        there = {fault.label: fault for fault in faults}
        known = {label: _window(fault, start_ns) for label, fault in there.items() if fault.onset.lot is None} | dict(
            windows
        )
        changed: dict[str, Fault] = {}
        next_ns = {line.path: _after(max(now_ns, sent_ns.get(line.path, 0))) for line in self._plant.lines}
        for name, content in self._orders():
            if len(self._answers) >= ORDERS_MAX:
                break
            try:
                fault = self._done(_decoded(content), there, known, start_ns, next_ns)
                there[fault.label] = changed[fault.label] = fault
                done = Done(fault=running_fault(fault, known), now_ns=next_ns[fault.line])
                self._answers[name] = Answer(done=done)
            except FiliereError as error:
                self._answers[name] = Answer(problem=str(error))
        return tuple(changed.values())

    def tell(self) -> None:
        """Answer what was taken."""
        for name, answer in self._answers.items():
            with suppress(OSError):
                _write(self._path / (name + _ANSWER), msgspec.json.encode(answer))
                (self._path / (name + _ORDER)).unlink(missing_ok=True)
        self._answers.clear()
        self._forget_old()

    def show(
        self,
        faults: Sequence[Fault],
        windows: Mapping[str, Window],
        *,
        virtual_ns: int,
        waiting: int,
        problem: str | None,
    ) -> None:
        """Say how the simulation is; the file follows twice a second. What cannot be written stops nobody."""
        if time.monotonic() < self._show_at:
            return
        self._show_at = time.monotonic() + SHOW_S
        running = Running(
            virtual_ns=virtual_ns,
            updated_ns=self._clock(),
            waiting=waiting,
            problem=problem,
            faults=tuple(running_fault(fault, windows) for fault in faults),
        )
        with suppress(OSError):
            _write(self._path / _RUNNING, msgspec.json.encode(running))

    def _done(
        self,
        order: Order,
        faults: Mapping[str, Fault],
        windows: dict[str, Window],
        start_ns: int,
        next_ns: Mapping[str, int],
    ) -> Fault:
        """The fault that an order is about, as it is from its line's `next_ns` on; its window is put into `windows`."""
        if isinstance(order, Stop):
            return _stopped(order.label, faults, windows, next_ns)
        fault = self._triggered(order, faults, windows, start_ns, next_ns)
        windows[fault.label] = _window(fault, start_ns)
        return fault

    def _triggered(
        self,
        order: Trigger,
        faults: Mapping[str, Fault],
        windows: Mapping[str, Window],
        start_ns: int,
        next_ns: Mapping[str, int],
    ) -> Fault:
        if len(faults) >= LIVE_FAULTS_MAX:
            raise ScenarioError(f"got one more than {LIVE_FAULTS_MAX} faults; start the simulation anew")
        kind = order.fault.get("kind")
        names = chain((str(kind),), (f"{kind}-{number}" for number in count(2)))
        label = next(name for name in names if name not in faults)
        body = msgspec.json.encode(order.fault)
        fault = parse_fault(body, _SOURCE, self._plant, label=label, onset=Onset(after_s=0.0))
        if fault.onset.lot is not None:
            raise ScenarioError(
                f"{_SOURCE}: fault.onset: got lot {fault.onset.lot}; expected a duration from now, such as 10 min, or"
                " nothing: it begins now"
            )
        if fault.label in faults:
            raise ScenarioError(
                f"{_SOURCE}: fault.label: got {fault.label!r}, which is there already; expected another one, or none"
            )
        if self._lines and fault.line not in self._lines:
            raise ScenarioError(
                f"{_SOURCE}: fault.line: got line {fault.line}, which is not simulated; expected one of"
                f" {', '.join(self._lines)}"
            )
        fault = replace(fault, onset=Onset(after_s=(next_ns[fault.line] - start_ns) / NS_PER_S + fault.onset.after_s))
        both = overlap((*(_as_known(each, windows, start_ns) for each in faults.values()), fault), self._plant)
        if both is not None:
            raise ScenarioError(
                f"{_SOURCE}: got {both[1].kind} at {both[1].target or both[1].line} while {both[0].label}"
                f" ({both[0].kind}) is there; expected one of them at a time: stop the first one"
            )
        return fault

    def _orders(self) -> Iterator[tuple[str, bytes]]:
        """Those that are not answered yet, the oldest first."""
        for path in sorted(self._path.glob(f"*{_ORDER}")):
            name = path.name.removesuffix(_ORDER)
            if name in self._answers or not path.is_file():  # a folder or a pipe is nobody's order
                continue
            with suppress(OSError):
                if path.stat().st_mtime < time.time() - ORDER_KEPT_S:
                    path.unlink()  # left by somebody who did not live to take it back
                    continue
                with path.open("rb") as file:
                    yield name, file.read(ORDER_BYTES_MAX + 1)

    def _forget_old(self) -> None:
        for path in self._path.glob(f"*{_ANSWER}"):
            with suppress(OSError):
                if path.stat().st_mtime < time.time() - ANSWER_KEPT_S:
                    path.unlink()

    # ------------------------------------------------------------------------------------------------ the others' side

    def running(self) -> Running | None:
        """What the simulation said last; None = none runs."""
        try:
            running = msgspec.json.decode((self._path / _RUNNING).read_bytes(), type=Running)
        except (OSError, ValueError, RecursionError):
            return None
        return running if self._clock() - running.updated_ns <= STALE_S * NS_PER_S else None

    def order(self, order: Order, *, timeout_s: float | None = None) -> Done:
        """Have something go wrong, or be over.

        An answer is awaited for ANSWER_S, or `timeout_s`.

        Raises:
            ScenarioError: the simulation refuses; it says why.
            StoreUnavailable: no simulation answers; the order is taken back.
            SettingsError: the folder cannot be written.
        """
        name = self.place(order)
        deadline = time.monotonic() + (ANSWER_S if timeout_s is None else timeout_s)
        while (answer := self.answer(name)) is None:
            if time.monotonic() > deadline:
                self._withdraw(name)
                answer = self.answer(name)  # it may have been taken up in that instant
                break
            time.sleep(LOOK_S / 4)
        if answer is None:
            raise StoreUnavailable("got no answer from a simulation; expected one that runs: start `filiere demo`")
        (self._path / (name + _ANSWER)).unlink(missing_ok=True)
        if answer.done is None:
            raise ScenarioError(answer.problem or "refused")
        return answer.done

    def place(self, order: Order) -> str:
        """Leave an order. Returns its name. Raises SettingsError: the folder cannot be written; too long."""
        content = msgspec.json.encode(order)
        if len(content) > ORDER_BYTES_MAX:
            raise ScenarioError(f"{_SOURCE}: got {len(content)} bytes; expected at most {ORDER_BYTES_MAX}")
        name = f"{time.time_ns():020d}-{token_hex(4)}"
        try:
            with whole_file(self._path / (name + _ORDER), mode=_MODE, replace=True) as file:
                file.write_bytes(content)
        except OSError as error:
            raise SettingsError(
                f"FILIERE_DATA_DIR: got {self._path} ({error.strerror}); expected a folder that may be written"
            ) from None
        return name

    def answer(self, name: str) -> Answer | None:
        """None = not yet."""
        try:
            return msgspec.json.decode((self._path / (name + _ANSWER)).read_bytes(), type=Answer)
        except (OSError, ValueError, RecursionError):
            return None

    def _withdraw(self, name: str) -> None:
        (self._path / (name + _ORDER)).unlink(missing_ok=True)


def running_fault(fault: Fault, windows: Mapping[str, Window]) -> RunningFault:
    """How a fault is shown."""
    window = windows.get(fault.label)
    return RunningFault(
        label=fault.label,
        kind=fault.kind,
        line=fault.line,
        target=fault.target,
        severity=None if fault.scale is None else fault.severity,
        start_ns=None if window is None else window.start_ns,
        stop_ns=None if window is None or window.stop_ns >= FOREVER_NS else window.stop_ns,
    )


def words_of(fault: RunningFault, plant: Plant) -> Label:
    """`Filtre qui se colmate : Ligne textile T1, Extrudeuse (clog-1)`, in both languages."""
    kind = KINDS[fault.kind].words if fault.kind in KINDS else Label(fr=fault.kind, en=fault.kind)
    where = [line.label for line in plant.lines if line.path == fault.line]
    for line in plant.lines:
        if line.path == fault.line and fault.target:
            where += [unit.label for unit in line.units if unit.id == fault.target.partition(".")[0]]
            where += [signal.label for signal in line.signals if signal.key == fault.target]
    return Label(
        fr=f"{kind.fr} : {', '.join(label.fr for label in where)} ({fault.label})",
        en=f"{kind.en}: {', '.join(label.en for label in where)} ({fault.label})",
    )


def _as_known(fault: Fault, windows: Mapping[str, Window], start_ns: int) -> Fault:
    """The same, its onset counted from the simulation's beginning where it is known when it is there."""
    window = windows.get(fault.label)
    if fault.onset.lot is None or window is None:
        return fault
    return replace(fault, onset=Onset(after_s=(window.start_ns - start_ns) / NS_PER_S))


def _window(fault: Fault, start_ns: int) -> Window:
    """Of a fault whose onset names no lot, in a simulation that began at `start_ns`."""
    began_ns = start_ns + round(fault.onset.after_s * NS_PER_S)
    lasts_ns = fault.duration_s * NS_PER_S
    return Window(began_ns, FOREVER_NS if lasts_ns > FOREVER_NS - began_ns else began_ns + round(lasts_ns))


def _stopped(label: str, faults: Mapping[str, Fault], windows: dict[str, Window], next_ns: Mapping[str, int]) -> Fault:
    """The fault with that label, over at its line's `next_ns`; its window is put into `windows`."""
    fault, window = faults.get(label), windows.get(label)
    now_ns = 0 if fault is None else next_ns[fault.line]
    there = [
        each.label
        for each in faults.values()
        if (found := windows.get(each.label)) and _there(found, next_ns[each.line])
    ]
    if fault is None or window is None or not _there(window, now_ns):
        got = "is over or has not begun" if fault is not None else "is no fault of this simulation"
        raise ScenarioError(
            f"got {label[:100]!r}, which {got}; expected one of {', '.join(there) or 'none: nothing is wrong'}"
        )
    windows[label] = Window(window.start_ns, now_ns)
    return replace(fault, duration_s=(now_ns - window.start_ns) / NS_PER_S)


def _after(sent_ns: int) -> int:
    """The first instant of which nothing was sent: rows that bear the millisecond of the last one may be."""
    return (sent_ns // NS_PER_MS + 1) * NS_PER_MS


def _there(window: Window, now_ns: int) -> bool:
    return window.start_ns < now_ns < window.stop_ns


def _decoded(content: bytes) -> Order:
    if len(content) > ORDER_BYTES_MAX:
        raise ScenarioError(f"{_SOURCE}: got more than {ORDER_BYTES_MAX} bytes; expected a fault, or the label of one")
    try:
        order: Order = msgspec.json.decode(content, type=Order)
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f'{_SOURCE}: got {error}; expected {{"do": "trigger", "fault": …}} or a stop') from None
    return order


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step; a power cut may lose it, and with it nothing that matters then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
