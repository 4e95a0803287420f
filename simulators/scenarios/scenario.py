"""A scenario: which simulated time is told of a plant, and what goes wrong in it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from filiere.plant import Label
from simulators.faults.fault import Fault

DAYS_OF_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """When a workshop works, local time of the site; else its machines are off and its devices silent."""

    days: frozenset[int]
    """Days of the week on which lots are begun, 0 = Monday."""
    start_minute: int
    """Minutes after midnight at which the first lot of a day is begun."""
    lots_a_day: int
    """A line goes on until so many lots are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is simulated. The plant file says how machines behave; the scenario says what happens to them."""

    id: str
    label: Label
    summary: Label
    """What it shows, and what a system that watches should conclude."""
    seed: int | None = None
    """None = the one of the command line, or its default."""
    start_ns: int | None = None
    """First simulated instant, UTC ns; None = the command line's."""
    lots: int | None = None
    """Each line stops after so many; None = as long as asked for."""
    days: float | None = None
    """Simulated days; None = as long as asked for."""
    lines: tuple[str, ...] = ()
    """Line paths; empty = all of the plant."""
    calendar: Calendar | None = None
    """None = one lot after the other, day and night."""
    faults: tuple[Fault, ...] = ()
    digest: str = ""
    """SHA-256 of the scenario file, hex; empty = it was made in code."""

    def with_faults(self, changed: Iterable[Fault]) -> "Scenario":
        """The same with these faults too; one with the label of another stands instead of it."""
        return replace(self, faults=tuple({fault.label: fault for fault in (*self.faults, *changed)}.values()))


NORMAL = Scenario(
    id="normal-day",
    label=Label(fr="Une journée normale", en="A normal day"),
    summary=Label(fr="Rien d'anormal.", en="Nothing goes wrong."),
)
