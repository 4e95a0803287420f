"""Any fault that a scenario may have, for properties."""

import math

from hypothesis import assume
from hypothesis import strategies as st

from simulators.faults.catalogue import KINDS, check, overlap, targets
from simulators.faults.fault import Fault, Onset
from tests.simulators.builders import FLAX, TEXTILE, caux

SEVERITY_MOST = 1e6
"""Of severities that may be larger still."""
LABELS = st.from_regex(r"\A[a-z0-9][a-z0-9_-]{0,20}\Z")


@st.composite
def any_fault(
    draw: st.DrawFn, *, lines: tuple[str, ...] = (TEXTILE, FLAX), within_s: float = 1e6, lots: int = 60
) -> Fault:
    """One of any kind, at anything that can have it, that begins `within_s` and lasts at most as long."""
    places = [
        (kind, line, target) for kind in KINDS.values() for line in lines for target in targets(kind, caux().line(line))
    ]
    kind, line, target = draw(st.sampled_from(places))
    lot = draw(st.none() | st.integers(1, lots))
    step = draw(st.sampled_from(["", caux().line(line).steps[0].id])) if lot else ""
    scale = kind.scale
    low, high = (0.0, 0.0) if scale is None else (max(scale.low, -SEVERITY_MOST), min(scale.high, SEVERITY_MOST))
    found = kind(
        label=draw(LABELS),
        line=line,
        target=target,
        onset=Onset(after_s=draw(seconds(within_s)), lot=lot, step=step),
        duration_s=draw(st.floats(0.001, within_s)),
        severity=math.nan if scale is None else draw(st.floats(low, high)),
    )
    check(found, caux())
    return found


@st.composite
def some_faults(draw: st.DrawFn, line: str, *, within_s: float = 20_000.0) -> tuple[Fault, ...]:
    """One to four of a line that can be together, in the time of its first two lots."""
    one = any_fault(lines=(line,), within_s=within_s, lots=2)
    found = draw(st.lists(one, min_size=1, max_size=4, unique_by=lambda fault: fault.label))
    assume(overlap(found, caux()) is None)
    return tuple(found)


def seconds(most: float) -> st.SearchStrategy[float]:
    """Whole ones and others."""
    return st.one_of(st.integers(0, round(most)).map(float), st.floats(0.0, most, allow_subnormal=False))
