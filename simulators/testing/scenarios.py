"""Scenarios in a test: a shipped one, a file, YAML in the test itself, or one with more faults."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from filiere.errors import ScenarioError
from filiere.plant import Plant
from simulators.faults.catalogue import overlap
from simulators.faults.fault import Fault
from simulators.scenarios.scenario import NORMAL, Scenario
from simulators.scenarios.scenario_file import load_scenario, parse_fault, parse_scenario

FaultWords = Mapping[str, Any]
"""A fault as a scenario file has it: kind, line, target, onset, duration, severity, label."""


class Scenarios:
    """Call it for a scenario of a plant."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant

    def __call__(
        self, which: str | Path | None = None, *, faults: Iterable[FaultWords | Fault] = (), **changes: Any
    ) -> Scenario:
        """The scenario, checked against the plant.

        `which`: the name of a shipped one, a path, or YAML (a text of several lines); None = nothing goes wrong, for as
        long as the test asks. `faults` are added to its own: mappings in the words of a scenario file. `changes`
        replace its fields: `lots=2`, `seed=7`.

        Raises:
            ScenarioError: got, expected, do this; with file and line.
        """
        scenario = self._load(which)
        own = scenario.faults
        taken = [fault.label for fault in own]
        for number, words in enumerate(faults):
            fault = words if isinstance(words, Fault) else self._fault(words, f"faults[{number}]", taken)
            if fault.label in taken:
                raise ScenarioError(f"got label {fault.label!r} twice; expected each label once: rename one")
            taken.append(fault.label)
            own = (*own, fault)
        if (both := overlap(own, self._plant)) is not None:
            first, second = both
            raise ScenarioError(
                f"got {second.label} ({second.kind}) while {first.label} ({first.kind}) is there; expected one of them"
                " at a time: shorten the first, or begin the second later"
            )
        return replace(scenario, **{"faults": own, **changes})

    def _load(self, which: str | Path | None) -> Scenario:
        if which is None:
            return NORMAL
        if isinstance(which, str) and "\n" in which:
            return parse_scenario(which.encode(), "scenario in the test", self._plant)
        return load_scenario(str(which), self._plant)

    def _fault(self, words: FaultWords, source: str, taken: list[str]) -> Fault:
        if not isinstance(words, Mapping):
            raise ScenarioError(f"{source}: got {words!r}; expected a fault in words: kind, line, target, …; in a list")
        kind = str(words.get("kind", ""))
        names = chain([kind], (f"{kind}-{number}" for number in count(2)))
        label = next(name for name in names if name not in taken)
        return parse_fault(json.dumps(dict(words)).encode(), source, self._plant, label=label)
