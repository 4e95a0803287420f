"""The simulated plant: how much faster than time it runs."""

import time
from collections.abc import Iterator

from collector.codec import decode_readings, parse_topic
from filiere.plant_file import load_plant
from simulators.line.simulation import simulate
from tests.bench import Bench, Measurement, measured

START_NS = 1_763_888_400_000_000_000
SEED = 7


def bench_simulators(bench: Bench) -> Iterator[Measurement]:
    """Both lines of the packaged plant, one lot each: physics, events and encoding, no network."""
    del bench
    plant = load_plant("caux")
    lot = list(simulate(plant, seed=SEED, start_ns=START_NS, lots=1))
    readings = [
        decode_readings(publication.payload)
        for publication in lot
        if parse_topic(publication.topic.encode()).kind == "readings"
    ]
    samples = sum(value is not None for message in readings for column in message.values.values() for value in column)
    hours = (lot[-1].time_ns - lot[0].time_ns) / 3.6e12

    def once() -> float:
        began = time.perf_counter()
        count = sum(1 for _ in simulate(plant, seed=SEED, start_ns=START_NS, lots=1))
        assert count == len(lot)
        return samples / (time.perf_counter() - began)

    yield measured(
        "simulators, both lines",
        "samples/s",
        once,
        repeats=3,
        remark=f"{samples} samples in {len(lot)} messages, {hours:.1f} h of plant time",
    )
