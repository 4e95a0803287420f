"""Digests of what each shipped scenario sends: the same on every machine, Python and numpy.

`python -m tests.simulators.line.digests --write` after a change of plant file, physics, scenarios or wire format;
`python -m tests.simulators.line.digests NAME …` prints those of some.
"""

import hashlib
import json
import sys
from pathlib import Path

from filiere.plant_file import load_plant
from simulators.line.simulation import simulate
from simulators.scenarios.scenario_file import load_scenario, shipped
from tests.simulators.builders import START_NS

GOLDEN = Path(__file__).with_name("golden.json")
SEED, LOTS = 1, 2
"""Two lots a line: the first faults of every scenario are in them."""


def digest(name: str) -> str:
    """SHA-256 over topic and bytes of every message of a scenario's first lots, in the order of arrival."""
    plant = load_plant("caux")
    scenario = load_scenario(name, plant)
    summed = hashlib.sha256()
    for each in simulate(plant, seed=SEED, start_ns=START_NS, lots=LOTS, scenario=scenario):
        summed.update(each.topic.encode() + b"\0" + each.payload + b"\n")
    return summed.hexdigest()


def main(arguments: list[str]) -> None:
    """Print digests as JSON, or write all of them into the golden file."""
    if arguments == ["--write"]:
        GOLDEN.write_text(json.dumps({name: digest(name) for name in shipped()}, indent=2, sort_keys=True) + "\n")
    else:
        sys.stdout.write(json.dumps({name: digest(name) for name in arguments}))


if __name__ == "__main__":
    main(sys.argv[1:])
