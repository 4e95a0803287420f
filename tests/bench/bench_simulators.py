"""The simulated plant: how much faster than time it runs, into files, and into a broker."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from filiere.clock import NS_PER_S
from filiere.plant import Plant, Signal
from filiere.plant_file import load_plant
from filiere.settings import load_settings
from simulators.line.messages import Publication
from simulators.line.models import SAMPLED
from simulators.line.simulation import beginning, line_cycles
from simulators.output.order import Order
from simulators.output.simulate import run_simulation
from tests.bench import Bench, Measurement, from_values
from tests.bench.consumers import Filiere, resident_mb

START_NS = 1_763_888_400_000_000_000
SEED = 7
SIGNALS, DAY_S = 40, 86_400
DAY_S_GOAL = 10.0
"""Of processor time: 8,640 times as fast as the clock."""
MONTH = "full-month"
MONTH_S_GOAL, GROWTH_GOAL = 60.0, 10.0
LOOK_S = 0.2
ROWS_A_MESSAGE = 1_000
LOTS = 2
ROWS_GOAL = 20_000.0
ROUNDS = 3


def bench_simulators(bench: Bench) -> Iterator[Measurement]:
    """24 hours of 40 signals at 1 Hz: physics, noise and display, one core."""
    del bench
    plant = every_second(load_plant("caux"))
    signals = sum(len(line.signals) for line in plant.lines)
    values = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        samples = _simulate_a_day(plant)
        values.append((time.process_time() - began_s) * SIGNALS * DAY_S / samples)
    yield from_values(
        f"simulated day, {SIGNALS} signals at 1 Hz",
        "s",
        values,
        remark=f"processor time; {signals} signals of both lines, {samples} samples, counted down to {SIGNALS}",
        at_most=DAY_S_GOAL,
    )
    rate = [DAY_S / value for value in values]
    yield from_values("the same", "× real time", rate, at_least=DAY_S / DAY_S_GOAL)


def every_second(plant: Plant) -> Plant:
    """The plant with every signal once a second; laboratories still say something only when they have something."""

    def faster(signal: Signal) -> Signal:
        return replace(signal, period_s=1.0)

    return replace(
        plant,
        workshops=tuple(
            replace(
                workshop,
                lines=tuple(
                    replace(
                        line,
                        units=tuple(
                            unit
                            if unit.simulator.get("model") in SAMPLED
                            else replace(unit, signals=tuple(faster(signal) for signal in unit.signals))
                            for unit in line.units
                        ),
                    )
                    for line in workshop.lines
                ),
            )
            for workshop in plant.workshops
        ),
    )


def _simulate_a_day(plant: Plant) -> int:
    """Samples of all cycles of both lines that begin within a day."""
    state = beginning(plant, seed=SEED, start_ns=START_NS)
    samples = 0
    for line in state.lines:
        for cycle in line_cycles(plant, state, line):
            samples += sum(
                int(np.count_nonzero(~np.isnan(column))) for rows in cycle.devices for column in rows.true.values()
            )
            if cycle.following.start_ns >= START_NS + DAY_S * NS_PER_S:
                break
    return samples


def bench_month(bench: Bench) -> Iterator[Measurement]:
    """A month of 60 lots a line with faults, to Parquet: time, and whether memory stays flat."""
    folder = bench.folder() / "month"
    command = [sys.executable, "-m", "filiere", "simulate", "--scenario", MONTH, "--to", str(folder), "--json"]
    began_s = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=dict(os.environ)
    ) as process:
        resident = _watch(process)
        assert process.stdout is not None
        output = process.stdout.read()
    took_s = time.monotonic() - began_s
    if process.returncode:
        raise RuntimeError(f"filiere simulate ended with code {process.returncode}")
    done = json.loads(output)
    written = sum(path.stat().st_size for path in folder.iterdir())
    remark = f"scenario {MONTH}: {done['rows']} rows, {done['lots']} lots, {written / 1e6:.0f} MB of files"
    yield from_values("simulated month, to Parquet", "s", [took_s], remark=remark, at_most=MONTH_S_GOAL)
    yield from_values("simulated month, memory", "MB", resident, remark=f"{len(resident)} looks")
    yield from_values(
        "simulated month, growth",
        "%",
        [growth(resident)],
        remark="last quarter over the second",
        at_most=GROWTH_GOAL,
    )


def _watch(process: subprocess.Popen[bytes]) -> list[float]:
    """Memory of a process until it ends, MB."""
    resident = []
    while process.poll() is None:
        try:
            resident.append(resident_mb(process.pid))
        except OSError:  # it ended just now
            break
        time.sleep(LOOK_S)
    return resident[1:]  # the first look may be at the process before its program


def growth(resident: Sequence[float]) -> float:
    """% from the second quarter of the time to the last."""
    quarter = max(1, len(resident) // 4)
    return 100.0 * (statistics.median(resident[-quarter:]) / statistics.median(resident[quarter : 2 * quarter]) - 1.0)


def bench_publish(bench: Bench) -> Iterator[Measurement]:
    """Publish simulated lines by MQTT in columnar payloads: rows a second, until the collector has receipted them."""
    broker = bench.mosquitto()
    values = []
    for _ in range(ROUNDS):
        rows = messages = 0

        def count(publication: Publication) -> None:
            nonlocal rows, messages
            rows += publication.stop - publication.start
            messages += 1

        with Filiere(broker=broker, influxdb=None, folder=bench.folder(), parts=("intake", "receipts")):
            settings = load_settings(data_dir=bench.folder(), mqtt_host=broker.host, mqtt_port=broker.port)
            order = Order(speed=0.0, lots=LOTS, seed=SEED, start_ns=START_NS, rows_max=ROWS_A_MESSAGE)
            began_s = time.monotonic()
            done = run_simulation(settings, order, stop=lambda: False, note=lambda _: None, watch=count)
            took_s = time.monotonic() - began_s
        if not done["flushed"]:
            raise RuntimeError(f"got {done['waiting']} messages without a receipt")
        values.append(rows / took_s)
    yield from_values(
        "simulate to MQTT, receipted",
        "rows/s",
        values,
        remark=f"{LOTS} lots a line, {rows} rows in {messages} messages, simulation, outbox and broker on this machine",
        at_least=ROWS_GOAL,
    )
