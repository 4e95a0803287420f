"""A simulation some hours at a time: what files and frames are made of. One line's hours at a time are in memory."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from operator import attrgetter

from simulators.line.messages import Publication
from simulators.output.simulation import Simulation
from simulators.output.table import Stretch, stretches

PUBLICATIONS_MAX = 5_000
"""Of a piece: hours of a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What arrived from one line in a stretch of simulated time."""

    line: str
    start_ns: int
    """Nothing in it arrived before, nor does anything of a later piece."""
    stop_ns: int
    """When the last of it arrived."""
    stretches: tuple[Stretch, ...]
    events: tuple[Publication, ...]
    messages: int
    lots: int
    """Lots that it closes."""


def pieces(simulation: Simulation) -> Iterator[Piece]:
    """All lines' pieces, the earliest first."""
    return merge(*(_of_line(simulation, line) for line in simulation.state.lines), key=attrgetter("start_ns"))


def _of_line(simulation: Simulation, line: str) -> Iterator[Piece]:
    stream = simulation.of_line(line, simulation.state, Counter())
    while publications := list(islice(stream, PUBLICATIONS_MAX)):
        yield Piece(
            line=line,
            start_ns=publications[0].time_ns,
            stop_ns=publications[-1].time_ns,
            stretches=tuple(stretches(publications)),
            events=tuple(publication for publication in publications if publication.event is not None),
            messages=len(publications),
            lots=sum(publication.closes for publication in publications),
        )
