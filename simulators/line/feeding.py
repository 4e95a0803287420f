"""What truly goes through a run of what it was planned to take: less, wetter, or something else. Exact before a fault.

Machines and masses ask the same functions, so that what a feeder shows adds up to what the truth weighs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filiere.clock import NS_PER_S
from simulators.faults.fault import Active, ProcessFault
from simulators.faults.process import FeederBridge, FeederStarve
from simulators.line.physics import Array, trapezoid_done
from simulators.line.randomness import generator

BRIDGED_S = (60.0, 240.0)
"""How long a bridge holds [K]."""
BROKEN_S = (10.0, 60.0)
"""How long the material flows until the next one [K]."""
STEP_S = 1.0


def severity_at(
    active: Sequence[Active], kind: type[ProcessFault], device: str, signal: str, *, time_s: Array, start_ns: int
) -> Array:
    """How badly a device, or its signal, has this kind of fault at each instant, shape (n,); NaN = it has not.

    `time_s`: seconds after `start_ns`. A fault without a scale counts 1. Where two overlap, the later one counts.
    """
    severity = np.full(len(time_s), np.nan)
    for each in active:
        fault, window = each.fault, each.window
        if isinstance(fault, kind) and fault.touches(device, signal):
            edges = [(window.start_ns - start_ns) / NS_PER_S, (window.stop_ns - start_ns) / NS_PER_S]
            first, last = np.searchsorted(time_s, edges)
            severity[first:last] = fault.severity if fault.scale is not None else 1.0
    return severity


def fed_share(
    active: Sequence[Active], *, seed: int, line: str, device: str, signal: str, time_s: Array, start_ns: int
) -> Array:
    """What comes out of a feeder of what it is asked for, 0..1, shape (n,); `time_s`: seconds after `start_ns`."""
    share = np.ones(len(time_s))
    starved = severity_at(active, FeederStarve, device, signal, time_s=time_s, start_ns=start_ns)
    share[~np.isnan(starved)] -= starved[~np.isnan(starved)]
    for each in active:
        if isinstance(each.fault, FeederBridge) and each.fault.touches(device, signal):
            since_s = time_s - (each.window.start_ns - start_ns) / NS_PER_S
            left_s = time_s - (each.window.stop_ns - start_ns) / NS_PER_S
            inside = (since_s >= 0.0) & (left_s < 0.0)
            if inside.any():
                edges_s = _bridges(seed, line, each.fault.label, until_s=float(since_s[inside][-1]))
                held = np.searchsorted(edges_s, since_s, side="right") % 2 == 0
                share[inside & held] = 0.0
    return np.clip(share, 0.0, 1.0)


def _bridges(seed: int, line: str, label: str, *, until_s: float) -> list[float]:
    """When bridges break, form again, break …, seconds after the onset, in that order."""
    chance = generator(seed, line, "fault", label, "bridges")
    edges_s: list[float] = []
    time_s = 0.0
    while time_s <= until_s:
        for low_s, high_s in (BRIDGED_S, BROKEN_S):
            time_s += chance.uniform(low_s, high_s)
            edges_s.append(time_s)
    return edges_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """The planned feed of a run in small steps of time."""

    time_s: Array
    """Middles of the steps, seconds after the cycle's start, shape (n,)."""
    part: Array
    """Share of the feed in each step; adds up to 1."""

    def share(self, of_it: Array) -> float:
        """Share of the feed to which `of_it` (0..1 at each step) applies."""
        return float(np.sum(self.part * of_it))


def planned_feed(*, start_s: float, stop_s: float, ramp_s: float) -> Feed:
    """The trapezoid that machines follow, in steps of about a second."""
    edges_s = np.linspace(start_s, stop_s, max(2, round((stop_s - start_s) / STEP_S)))
    done = trapezoid_done(edges_s, start_s=start_s, stop_s=stop_s, ramp_s=ramp_s)
    return Feed(time_s=(edges_s[1:] + edges_s[:-1]) / 2.0, part=np.diff(done))
