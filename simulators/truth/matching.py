"""Which conclusion reveals which fault, and what is left over: missed faults, false alarms.

A conclusion reveals a fault when all of these hold.

Place   Same line. A fault of a machine shows at that machine and at those behind it on the line: melt stays cold
        behind a heater, and nothing before it knows. A fault of a sensor or of the network shows at the device, or the
        signal, that it is aimed at; so a lot that is held for its melt temperature reveals no fault of the dryer's
        sensor. One of an operator shows in what was weighed, in what the terminal sent, or in a lot as a whole; a late
        entry in any signal, since its run has another time.
Time    The evidence overlaps the fault's window, with GRACE_S behind it: what a fault did to heat, stock and filters
        goes on. Evidence in readings begins at or after the onset: what was there before is not the fault's work. A
        conclusion on a lot is evidence of all that happened since the first run behind it began, known when its last
        run closed.
Kind    The source can speak of such a fault at all (REVEALS): that a message came twice says nothing about a heater.
        A count names the kinds that it counts.

One conclusion may reveal several faults, when they overlap. An alarm that reveals none is a false one. A fault of the
network that nothing reveals is *absorbed* when every row that it touched is stored all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from collector.recorder.validation import TERMINAL
from filiere.clock import NS_PER_S
from simulators.faults.fault import Layer
from simulators.faults.operators import BATCH_WEIGHT
from simulators.truth.conclusion import Conclusion, Source
from simulators.truth.records import FaultTruth

GRACE_S = 900.0
"""How long a fault's traces are still its own. A zone takes 8 to 17 minutes for 10–90 % of a step (measured)."""
REVEALS: Mapping[Layer, frozenset[Source]] = {
    Layer.PROCESS: frozenset({Source.QUALITY, Source.LIMITS, Source.CHART, Source.RELEASE}),
    Layer.SENSOR: frozenset(Source),
    Layer.NETWORK: frozenset({Source.QUARANTINE, Source.ACCOUNTS, Source.INCOMPLETE}),
    Layer.OPERATOR: frozenset({Source.QUARANTINE, Source.ACCOUNTS, Source.RELEASE, Source.INCOMPLETE}),
}
"""What the parts of the system can say something about."""
LOSSLESS = frozenset({"duplicate", "out_of_order"})
"""Faults of the network that take nothing away: counts alone can show them."""
OF_LOTS = frozenset({Source.CHART, Source.RELEASE, Source.INCOMPLETE})
LATE_ENTRY = "late_entry"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultScore:
    """What the system made of one fault."""

    fault: FaultTruth
    conclusions: tuple[Conclusion, ...]
    """Those that reveal it, by the time at which they were known, those without one last."""
    absorbed: bool = False
    """Nothing reveals it and nothing had to: every row that it touched is stored, once."""

    @property
    def found(self) -> bool:
        """Something reveals it."""
        return bool(self.conclusions)

    @property
    def missed(self) -> bool:
        """Nothing reveals it, and it did harm."""
        return not self.found and not self.absorbed

    @property
    def first(self) -> Conclusion | None:
        """What revealed it first."""
        return self.conclusions[0] if self.conclusions else None

    @property
    def delay_s(self) -> float | None:
        """From its onset until somebody could know; None = missed, or nobody can say when."""
        first = self.first
        if first is None or first.known_ns is None:
            return None
        return max(0.0, (first.known_ns - self.fault.start_ns) / NS_PER_S)


Routes = Mapping[str, Sequence[str]]
"""Line path → its devices, in the order in which the material goes through them."""


def match(
    faults: Sequence[FaultTruth], conclusions: Sequence[Conclusion], *, routes: Routes, grace_s: float = GRACE_S
) -> tuple[tuple[FaultScore, ...], tuple[Conclusion, ...]]:
    """What reveals each fault, in their order; and the false alarms, in the order given."""
    scores = []
    useful: set[int] = set()
    for fault in faults:
        places = [
            place for place, each in enumerate(conclusions) if reveals(each, fault, routes=routes, grace_s=grace_s)
        ]
        useful.update(places)
        of_fault = sorted((conclusions[place] for place in places), key=_known)
        scores.append(FaultScore(fault=fault, conclusions=tuple(of_fault)))
    false = tuple(each for place, each in enumerate(conclusions) if each.alarm and place not in useful)
    return tuple(scores), false


def reveals(conclusion: Conclusion, fault: FaultTruth, *, routes: Routes, grace_s: float = GRACE_S) -> bool:
    """Whether a conclusion is evidence of a fault: place, time and kind, as at the top of this module."""
    return (
        conclusion.line == fault.line
        and (conclusion.source in REVEALS[fault.layer] if fault.kind not in LOSSLESS else bool(conclusion.kinds))
        and (not conclusion.kinds or fault.kind in conclusion.kinds)
        and _in_place(conclusion, fault, routes.get(fault.line, ()))
        and _in_time(conclusion, fault, round(grace_s * NS_PER_S))
    )


def _in_place(conclusion: Conclusion, fault: FaultTruth, route: Sequence[str]) -> bool:
    if not conclusion.targets:
        return True
    if fault.layer is Layer.PROCESS:
        reached = route[route.index(fault.device) :] if fault.device in route else route
        return any(target.partition(".")[0] in reached for target in conclusion.targets)
    if fault.layer is Layer.OPERATOR:
        weighed = any(target == TERMINAL or target.endswith(f".{BATCH_WEIGHT}") for target in conclusion.targets)
        return weighed or fault.kind == LATE_ENTRY
    return any(holds(target, fault.target) or holds(fault.target, target) for target in conclusion.targets)


def holds(target: str, other: str) -> bool:
    """`extruder` holds `extruder.melt_temp`; an empty one holds everything."""
    return target in ("", other) or other.startswith(f"{target}.")


def _in_time(conclusion: Conclusion, fault: FaultTruth, grace_ns: int) -> bool:
    if fault.stop_ns is not None and conclusion.start_ns >= fault.stop_ns + grace_ns:
        return False
    if conclusion.source in OF_LOTS or conclusion.known_ns is None:
        return conclusion.stop_ns > fault.start_ns
    return conclusion.start_ns >= fault.start_ns


def _known(conclusion: Conclusion) -> tuple[bool, int, int]:
    return conclusion.known_ns is None, conclusion.known_ns or 0, conclusion.start_ns
