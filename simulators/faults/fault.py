"""A fault: what goes wrong, where, from when, how long and how badly. The nouns that every kind of fault shares.

A fault is a statement of the truth: the simulation acts on it, the truth channel names it by its `label`, and no
message ever carries it. The kinds are in `process.py`, `sensors.py`, `network.py` and `operators.py`; `catalogue.py`
gathers them by name.

Nothing of a fault may be seen before its onset: a simulation with a fault is byte for byte the one without it up to
there. That is why a fault can be added to a line that runs.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np

from filiere.plant import Label, Line, Signal, Unit
from simulators.line.physics import Array, Times

FOREVER_NS = 2**63 - 1
"""End of a window that does not end, UTC ns."""


class Layer(StrEnum):
    """What it is that is wrong."""

    PROCESS = "process"
    SENSOR = "sensor"
    NETWORK = "network"
    OPERATOR = "operator"


class Target(StrEnum):
    """What a kind of fault is aimed at."""

    LINE = "line"
    DEVICE = "device"
    SIGNAL = "signal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Onset:
    """When a fault begins: so long after the simulation's beginning, or after a lot's feed began (or its setup: see
    `Fault.from_setup`).
    """

    after_s: float
    lot: int | None = None
    """1 = the first lot of the line; None = counted from the simulation's beginning."""
    step: str = ""
    """The step of that lot whose feed is meant; empty = the last one."""


@dataclass(frozen=True, slots=True)
class Window:
    """When a fault is there, in UTC ns of simulated time."""

    start_ns: int
    stop_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Severity:
    """How badly: what the number means, and which numbers make sense."""

    label: Label
    unit: str
    """UCUM, as in the plant model; `signal` = that of the signal that is aimed at."""
    usual: float
    low: float = 0.0
    high: float = math.inf

    def unit_at(self, signal: Signal | None) -> str:
        """`signal/h` → `Cel/h`: the unit where that signal is aimed at; None = more than one."""
        return self.unit if signal is None else self.unit.replace("signal", signal.unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of a scenario. Each kind is a subclass that says what it does to what it is aimed at."""

    kind: ClassVar[str]
    """Its name in scenario files, lower case with underscores."""
    layer: ClassVar[Layer]
    aims_at: ClassVar[Target]
    """The smallest thing that has it. Aimed at a device or a line, it is at every such thing in there."""
    words: ClassVar[Label]
    """What is wrong, for people."""
    scale: ClassVar[Severity | None] = None
    """None = it is there or not."""
    excludes: ClassVar[str] = ""
    """Two faults of one such group cannot be at one target at one time; empty = it can be with any other."""
    usual_duration_s: ClassVar[float] = math.inf
    """Where none is said. A kind whose usual one is finite has to end."""
    from_setup: ClassVar[bool] = False
    """An onset with a lot is counted from when its step was made ready: deliveries, drying and the run's start come
    before the feed."""

    label: str
    """Truth label: unique in a simulation."""
    line: str
    """Line path, `caux/textile/t1`."""
    target: str = ""
    """`extruder` for a device, `extruder.melt_temp` for a signal, empty for the whole line."""
    onset: Onset
    duration_s: float = math.inf
    """inf = until the end."""
    severity: float = math.nan
    """In the unit of `scale`; NaN where there is no scale."""

    @property
    def device(self) -> str:
        """The device that is aimed at; empty = the whole line."""
        return self.target.partition(".")[0]

    @property
    def signal(self) -> str:
        """The signal that is aimed at; empty = all of the device, or of the line."""
        return self.target.partition(".")[2]

    def touches(self, device: str, signal: str) -> bool:
        """It is aimed at this signal of this device."""
        return self.device in ("", device) and self.signal in ("", signal)

    def meets(self, other: "Fault") -> bool:
        """One of the two, on the same line, is aimed at what the other is aimed at, or at more."""
        return self.touches(other.device, other.signal) or other.touches(self.device, self.signal)

    @classmethod
    def suits(cls, line: Line, unit: Unit, signal: Signal | None) -> bool:  # noqa: ARG003 - for the kinds that choose
        """Whether this signal of this device can have it; `signal` is None for a kind that aims at devices."""
        return True


class ProcessFault(Fault):
    """The machine itself: the model of the unit asks for it by class, and does what it means."""

    layer = Layer.PROCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """The readings of one signal under a fault, from its onset on. Arrays have shape (n,)."""

    values: Array
    """What was shown without it; the first is the one at the onset, whichever those after it are."""
    since_s: Array
    """Time since the onset."""
    signal: Signal
    chance: np.random.RandomState
    """Of this fault and signal alone."""


class SensorFault(Fault, ABC):
    """What a sensor shows is not what is there."""

    layer = Layer.SENSOR
    on_display: ClassVar[bool] = False
    """It acts on the rounded number, not on the sensor before it."""

    @abstractmethod
    def distort(self, stretch: Stretch) -> Array:
        """What is shown instead of `stretch.values`, shape (n,); NaN = nothing.

        Row i of the answer depends on rows 0 … i alone.
        """


class ClockFault(Fault, ABC):
    """The device's clock is wrong."""

    layer = Layer.SENSOR

    @abstractmethod
    def stamps(self, time_ms: Times, since_s: Array, timezone: str) -> Times:
        """What the device's clock says at `time_ms` (UTC ms, shape (n,)) within the window."""


class RestartFault(Fault, ABC):
    """The device starts anew: a new boot, whose numbers begin at 0."""

    layer = Layer.SENSOR

    @abstractmethod
    def off(self, window: Window) -> Sequence[Window]:
        """When the device is off, in time order; each time it comes back as a new boot."""


class NetworkFault(Fault, ABC):
    """What happens to a message between device and broker."""

    layer = Layer.NETWORK

    @abstractmethod
    def sendings(self, time_ns: int, window: Window, chance: np.random.RandomState) -> Sequence[int]:
        """When a message that is due at `time_ns`, within the window, arrives: none = never, several = more than once.

        Never before `time_ns`. `chance` is of this message alone.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """A fault whose onset is known in simulated time."""

    fault: Fault
    window: Window

    def rows(self, time_ms: Times) -> slice:
        """The rows within the window, of rows in time order."""
        edges = [-(-self.window.start_ns // 1_000_000), -(-self.window.stop_ns // 1_000_000)]
        first, last = np.searchsorted(time_ms, edges)
        return slice(int(first), int(last))
