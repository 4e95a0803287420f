"""Makes the pictures of docs/simulated-plant.md again: the simulated extruder beside the measured one.

Usage: make pictures, or python docs/make_calibration.py [--lang fr]. Needs the extra `plots`; takes some seconds.
The same plant file gives the same bytes.
"""

import argparse
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from filiere.clock import parse_time
from filiere.plant import Label, Plant
from filiere.plant_file import load_plant
from simulators.line.calibration import (
    BETWEEN_BLENDS,
    MEASURED,
    PRESSURE_BAR,
    Range,
    at_speed,
    cycle_min,
    heat_up,
    lag_1,
    still,
)
from simulators.line.cycle import Cycle, run_cycle
from simulators.line.physics import Array
from simulators.line.simulation import beginning

PICTURES = Path(__file__).parent / "pictures"
SEED, START = 1, "2026-03-11T06:00:00Z"
LINE = "caux/textile/t1"
ZONES = tuple(f"barrel_temp_z{zone}" for zone in range(1, 6))
SCAN_S, BEFORE_FEED_S = 2.0, 4400.0
SETTLED_S, FADING_S = 1800.0, 480.0
SPEEDS = (5.0, 10.0, 20.0, 30.0, 40.0, 55.0)
POINTS_MAX = 500
"""Of a curve: more is not seen, and a picture stays small."""
WIDTH_IN, HEIGHT_IN = 8.0, 3.4
TITLE_CHARACTERS = 18
MEASURED_COLOUR, COLOURS = "#e6b35a", ("#27476e", "#3b6ea5", "#6b9ac4", "#4b7f52", "#8fb174")
SIMULATED, RANGE = Label(fr="simulé", en="simulated"), Label(fr="mesuré", en="measured")
ZONE = Label(fr="zone {zone}", en="zone {zone}")


@dataclass(frozen=True)
class Runs:
    """The simulated runs that the pictures are of."""

    plant: Plant
    language: str

    def say(self, label: Label) -> str:
        """A label in the pictures' language."""
        return label.in_language(self.language)

    @cached_property
    def cycles(self) -> tuple[Cycle, Cycle]:
        """The first lot, from cold, and the second."""
        state = beginning(self.plant, seed=SEED, start_ns=parse_time(START))
        first = run_cycle(self.plant, state.lines[LINE].cycle, state)
        return first, run_cycle(self.plant, first.following, state)

    def pressure_bar(self, speed: float) -> float:
        """Before a screen that is clean."""
        plant = at_speed(self.plant, LINE, "extruder.screw_speed", speed)
        state = beginning(plant, seed=SEED, start_ns=parse_time(START))
        cycle = run_cycle(plant, state.lines[LINE].cycle, state)
        stage = cycle.plan.stages[-1]
        full_s = stage.feed_start_s + stage.ramp_s + 300.0
        at, bar = shown(cycle, "melt_pressure")
        return float(bar[(at > full_s) & (at < full_s + 1200.0)].mean())

    def steady(self, signal: str, *, true: bool = False) -> tuple[Array, Array]:
        """The second lot in full swing: seconds and values."""
        cycle = self.cycles[1]
        stage = cycle.plan.stages[-1]
        at, values = shown(cycle, signal, true=true)
        inside = (at > stage.feed_start_s + SETTLED_S) & (at < stage.feed_stop_s - FADING_S)
        return at[inside], values[inside]


def shown(cycle: Cycle, signal: str, *, true: bool = False) -> tuple[Array, Array]:
    """Seconds after the cycle's start, and what the extruder shows (or what is there)."""
    rows = next(rows for rows in cycle.devices if rows.device == "extruder")
    at = (rows.time_ms - cycle.plan.cycle.start_ns // 1_000_000) / 1000.0
    return np.asarray(at), np.asarray((rows.true if true else rows.shown)[signal])


def thin(*columns: Array) -> tuple[Array, ...]:
    """At most POINTS_MAX of each, evenly."""
    every = max(1, -(-len(columns[0]) // POINTS_MAX))
    return tuple(column[::every] for column in columns)


# ---------------------------------------------------------------------------------------------------------- pictures


def heat_up_picture(runs: Runs, figure: Figure) -> None:
    """The first heat-up of each zone, and its three numbers."""
    curve, *sides = figure.subplots(1, 4, width_ratios=[3, 1, 1, 1])
    found = []
    cycle = runs.cycles[0]
    for place, zone in enumerate(ZONES):
        at, values = shown(cycle, zone)
        before = at < BEFORE_FEED_S
        set_point_c = cycle.plan.stages[-1].recipe.targets[f"extruder.{zone}"]
        found.append(heat_up(at[before], values[before], set_point_c=set_point_c))
        minutes, thinned = thin(at[before] / 60.0, values[before])
        curve.plot(minutes, thinned, color=COLOURS[place], lw=1, label=runs.say(ZONE).format(zone=place + 1))
    curve.set_xlabel("min")
    curve.set_ylabel("°C")
    curve.legend(fontsize=7, frameon=False, loc="lower right")
    dots(runs, sides[0], MEASURED["heat_up"], [each.rate_c_min for each in found])
    dots(runs, sides[1], MEASURED["rise"], [each.rise_min for each in found])
    dots(runs, sides[2], MEASURED["overshoot"], [each.overshoot_c for each in found])


def cycles_picture(runs: Runs, figure: Figure) -> None:
    """A zone in full swing, and the period and the spread of all."""
    curve, *sides = figure.subplots(1, 3, width_ratios=[3, 1, 1])
    for true, colour, width in ((False, "#b9c6d6", 0.8), (True, COLOURS[0], 1.2)):
        at, values = thin(*runs.steady(ZONES[2], true=true))
        curve.plot((at - at[0]) / 60.0, values, color=colour, lw=width, drawstyle="default" if true else "steps-post")
    curve.set_xlabel("min")
    curve.set_ylabel(f"{runs.say(ZONE).format(zone=3)}, °C")
    dots(
        runs, sides[0], MEASURED["cycle"], [cycle_min(runs.steady(zone, true=True)[1], period_s=2.0) for zone in ZONES]
    )
    dots(runs, sides[1], MEASURED["sd"], [float(np.std(runs.steady(zone)[1])) for zone in ZONES])


def resolution_picture(runs: Runs, figure: Figure) -> None:
    """Steps of the display: how large the differences from one scan to the next are."""
    curve, bars, side = figure.subplots(1, 3, width_ratios=[3, 2, 1])
    at, values = runs.steady(ZONES[1])
    minute = at - at[0] < 240.0
    curve.step(at[minute] - at[0], values[minute], color=COLOURS[1], lw=1, where="post")
    curve.set_xlabel("s")
    curve.set_ylabel(f"{runs.say(ZONE).format(zone=2)}, °C")
    steps, counts = np.unique(np.diff(values), return_counts=True)
    bars.bar(steps, counts / counts.sum(), width=0.3, color=COLOURS[1])
    bars.set_xlabel(runs.say(Label(fr="différence, °C", en="difference, °C")))
    dots(runs, side, MEASURED["still"], [still(runs.steady(zone)[1]) for zone in ZONES])


def autocorrelation_picture(runs: Runs, figure: Figure) -> None:
    """Autocorrelation of a temperature and of the pressure, and at lag 1 those of all."""
    curve, *sides = figure.subplots(1, 3, width_ratios=[3, 1, 1])
    for signal, colour in ((ZONES[2], COLOURS[0]), ("melt_pressure_after", COLOURS[3])):
        centred = runs.steady(signal)[1] - runs.steady(signal)[1].mean()
        lags = np.arange(1, 61)
        found = [float(np.corrcoef(centred[lag:], centred[:-lag])[0, 1]) for lag in lags]
        label = runs.say(runs.plant.line(LINE).signal(f"extruder.{signal}").label)
        curve.plot(lags * 2, found, color=colour, lw=1, marker=".", ms=3, label=label)
    curve.set_xlabel("s")
    curve.set_ylim(-0.1, 1.05)
    curve.legend(fontsize=7, frameon=False)
    dots(runs, sides[0], MEASURED["lag_1"], [lag_1(runs.steady(zone)[1]) for zone in ZONES])
    dots(runs, sides[1], MEASURED["lag_1_pressure"], [lag_1(runs.steady("melt_pressure_after")[1])])


def pressure_picture(runs: Runs, figure: Figure) -> None:
    """Pressure against screw speed, a clean screen, beside the measured table."""
    curve = figure.subplots()
    speeds, bars = list(PRESSURE_BAR), np.array(list(PRESSURE_BAR.values()))
    label = runs.say(RANGE) + f" ± {BETWEEN_BLENDS:.0%}"
    curve.errorbar(speeds, bars, yerr=BETWEEN_BLENDS * bars, fmt="s", color=MEASURED_COLOUR, capsize=3, label=label)
    found = [runs.pressure_bar(speed) for speed in SPEEDS]
    curve.plot(SPEEDS, found, color=COLOURS[0], marker="o", ms=4, lw=1, label=runs.say(SIMULATED))
    curve.set_xlabel(runs.say(Label(fr="vitesse de vis, tr/min", en="screw speed, 1/min")))
    curve.set_ylabel(runs.say(Label(fr="pression avant filtre, bar", en="pressure before the screen, bar")))
    curve.legend(frameon=False)


def dots(runs: Runs, axes: Axes, measured: Range, values: list[float]) -> None:
    """A statistic of each zone as a dot over the range that was measured."""
    axes.axhspan(measured.low, measured.high, color=MEASURED_COLOUR, alpha=0.5, lw=0)
    axes.plot(range(len(values)), values, ls="", marker="o", ms=4, color=COLOURS[0])
    span = measured.high - measured.low
    axes.set_ylim(measured.low - 0.3 * span, measured.high + 0.3 * span)
    axes.set_xlim(-0.7, len(values) - 0.3)
    axes.set_xticks([])
    axes.set_title("\n".join([*textwrap.wrap(runs.say(measured.label), TITLE_CHARACTERS), measured.unit]), fontsize=8)


DRAWERS: dict[str, Callable[[Runs, Figure], None]] = {
    "heat-up": heat_up_picture,
    "cycles": cycles_picture,
    "resolution": resolution_picture,
    "autocorrelation": autocorrelation_picture,
    "pressure": pressure_picture,
}


def draw(runs: Runs, name: str) -> None:
    """Write one picture."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    DRAWERS[name](runs, figure)
    path = PICTURES / f"calibration-{name}.svg"
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    # matplotlib leaves blanks at the ends of lines
    path.write_text("\n".join(map(str.rstrip, path.read_text().splitlines())) + "\n")
    print(f"{path.relative_to(PICTURES.parent.parent)}  {path.stat().st_size / 1024:.0f} KiB")  # noqa: T201 - a script


def main() -> None:
    """Draw them all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lang", choices=("fr", "en"), default="en", help="words of the pictures")
    runs = Runs(plant=load_plant("caux"), language=parser.parse_args().lang)
    mpl.rcParams.update({"svg.hashsalt": "filiere", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False})
    mpl.rcParams.update({"axes.spines.right": False, "font.family": "sans-serif"})
    for name in DRAWERS:
        draw(runs, name)


if __name__ == "__main__":
    main()
