"""The whole simulated plant: the publications of all its lines in time order, from any state, as often as wanted."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from heapq import merge
from operator import attrgetter

from filiere.errors import SettingsError
from filiere.plant import Plant
from simulators.faults.fault import FOREVER_NS
from simulators.line.calendar import opening_ns
from simulators.line.cycle import Cycle, run_cycle
from simulators.line.messages import Network, Publication, publication
from simulators.line.state import ROWS_MAX, CycleStart, LineProgress, SimulatorState, first_start
from simulators.scenarios.scenario import NORMAL, Scenario


def beginning(
    plant: Plant, *, seed: int, start_ns: int, scenario: Scenario = NORMAL, rows_max: int = ROWS_MAX
) -> SimulatorState:
    """The state of a plant that was never used. Raises NotFound: the scenario names a line that the plant has not."""
    paths = scenario.lines or tuple(line.path for line in plant.lines)
    first_ns = start_ns
    if scenario.calendar is not None:
        first_ns = opening_ns(scenario.calendar, plant.timezone, start_ns)
    return SimulatorState(
        seed=seed,
        start_ns=start_ns,
        plant_digest=plant.digest,
        scenario=scenario.id,
        scenario_digest=scenario.digest,
        rows_max=rows_max,
        lines={
            plant.line(path).path: LineProgress(cycle=first_start(path, start_ns=first_ns), sent=0) for path in paths
        },
    )


def simulate(
    plant: Plant,
    *,
    seed: int,
    start_ns: int,
    lots: int | None,
    state: SimulatorState | None = None,
    scenario: Scenario = NORMAL,
    stop_ns: int | None = None,
    rows_max: int = ROWS_MAX,
) -> Iterator[Publication]:
    """Publications of all lines in time order. Same arguments, same bytes.

    `lots` ends each line after so many lots, with the idle readings that follow the last closing, and `stop_ns` all of
    them at that simulated time; None = for ever. With `state`, the stream goes on where that state stands; seed, start
    and `rows_max` (most rows in a message) are then the state's own. `scenario` may have more faults than when the
    state was written: what was sent stays as it was when none of them begins before it.

    Raises:
        SettingsError: the state belongs to another plant file, or to another scenario.
    """
    state = state or beginning(plant, seed=seed, start_ns=start_ns, scenario=scenario, rows_max=rows_max)
    if state.plant_digest != plant.digest:
        raise SettingsError(
            f"got a simulation of plant {state.plant_digest[:12]}…; expected {plant.digest[:12]}…, the plant file as it"
            " is now: start anew with --fresh, in an empty data folder"
        )
    if (state.scenario, state.scenario_digest) != (scenario.id, scenario.digest):
        raise SettingsError(
            f"got a simulation of scenario {state.scenario} ({state.scenario_digest[:12] or 'built in'}); expected"
            f" {scenario.id} ({scenario.digest[:12] or 'built in'}): give that scenario, or start anew with --fresh, in"
            " an empty data folder"
        )
    end_ns = FOREVER_NS if stop_ns is None else stop_ns
    streams = [
        line_publications(plant, state, line, scenario=scenario, lots=lots, stop_ns=end_ns) for line in state.lines
    ]
    return merge(*streams, key=attrgetter("time_ns"))


def line_publications(
    plant: Plant,
    state: SimulatorState,
    line: str,
    *,
    scenario: Scenario,
    lots: int | None,
    stop_ns: int = FOREVER_NS,
    computed: Callable[[Cycle], None] | None = None,
) -> Iterator[Publication]:
    """Publications of one line, as `simulate` merges them; `computed` is told of each cycle before its first one.

    What arrives late crosses the border between two cycles: a publication names the last border at which nothing was
    held back, and how many came since then, and who goes on from there makes the same again.
    """
    progress = state.lines[line]
    anchor, skip, index, made = progress.cycle, progress.sent, 0, 0
    network = Network(plant.line(line), state.seed)
    cycle: Cycle | None = None
    while (lots is None or made < lots) and (cycle is None or cycle.following.start_ns < stop_ns):
        start = anchor if cycle is None else cycle.following
        cycle = run_cycle(plant, start, state, scenario=scenario)
        if computed is not None:
            computed(cycle)
        closed_at = None
        for time_ns, draft in network.take(cycle.drafts, cycle.active, cycle.following.start_ns):
            if time_ns >= stop_ns:
                return
            if draft.closes:
                closed_at = index
            if index >= skip:
                yield publication(network, time_ns, draft, anchor, index)
            index += 1
        # A lot whose closing went out before counts no more; one whose closing is lost or late counts when it is done.
        made += (index if closed_at is None else closed_at) >= skip
        if network.empty:
            anchor, skip, index = cycle.following, max(0, skip - index), 0
    for time_ns, draft in network.take((), (), stop_ns):
        if index >= skip:
            yield publication(network, time_ns, draft, anchor, index)
        index += 1


def line_cycles(plant: Plant, state: SimulatorState, line: str, *, scenario: Scenario = NORMAL) -> Iterator[Cycle]:
    """The cycles of one line, one after the other, from the border that the state names."""
    start: CycleStart = state.lines[line].cycle
    while True:
        cycle = run_cycle(plant, start, state, scenario=scenario)
        yield cycle
        start = cycle.following


def sent(state: SimulatorState, publication: Publication) -> SimulatorState:
    """The state after `publication` and all before it on its line are in the outbox."""
    progress = LineProgress(cycle=publication.cycle, sent=publication.index + 1)
    return replace(state, lines={**state.lines, publication.cycle.line: progress})
