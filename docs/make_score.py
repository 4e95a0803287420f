"""Makes `pictures/score.svg` of the page on the score again: a day of dirty data through the whole system, in process.

Usage: python docs/make_score.py (needs matplotlib: uv sync --extra plots). Takes about half a minute; the same code and
plant file make the same bytes.
"""

import sys
import tempfile
from pathlib import Path

from filiere.clock import parse_time
from filiere.plant_file import load_plant
from simulators.scenarios.scenario_file import load_scenario
from simulators.testing.frozen import FrozenClock
from simulators.testing.lines import LineSim
from simulators.testing.stack import open_stack
from simulators.truth.plot import write_plot

PICTURE = Path(__file__).parent / "pictures" / "score.svg"
SCENARIO, SEED, START_NS = "dirty-data", 1, parse_time("2026-03-11T06:00:00Z")


def main() -> None:
    """Simulate, record, score, draw."""
    plant = load_plant("caux")
    simulation = LineSim(plant, seed=SEED, start_ns=START_NS)(scenario=load_scenario(SCENARIO, plant))
    with (
        tempfile.TemporaryDirectory() as folder,
        open_stack(Path(folder), plant=plant, clock=FrozenClock(START_NS)) as stack,
    ):
        stack.run(simulation)
        write_plot(PICTURE, stack.score(simulation), "fr")
    sys.stdout.write(f"{PICTURE}\n")


if __name__ == "__main__":
    main()
