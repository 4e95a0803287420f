"""What was asked for of a simulation, and what follows from it together with the scenario."""

import math
from dataclasses import dataclass
from pathlib import Path

from filiere.clock import NS_PER_S
from filiere.errors import SettingsError
from filiere.plant import Plant
from simulators.output.format import Format
from simulators.scenarios.scenario import NORMAL, Calendar, Scenario
from simulators.scenarios.scenario_file import SEED_MAX, START_NS_MAX, START_NS_MIN, load_scenario

SEED = 1
DAY_S = 86_400
DAYS_BEFORE = 7
"""Without a start, what is published begins this many days before now, at a full hour; earlier for much work."""
LOTS_A_DAY = 3
"""A line makes more than so many: the lots that were asked for fit between the first simulated instant and now."""
DAYS_A_WEEK = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked for on the command line; None or empty = as before, as the scenario says, or the default."""

    scenario: str = ""
    """Name of a shipped scenario, or path of a file; empty = nothing goes wrong."""
    speed: float = 60.0
    lots: int | None = None
    """More lots, on each line."""
    days: float | None = None
    """Since the simulation's beginning."""
    seed: int | None = None
    start_ns: int | None = None
    fresh: bool = False
    rows_max: int | None = None
    stop_with_stdin: bool = False
    """Stop when standard input ends: whoever started this holds the other end."""
    to: Path | None = None
    """Folder for files; None = MQTT."""
    form: Format = Format.PARQUET
    truth: Path | None = None
    """Folder for what is true; None = it is not kept."""
    language: str = "fr"

    def __post_init__(self) -> None:
        """Raises SettingsError: a number that is none, a start that no clock shows."""
        for name, value in (("days", self.days), ("speed", self.speed)):
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                raise SettingsError(f"--{name}: got {value}; expected a finite number, 0 or more")
        if self.seed is not None and not 0 <= self.seed <= SEED_MAX:
            raise SettingsError(f"--seed: got {self.seed}; expected a whole number from 0 to {SEED_MAX}")
        if self.start_ns is not None and not START_NS_MIN <= self.start_ns <= START_NS_MAX:
            raise SettingsError("--start: got a time that is out of reach; expected a year from 2000 to 2199")

    def scenario_of(self, plant: Plant) -> Scenario:
        """Raises ScenarioError: it is wrong, or not of this plant."""
        return load_scenario(self.scenario, plant) if self.scenario else NORMAL

    def lots_of(self, scenario: Scenario) -> int | None:
        """How many lots each line makes; an end that is asked for stands instead of the scenario's."""
        return scenario.lots if self.lots is None and self.days is None else self.lots

    def days_of(self, scenario: Scenario) -> float | None:
        """How many days are simulated at most; the same."""
        return scenario.days if self.lots is None and self.days is None else self.days

    def stop_ns(self, scenario: Scenario, start_ns: int) -> int | None:
        """Where simulated time ends, UTC ns; None = nowhere."""
        days = self.days_of(scenario)
        return None if days is None else start_ns + round(days * DAY_S * NS_PER_S)

    def seed_of(self, scenario: Scenario) -> int:
        """The one that is asked for, else the scenario's, else 1."""
        asked = self.seed if self.seed is not None else scenario.seed
        return SEED if asked is None else asked

    def check_end(self, scenario: Scenario) -> None:
        """Raises SettingsError: files without an end."""
        if self.lots_of(scenario) is None and self.days_of(scenario) is None:
            raise SettingsError(
                "--to: got a simulation without an end; expected --lots, --days, or a scenario that has one of them"
            )


def days_needed(lots: int | None, days: float | None, calendar: Calendar | None) -> float:
    """In how many days so much is made, at most; 0 = it has no end."""
    if days is not None:
        return days
    if lots is None:
        return 0.0
    if calendar is None:
        return lots / LOTS_A_DAY
    return (lots / (calendar.lots_a_day * len(calendar.days)) + 1.0) * DAYS_A_WEEK
