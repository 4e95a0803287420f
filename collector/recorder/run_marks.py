"""What a line does, from when on: drawn from its runs alone, in whatever order their events came. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from filiere.chain import Run
from filiere.readings import STATE_IDLE, STATE_RUNNING, RunMark


def run_marks(runs: Iterable[Run], from_ns: int) -> Iterator[RunMark]:
    """The marks of one line at each start and stop from `from_ns` on, in the order of time.

    At any time the run that started last is shown, of those under way; when there is none, the one that just stopped.
    """
    starts: dict[int, list[Run]] = defaultdict(list)
    stops: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        starts[run.start_ns].append(run)
        if run.stop_ns is not None:
            stops[run.stop_ns].append(run)
    under_way: dict[str, Run] = {}
    for time_ns in sorted({*starts, *stops}):
        under_way |= {run.id: run for run in starts.get(time_ns, ())}
        for run in stops.get(time_ns, ()):
            del under_way[run.id]
        if time_ns >= from_ns:
            yield _mark(time_ns, under_way.values(), stops.get(time_ns, ()))


def _mark(time_ns: int, under_way: Iterable[Run], stopped: Iterable[Run]) -> RunMark:
    latest = max(under_way, key=_order, default=None)
    shown = max(stopped, key=_order) if latest is None else latest
    return RunMark(
        line=shown.line,
        time_ns=time_ns,
        state=STATE_IDLE if latest is None else STATE_RUNNING,
        run=shown.id,
        lot="" if latest is None else latest.lot,
        recipe="" if latest is None else latest.recipe,
    )


def _order(run: Run) -> tuple[int, str]:
    return run.start_ns, run.id
