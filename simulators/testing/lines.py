"""Simulated lines in a test: what they publish, and beside it what was true."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

import numpy as np
import numpy.typing as npt

from filiere.clock import NS_PER_MS, NS_PER_S, parse_time, to_text
from filiere.errors import NotFound, ScenarioError
from filiere.events import Event, RunStarted
from filiere.plant import Plant
from simulators.line.cycle import Cycle, Publication
from simulators.line.rows import DeviceRows
from simulators.line.simulation import beginning, line_cycles, simulate
from simulators.line.state import ROWS_MAX
from simulators.line.truth import LotTruth
from simulators.scenarios.scenario import NORMAL, Scenario
from simulators.scenarios.scenario_file import LOTS_MAX, SEED_MAX
from simulators.testing.bus import BusMessage

DAY_NS = 86_400 * NS_PER_S
KEPT_MAX = 8
"""Simulations that are kept for the next test that asks for the same one."""
KEPT_MESSAGES_MAX = 200_000
"""Messages of all that are kept: some fifty lots, half a GB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalTrace:
    """One signal of one line over a simulation, in the order in which it was measured. All arrays have shape (n,)."""

    line: str
    key: str
    """`extruder.melt_temp`."""
    unit: str
    """UCUM."""
    time_ns: npt.NDArray[np.int64]
    """When it was measured, UTC ns: true time, whatever the device's clock says."""
    true: npt.NDArray[np.float64]
    """What was there."""
    shown: npt.NDArray[np.float64]
    """What the device showed of it; NaN = nothing."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """All that the lines of a scenario published, in time order; iterate over it for the publications."""

    plant: Plant
    scenario: Scenario
    seed: int
    start_ns: int
    publications: tuple[Publication, ...]

    def __iter__(self) -> Iterator[Publication]:
        return iter(self.publications)

    def __len__(self) -> int:
        return len(self.publications)

    def __repr__(self) -> str:
        return f"Simulation({self.words}, {len(self)} messages)"

    @property
    def words(self) -> str:
        """What was simulated, enough to do it again."""
        labels = ", ".join(fault.label for fault in self.scenario.faults)
        faults = f" ({labels})" if labels else ""
        lines = ", ".join(self.scenario.lines) or "all lines"
        return f"{self.scenario.id}{faults}, {lines}, seed {self.seed}, from {to_text(self.start_ns)}"

    @cached_property
    def messages(self) -> tuple[BusMessage, ...]:
        """Topic and payload of each publication, as they go over the wire."""
        return tuple(BusMessage(each.topic, each.payload) for each in self.publications)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over topics and payloads, hex: the same for the same plant, scenario, seed and start."""
        summed = hashlib.sha256()
        for message in self.messages:
            summed.update(message.topic.encode() + b"\0" + message.payload + b"\n")
        return summed.hexdigest()

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """What the operators told: lots received, runs started and closed."""
        return tuple(each.event for each in self.publications if each.event is not None)

    @property
    def lots(self) -> tuple[str, ...]:
        """The lots that are made for a certificate, in the order in which their runs were started."""
        started = (event for event in self.events if isinstance(event, RunStarted))
        return tuple(run.lot for run in started if self.plant.line(run.line).step(run.step).certified)

    @cached_property
    def cycles(self) -> tuple[Cycle, ...]:
        """The lot cycles of each line, one line after the other, as they were computed: true masses, faults, rows."""
        state = beginning(self.plant, seed=self.seed, start_ns=self.start_ns, scenario=self.scenario)
        stop_ns = _stop_ns(self.scenario)
        found: list[Cycle] = []
        for line in state.lines:
            cycles = line_cycles(self.plant, state, line, scenario=self.scenario)
            for cycle in islice(cycles, self.scenario.lots):
                if stop_ns is not None and cycle.plan.cycle.start_ns >= stop_ns:
                    break
                found.append(cycle)
        return tuple(found)

    @cached_property
    def truth(self) -> Mapping[str, LotTruth]:
        """Each lot that was received or made, as it truly was: masses in grams, composition, origin, parents."""
        return {lot.lot: lot for cycle in self.cycles for lot in cycle.lots}

    def signal(self, key: str, *, line: str | None = None) -> SignalTrace:
        """One signal, true beside shown. `line` may be left out where one line alone has it.

        Raises NotFound: no such signal was measured, or several lines have it.
        """
        device, _, name = key.partition(".")
        found = [rows for rows in self._rows if rows.device == device and name in rows.true]
        lines = {rows.line for rows in found if line in (None, rows.line)}
        if len(lines) != 1:
            known = sorted({f"{rows.line} {rows.device}.{id_}" for rows in self._rows for id_ in rows.true})
            got = f"signal {key!r} of {', '.join(sorted(lines)) or line or 'no line'}"
            raise NotFound(f"got {got}; expected one line and one of its signals: {', '.join(known)}")
        (path,) = lines
        parts = [(rows, np.isfinite(rows.true[name])) for rows in found if rows.line == path]
        return SignalTrace(
            line=path,
            key=key,
            unit=self.plant.line(path).signal(key).unit,
            time_ns=np.concatenate([rows.time_ms[measured] for rows, measured in parts]) * NS_PER_MS,
            true=np.concatenate([rows.true[name][measured] for rows, measured in parts]),
            shown=np.concatenate([rows.shown[name][measured] for rows, measured in parts]),
        )

    @cached_property
    def _rows(self) -> tuple[DeviceRows, ...]:
        """Each device's rows of each cycle, once."""
        return tuple({id(each.rows): each.rows for each in self.publications if each.rows is not None}.values())


class LineSim:
    """Call it for a simulation. The same call gives the same simulation, and computes it once."""

    def __init__(
        self,
        plant: Plant,
        *,
        seed: int,
        seed_wins: bool = False,
        start_ns: int,
        note: Callable[[str], None] = lambda _words: None,
    ) -> None:
        """`seed_wins`: over a scenario's own. `note` takes what is simulated, each time that it is asked for."""
        self._plant = plant
        self._seed = seed
        self._seed_wins = seed_wins
        self._start_ns = start_ns
        self._kept: OrderedDict[object, Simulation] = OrderedDict()
        self._note = note

    def __call__(
        self,
        *lines: str,
        scenario: Scenario = NORMAL,
        lots: int | None = None,
        seed: int | None = None,
        start: int | str | None = None,
        rows_max: int = ROWS_MAX,
    ) -> Simulation:
        """Simulate `lines` (paths such as `caux/textile/t1`; none = the scenario's) to the end of the scenario.

        `lots` a line: else the scenario's, else one where the scenario says no number of days. `seed` and `start`
        (UTC ns or RFC 3339): else the scenario's, else the test run's. `rows_max`: most rows in a message.

        Raises:
            ScenarioError: a line that the plant does not have, a number of lots or a seed that cannot be.
        """
        chosen = self._resolved(lines, scenario, lots, seed, start)
        assert chosen.seed is not None
        assert chosen.start_ns is not None
        key = (self._plant.digest, chosen, rows_max)
        found = self._kept.get(key)
        if found is None:
            found = Simulation(
                plant=self._plant,
                scenario=chosen,
                seed=chosen.seed,
                start_ns=chosen.start_ns,
                publications=tuple(_publications(self._plant, chosen, rows_max)),
            )
            self._kept[key] = found
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT_MAX or sum(map(len, self._kept.values())) > KEPT_MESSAGES_MAX:
            self._kept.popitem(last=False)
        self._note(found.words)
        return found

    def _resolved(
        self, lines: Iterable[str], scenario: Scenario, lots: int | None, seed: int | None, start: int | str | None
    ) -> Scenario:
        """The scenario with nothing left open."""
        if not isinstance(scenario, Scenario):
            raise ScenarioError(
                f"got scenario {scenario!r}; expected one that is loaded: the fixture scenario({scenario!r})"
            )
        known = [line.path for line in self._plant.lines]
        asked = tuple(dict.fromkeys(lines)) or scenario.lines
        if unknown := [line for line in asked if line not in known]:
            raise ScenarioError(f"got line {unknown[0]!r}; expected one of {', '.join(known)}")
        if seed is None:
            seed = self._seed if self._seed_wins or scenario.seed is None else scenario.seed
        if start is None:
            start = self._start_ns if scenario.start_ns is None else scenario.start_ns
        if lots is None:
            lots = scenario.lots if scenario.lots is not None or scenario.days is not None else 1
        _refuse_outside("lots", lots, 1, LOTS_MAX)
        _refuse_outside("seed", seed, 0, SEED_MAX)
        return replace(
            scenario,
            lines=asked,
            lots=lots,
            seed=seed,
            start_ns=parse_time(start) if isinstance(start, str) else start,
            faults=tuple(fault for fault in scenario.faults if not asked or fault.line in asked),
        )


def _refuse_outside(name: str, number: int | None, least: int, most: int) -> None:
    """Raises ScenarioError: such a number simulates nothing, and a test of nothing passes."""
    if number is not None and not (isinstance(number, int) and least <= number <= most):
        raise ScenarioError(f"got {name} {number!r}; expected a whole number from {least} to {most}")


def _publications(plant: Plant, scenario: Scenario, rows_max: int) -> Iterator[Publication]:
    assert scenario.seed is not None
    assert scenario.start_ns is not None
    return simulate(
        plant,
        seed=scenario.seed,
        start_ns=scenario.start_ns,
        lots=scenario.lots,
        scenario=scenario,
        stop_ns=_stop_ns(scenario),
        rows_max=rows_max,
    )


def _stop_ns(scenario: Scenario) -> int | None:
    """When a scenario without open questions ends, UTC ns; None = with its lots."""
    assert scenario.start_ns is not None
    return None if scenario.days is None else scenario.start_ns + round(scenario.days * DAY_NS)
