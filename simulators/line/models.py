"""The models of machines by name, when each has something to say, and how those of one unit are put together."""

from collections.abc import Callable, Mapping

from filiere.errors import PlantError
from filiere.plant import Unit
from simulators.faults.operators import BATCH_WEIGHT
from simulators.line.extruder import cooled_down, extruder
from simulators.line.feeders import feeder
from simulators.line.laboratory import laboratory, reading_times
from simulators.line.machines import Machine, Model, Trace
from simulators.line.parameters import text
from simulators.line.pelletiser import pelletiser
from simulators.line.physics import Array
from simulators.line.plan import Plan
from simulators.line.preparing import dryer, sorter
from simulators.line.scale import scale
from simulators.line.steady import steady

MODELS: Mapping[str, Model] = {
    "steady": steady,
    "sorter": sorter,
    "dryer": dryer,
    "feeder": feeder,
    "scale": scale,
    "extruder": extruder,
    "pelletiser": pelletiser,
    "laboratory": laboratory,
}
"""Values of `simulator.model` in a plant file."""
SAMPLED: Mapping[str, Callable[[Unit, Plan, int], Array]] = {"laboratory": reading_times}
"""Models whose rows come when there is something to say: (unit, plan, seed) → seconds after the cycle's start."""


def model_name(unit: Unit) -> str:
    """Raises PlantError: the plant file names a model that does not exist."""
    name = text(unit.simulator, "model", "steady")
    if name not in MODELS:
        raise PlantError(f"unit {unit.id}: got simulator.model {name!r}; expected one of {', '.join(sorted(MODELS))}")
    return name


def trace_of(machine: Machine) -> Trace:
    """The unit's own model; a built-in scale and steady signals for what it does not speak of."""
    signals = {signal.id: signal for signal in machine.unit.signals}
    models = [model for model in (MODELS[model_name(machine.unit)],) if model is not steady]
    if BATCH_WEIGHT in signals and scale not in models:
        models.append(scale)
    traces = [model(machine) for model in models]
    spoken = {signal for trace in traces for signal in trace.values}
    traces.append(steady(machine, [signal for name, signal in signals.items() if name not in spoken]))
    # What knows most came first and goes over the others.
    return Trace(
        values={name: column for trace in reversed(traces) for name, column in trace.values.items()},
        noise={name: column for trace in reversed(traces) for name, column in trace.noise.items()},
        memory={name: value for trace in reversed(traces) for name, value in trace.memory.items()},
    )


def rested(unit: Unit, memory: Mapping[str, float], off_s: float) -> Mapping[str, float]:
    """What a machine remembers after it was off for `off_s`."""
    if off_s <= 0.0 or model_name(unit) != "extruder":
        return memory
    return cooled_down(unit, memory, off_s)
