"""A simulation as pandas frames, for a notebook or a test: no server, no file, no clock.

from simulators.output.frame import frames

extruder = frames("clogged-screen", lots=2)["caux/textile/t1/extruder"]
extruder["melt_pressure"].resample("1min").mean().plot()
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from filiere.plant import Plant, Unit
from filiere.plant_file import load_plant
from simulators.faults.fault import Fault
from simulators.output.order import Order
from simulators.output.pieces import pieces
from simulators.output.simulation import Simulation, anew
from simulators.output.table import BOOT, EVENT_TIME, SEQ, Stretch
from simulators.scenarios.scenario import Scenario

TRUE = ".true"
"""`melt_temp.true`: what was there, beside what was shown."""


def frames(
    scenario: str | Scenario = "",
    *,
    plant: str | Plant = "caux",
    lots: int | None = None,
    days: float | None = None,
    seed: int | None = None,
    start_ns: int | None = None,
    true: bool = False,
    faults: tuple[Fault, ...] = (),
) -> Mapping[str, pd.DataFrame]:
    """Simulate, and return what each device published: device path (`caux/textile/t1/extruder`) → frame.

    A frame has a row a row, in the order of arrival: index `event_time` (UTC, what the device's clock said), columns
    `boot`, `seq` and one for each signal, NaN where nothing was measured; with `true`, also `<signal>.true`, what was
    there in truth. `frame.attrs["units"]` has the signals' units, UCUM. Same arguments, same frames.

    `scenario`: a shipped name, a file or a Scenario; empty = nothing goes wrong but `faults`, which come on top of any.
    `plant`: a packaged name, a file or a Plant. `lots` or `days` say where it ends, else the scenario does. `start_ns`:
    UTC ns.

    Raises:
        ScenarioError, PlantError: a file is wrong.
        SettingsError: there is no end.
    """
    model = plant if isinstance(plant, Plant) else load_plant(plant)
    asked = Order(
        scenario=scenario if isinstance(scenario, str) else "", lots=lots, days=days, seed=seed, start_ns=start_ns
    )
    found = scenario if isinstance(scenario, Scenario) else asked.scenario_of(model)
    return frames_of(anew(model, asked, found.with_faults(faults)), true=true)


def frames_of(simulation: Simulation, *, true: bool = False) -> Mapping[str, pd.DataFrame]:
    """The same of a simulation that is ready to run."""
    found: dict[str, list[Stretch]] = defaultdict(list)
    for piece in pieces(simulation):
        for stretch in piece.stretches:
            found[f"{stretch.rows.line}/{stretch.rows.device}"].append(stretch)
    units = [(line, unit) for line, unit in simulation.plant.devices() if line.path in simulation.state.lines]
    return {f"{line.path}/{unit.id}": _frame(unit, found[f"{line.path}/{unit.id}"], true=true) for line, unit in units}


def _frame(unit: Unit, stretches: list[Stretch], *, true: bool) -> pd.DataFrame:
    rows = [(stretch.rows, stretch.take) for stretch in stretches]
    columns: dict[str, object] = {
        BOOT: _joined(np.array(each.boots, dtype=object)[each.boot[take]] for each, take in rows),
        SEQ: _joined(each.seq[take] for each, take in rows).astype(np.int64),
    }
    for signal in unit.signals:
        columns[signal.id] = _joined(each.shown[signal.id][take] for each, take in rows)
        if true:
            columns[signal.id + TRUE] = _joined(each.true[signal.id][take] for each, take in rows)
    stamp_ms = _joined(each.stamp_ms[take] for each, take in rows).astype("datetime64[ms]")
    frame = pd.DataFrame(columns, index=pd.DatetimeIndex(stamp_ms, tz="UTC", name=EVENT_TIME).as_unit("ns"))
    frame.attrs["units"] = {signal.id: signal.unit for signal in unit.signals}
    return frame


def _joined(parts: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.concatenate([*parts] or [np.empty(0)])
