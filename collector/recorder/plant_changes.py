"""What changed in the plant model since the recorder last started, as far as it touches what is stored. Pure.

A new range or a new signal changes nothing that is there. A new unit would put two units into one series, which nobody
could tell apart afterwards: the recorder holds until the series is empty, or the unit is back.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from collector.recorder.book import RecordedSignal
from filiere.plant import Plant


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantChanges:
    """Signals by key, `caux/textile/t1/extruder.melt_temp`."""

    new: tuple[str, ...]
    removed: tuple[str, ...]
    units: Mapping[str, tuple[str, str]]
    """Key → unit before, unit now; also of a signal that was away meanwhile."""
    ranges: Mapping[str, tuple[tuple[float, float], tuple[float, float]]]
    """Key → (low, high) before, (low, high) now."""

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.new or self.removed or self.units or self.ranges)


def signals_of(plant: Plant) -> dict[str, RecordedSignal]:
    """Every signal of a plant by key."""
    return {
        f"{line.path}/{signal.key}": RecordedSignal(
            key=f"{line.path}/{signal.key}",
            unit=signal.unit,
            range_low=signal.range_low,
            range_high=signal.range_high,
            planned=True,
        )
        for line in plant.lines
        for signal in line.signals
    }


def plant_changes(recorded: Mapping[str, RecordedSignal], plant: Mapping[str, RecordedSignal]) -> PlantChanges:
    """What is different in `plant` from what was recorded by last; signals by key."""
    both = {key: (recorded[key], signal) for key, signal in plant.items() if key in recorded}
    return PlantChanges(
        new=tuple(key for key in plant if key not in recorded or not recorded[key].planned),
        removed=tuple(key for key, signal in recorded.items() if signal.planned and key not in plant),
        units={key: (before.unit, now.unit) for key, (before, now) in both.items() if before.unit != now.unit},
        ranges={
            key: (before_range, now_range)
            for key, (before, now) in both.items()
            if (before_range := (before.range_low, before.range_high)) != (now_range := (now.range_low, now.range_high))
        },
    )


def line_of(key: str) -> str:
    """`caux/textile/t1/extruder.melt_temp` → `caux/textile/t1`."""
    return key.rpartition("/")[0]
