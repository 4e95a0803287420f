"""The whole simulated plant: the publications of all its lines in time order, from any state, as often as wanted."""

from collections.abc import Iterator
from dataclasses import replace
from heapq import merge
from operator import attrgetter

from filiere.errors import SettingsError
from filiere.plant import Plant
from simulators.line.cycle import ROWS_MAX, Publication, run_cycle
from simulators.line.state import LineProgress, SimulatorState, first_state


def beginning(plant: Plant, *, seed: int, start_ns: int) -> SimulatorState:
    """The state of a plant that was never used."""
    lines = tuple(line.path for line in plant.lines)
    return first_state(lines, seed=seed, start_ns=start_ns, plant_digest=plant.digest)


def simulate(
    plant: Plant,
    *,
    seed: int,
    start_ns: int,
    lots: int | None,
    state: SimulatorState | None = None,
    rows_max: int = ROWS_MAX,
) -> Iterator[Publication]:
    """Publications of all lines in time order. Same arguments, same bytes.

    `lots` ends each line after so many lots, with the idle readings that follow the last closing; None = for ever.
    With `state`, the stream goes on where that state stands; seed and start are then the state's own.

    Raises:
        SettingsError: the state belongs to another plant file.
    """
    state = state or beginning(plant, seed=seed, start_ns=start_ns)
    if state.plant_digest != plant.digest:
        raise SettingsError(
            f"got a simulation of plant {state.plant_digest[:12]}…; expected {plant.digest[:12]}…, the plant file as it"
            " is now: start anew with --fresh, in an empty data folder"
        )
    streams = [_line(plant, state, progress, lots, rows_max) for progress in state.lines.values()]
    return merge(*streams, key=attrgetter("time_ns"))


def _line(
    plant: Plant, state: SimulatorState, progress: LineProgress, lots: int | None, rows_max: int
) -> Iterator[Publication]:
    start, skip, made = progress.cycle, progress.sent, 0
    while lots is None or made < lots:
        cycle = run_cycle(plant, start, state, rows_max=rows_max)
        closed = False
        for publication in cycle.publications:
            if publication.index >= skip:
                closed = closed or publication.closes
                yield publication
        made += closed
        start, skip = cycle.following, 0


def sent(state: SimulatorState, publication: Publication) -> SimulatorState:
    """The state after `publication` and all before it on its line are in the outbox."""
    progress = LineProgress(cycle=publication.cycle, sent=publication.index + 1)
    return replace(state, lines={**state.lines, publication.cycle.line: progress})
