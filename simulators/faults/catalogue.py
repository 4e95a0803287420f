"""All kinds of faults by name, what each can be aimed at on a plant, and what makes a fault impossible."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

from collector.recorder.validation import TERMINAL
from filiere.errors import NotFound, ScenarioError
from filiere.plant import Line, Plant
from filiere.yaml_node import ID
from simulators.faults.fault import Fault, NetworkFault, Target
from simulators.faults.network import Dropped, Duplicate, Late, Outage, OutOfOrder
from simulators.faults.operators import (
    DoubleWeighing,
    FalseOrigin,
    LabelSwap,
    LateEntry,
    PaddedWeight,
    ReusedDocument,
)
from simulators.faults.process import (
    FeederBridge,
    FeederStarve,
    HeaterOpen,
    RefillSurge,
    RelayStuckOn,
    ScreenClog,
    WetFeed,
    WrongPolymer,
)
from simulators.faults.sensors import (
    Clock1970,
    ClockDstJump,
    ClockSkew,
    DeviceRestart,
    ScaleTareDrift,
    SensorBreak,
    SensorDrift,
    SensorSpike,
    SensorStuck,
    Sentinel,
    UnitError,
)

KINDS: Mapping[str, type[Fault]] = {
    kind.kind: kind
    for kind in (
        HeaterOpen,
        RelayStuckOn,
        ScreenClog,
        FeederStarve,
        FeederBridge,
        RefillSurge,
        WetFeed,
        WrongPolymer,
        SensorBreak,
        SensorStuck,
        SensorDrift,
        SensorSpike,
        ScaleTareDrift,
        UnitError,
        Sentinel,
        ClockSkew,
        ClockDstJump,
        Clock1970,
        DeviceRestart,
        Duplicate,
        OutOfOrder,
        Late,
        Dropped,
        Outage,
        LabelSwap,
        DoubleWeighing,
        LateEntry,
        PaddedWeight,
        FalseOrigin,
        ReusedDocument,
    )
}
"""Name in scenario files → class, in the order in which people are shown them."""


class WrongFault(ScenarioError):
    """A fault that this plant cannot have: which field is wrong, what it was, and what it could be."""

    def __init__(self, field: str, got: str, expected: str) -> None:
        """`field`: label, line, target, onset, duration or severity, as in a scenario file."""
        super().__init__(f"{field}: got {got}; expected {expected}")
        self.field = field
        self.got = got
        self.expected = expected


def targets(kind: type[Fault], line: Line) -> tuple[str, ...]:
    """The smallest things of a line that can have it, in the order of the plant file; `""` = the line itself."""
    match kind.aims_at:
        case Target.LINE:
            return ("",)
        case Target.DEVICE:
            units = tuple(unit.id for unit in line.units if kind.suits(line, unit, None))
            # people's terminal sends messages, and has neither signals nor a clock of its own
            return (*units, TERMINAL) if issubclass(kind, NetworkFault) else units
        case Target.SIGNAL:
            return tuple(signal.key for unit in line.units for signal in unit.signals if kind.suits(line, unit, signal))


def check(fault: Fault, plant: Plant) -> None:
    """Raises WrongFault: the plant cannot have it, or it says something that no fault of its kind can."""
    if not ID.fullmatch(fault.label):
        raise WrongFault("label", repr(fault.label[:80]), "an id: up to 64 of a-z, 0-9, '_' and '-'")
    try:
        line = plant.line(fault.line)
    except NotFound:
        known = ", ".join(each.path for each in plant.lines)
        raise WrongFault("line", f"line {fault.line[:80]!r}", f"one of {known}, the lines of this plant") from None
    _check_target(fault, line)
    _check_onset(fault, line)
    _check_duration(fault)
    _check_severity(fault)


def _check_target(fault: Fault, line: Line) -> None:
    known = targets(type(fault), line)
    if any(_holds(fault.target, each) for each in known):
        return
    got = f"target {fault.target[:80]!r}" if fault.target else "no target"
    if not known:
        raise WrongFault("target", got, f"another kind, or another line: nothing on {line.path} can have {fault.kind}")
    if fault.aims_at is Target.LINE:
        raise WrongFault("target", got, f"none: {fault.kind} is of the whole line; remove it")
    near = get_close_matches(fault.target[:200], known, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise WrongFault("target", got, f"one of {', '.join(known)}, the targets of {fault.kind} on {line.path}{meant}")


def _holds(target: str, smallest: str) -> bool:
    """`extruder` holds `extruder.melt_temp`; an empty target holds everything."""
    return target in ("", smallest) or smallest.startswith(f"{target}.")


def _check_onset(fault: Fault, line: Line) -> None:
    onset, steps = fault.onset, [step.id for step in line.steps]
    if not (math.isfinite(onset.after_s) and onset.after_s >= 0.0):
        raise WrongFault("onset", f"after {onset.after_s} s", "0 or more")
    if onset.lot is not None and onset.lot < 1:
        raise WrongFault("onset", f"lot {onset.lot}", "1 for the first lot of the line, or more")
    if onset.step and onset.lot is None:
        raise WrongFault("onset", f"step {onset.step[:80]!r} without a lot", "the lot whose step is meant: add lot")
    if onset.step and onset.step not in steps:
        raise WrongFault("onset", f"step {onset.step[:80]!r}", f"one of {', '.join(steps)}, the steps of {line.path}")


def _check_duration(fault: Fault) -> None:
    if not fault.duration_s > 0.0:
        raise WrongFault("duration", f"{fault.duration_s} s", "more than 0")
    if math.isinf(fault.duration_s) and math.isfinite(fault.usual_duration_s):
        raise WrongFault("duration", "none", f"one: {fault.kind} has to end; usual {fault.usual_duration_s:g} s")


def _check_severity(fault: Fault) -> None:
    scale = fault.scale
    if scale is None:
        if not math.isnan(fault.severity):
            raise WrongFault(
                "severity", f"{fault.severity:g}", f"none: {fault.kind} is there or it is not; remove the field"
            )
        return
    if not (math.isfinite(fault.severity) and scale.low <= fault.severity <= scale.high):
        bounds = " and ".join(
            f"{words} {bound:g}"
            for words, bound in (("at least", scale.low), ("at most", scale.high))
            if math.isfinite(bound)
        )
        unit = "" if scale.unit == "1" else f" {scale.unit}"
        raise WrongFault(
            "severity",
            f"{fault.severity:g}",
            f"a finite number{unit}{', ' if bounds else ''}{bounds} ({scale.label.en}; usual {scale.usual:g})",
        )


# --------------------------------------------------------------------------------------------------------- overlaps


def overlap(faults: Iterable[Fault], plant: Plant) -> tuple[Fault, Fault] | None:
    """Two faults that exclude each other and are at one target at one time, the earlier first; None = there are none.

    Onsets that are counted from different lots cannot be compared before the simulation runs: only a fault without an
    end is known to reach the later one.
    """
    groups: dict[tuple[str, str], list[_Begun]] = defaultdict(list)
    for fault in faults:
        if fault.excludes:
            groups[fault.excludes, fault.line].append((_counted_from(fault, plant), fault))
    return next((pair for group in groups.values() for pair in _overlaps(group)), None)


def _overlaps(group: list["_Begun"]) -> Iterator[tuple[Fault, Fault]]:
    """Pairs of one group on one line. `open_` stays short: it has a fault a target, or a pair was found."""
    open_: list[_Begun] = []
    for later in sorted(group, key=lambda begun: (begun[0], begun[1].onset.after_s)):
        open_ = [earlier for earlier in open_ if _reaches(earlier, later)]
        for _, each in open_:
            if each.meets(later[1]):
                yield each, later[1]
        open_.append(later)


_Begun = tuple[tuple[int, int], Fault]
"""What a fault's onset is counted from, in the order of time, and the fault."""


def _counted_from(fault: Fault, plant: Plant) -> tuple[int, int]:
    """(lot, place of its step); (0, 0) = the simulation's beginning."""
    if fault.onset.lot is None:
        return 0, 0
    steps = [step.id for step in plant.line(fault.line).steps]
    return fault.onset.lot, steps.index(fault.onset.step or steps[-1])


def _reaches(earlier: "_Begun", later: "_Begun") -> bool:
    """It is certainly still there when the later one begins."""
    (began, fault), (begins, other) = earlier, later
    return math.isinf(fault.duration_s) or (
        began == begins and fault.onset.after_s + fault.duration_s > other.onset.after_s
    )
