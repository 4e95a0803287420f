"""Truth and conclusions by hand, with sane defaults: one line, twelve hours, two runs, nothing wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from collector.recorder.book import Progress
from filiere.chain import fold
from filiere.clock import NS_PER_S
from filiere.embedded_store import EmbeddedStore
from filiere.events import Event, Portion, RunClosed, RunStarted
from filiere.plant import Label
from filiere.readings import Block
from simulators.faults.fault import Active, Layer, Onset, Window
from simulators.faults.network import Dropped
from simulators.faults.process import ScreenClog
from simulators.faults.sensors import SensorStuck
from simulators.line.rows import DeviceRows
from simulators.line.truth import LotTruth
from simulators.truth.conclusion import Conclusion, Source
from simulators.truth.folder import Truth, read_truth, stem
from simulators.truth.readings import write_readings
from simulators.truth.records import CycleTruth, FaultTruth, FlowTruth, RunTruth, encode
from simulators.truth.system import System
from tests.processing.builders import LINE, T0, plant, two_step_events

HOURS = 12
MINUTE_S = 60.0
OPENED: list[EmbeddedStore] = []
"""Stores of a test, closed behind it."""
GOOD = {"sorter.fibre_ratio": 0.95, "extruder.melt_temp": 228.0, "extruder.current": 40.0}
"""Signal → what is truly there all the time."""


def at(hours: float) -> int:
    """Hours after the beginning → UTC ns."""
    return T0 + round(hours * 3600) * NS_PER_S


def fault(label: str = "f", *, start: float = 5.0, stop: float | None = 6.0, **fields: object) -> FaultTruth:
    values: dict[str, object] = {
        "label": label,
        "kind": "screen_clog",
        "layer": Layer.PROCESS,
        "line": LINE,
        "target": "extruder",
        "severity": 10.0,
        "start_ns": at(start),
        "stop_ns": None if stop is None else at(stop),
    }
    return FaultTruth(**(values | fields))  # type: ignore[arg-type]  # a builder


def conclusion(
    start: float = 5.5, *, known: float | None = -1.0, stop: float | None = None, **fields: object
) -> Conclusion:
    """An alarm of one instant, known at once, that a limit was crossed."""
    values: dict[str, object] = {
        "source": Source.LIMITS,
        "line": LINE,
        "targets": ("extruder.melt_temp",),
        "start_ns": at(start),
        "stop_ns": at(start if stop is None else stop),
        "known_ns": None if known is None else at(start if known < 0 else known),
        "words": Label(fr="au-dessus", en="above"),
    }
    return Conclusion(**(values | fields))  # type: ignore[arg-type]  # a builder


ACTIVE = {
    "screen_clog": ScreenClog,
    "sensor_stuck": SensorStuck,
    "dropped": Dropped,
}


def active(
    kind: str = "screen_clog", *, label: str = "f", target: str = "extruder", start: float, stop: float
) -> Active:
    made = ACTIVE[kind](label=label, line=LINE, target=target, onset=Onset(after_s=start * 3600))
    return Active(fault=made, window=Window(at(start), at(stop)))


def rows(
    device: str,
    shown: Mapping[str, float | Sequence[float]],
    *,
    true: Mapping[str, float] | None = None,
    step_s: float = MINUTE_S,
) -> DeviceRows:
    """A row a minute, all twelve hours; `shown`: signal id → one value, or one a row."""
    count = round(HOURS * 3600 / step_s)
    time_ms = T0 // 1_000_000 + np.arange(count, dtype=np.int64) * round(step_s * 1000)
    columns = {name: np.broadcast_to(np.asarray(each, np.float64), count).copy() for name, each in shown.items()}
    return DeviceRows(
        line=LINE,
        device=device,
        time_ms=time_ms,
        stamp_ms=time_ms,
        boots=("b0",),
        boot=np.zeros(count, np.uint16),
        seq=np.arange(count, dtype=np.int64),
        place=np.arange(count, dtype=np.int64),
        ended_ns=(),
        true={name: np.full(count, (true or {}).get(name, column[0])) for name, column in columns.items()},
        shown=columns,
    )


def devices(levels: Mapping[str, float] = GOOD) -> tuple[DeviceRows, ...]:
    by_device: dict[str, dict[str, float]] = {}
    for key, level in levels.items():
        device, _, signal = key.partition(".")
        by_device.setdefault(device, {})[signal] = level
    return tuple(rows(device, columns) for device, columns in by_device.items())


def _flow(portion: Portion) -> FlowTruth:
    wet_g = round(portion.mass_kg * 1000)
    dry_g = round(portion.dry_kg * 1000)
    return FlowTruth(lot=portion.lot, material=portion.material, role=portion.role, dry_g=dry_g, water_g=wet_g - dry_g)


def true_runs(events: Sequence[Event]) -> tuple[RunTruth, ...]:
    """What honest people with perfect scales told."""
    starts = {event.run: event for event in events if isinstance(event, RunStarted)}
    closes = {event.run: event for event in events if isinstance(event, RunClosed)}
    return tuple(
        RunTruth(
            id=run,
            step=start.step,
            recipe=start.recipe,
            lot=start.lot,
            start_ns=start.event_time_ns,
            feed_start_ns=start.event_time_ns,
            feed_stop_ns=closes[run].event_time_ns,
            stop_ns=closes[run].event_time_ns,
            inputs=tuple(map(_flow, start.inputs)),
            outputs=tuple(map(_flow, closes[run].outputs)),
            air_water_g=0,
        )
        for run, start in starts.items()
        if run in closes
    )


def cycle(**fields: object) -> CycleTruth:
    values: dict[str, object] = {
        "plant": plant().digest,
        "scenario": "by-hand",
        "scenario_digest": "",
        "seed": 1,
        "line": LINE,
        "number": 0,
        "start_ns": T0,
        "stop_ns": at(HOURS),
        "faults": (),
        "runs": true_runs(two_step_events()),
        "lots": (),
        "stock": (),
        "set_aside": (),
        "store_air_g": 0,
    }
    return CycleTruth(**(values | fields))  # type: ignore[arg-type]  # a builder


def write_truth(
    folder: Path,
    *,
    measured: Sequence[DeviceRows] | None = None,
    under: Sequence[Active] = (),
    **fields: object,
) -> Truth:
    """A truth folder of one cycle, read back."""
    folder.mkdir(parents=True, exist_ok=True)
    record = cycle(**fields)
    base = folder / stem(record.line, record.number)
    base.with_name(f"{base.name}.json").write_bytes(encode(record))
    write_readings(base.with_name(f"{base.name}.readings.parquet"), measured or devices(), under)
    return read_truth(folder)


def system(
    folder: Path, *, measured: Sequence[DeviceRows] | None = None, events: Sequence[Event] | None = None
) -> System:
    """A system that stored what `measured` shows, and was told `events`; without a recorder's book."""
    store = EmbeddedStore.open(folder / "readings.sqlite")
    OPENED.append(store)
    store.write([block(each) for each in (devices() if measured is None else measured)])
    return System(plant=plant(), chain=fold(events or two_step_events()), store=store)


def block(measured: DeviceRows, quality: Mapping[str, Mapping[int, str]] | None = None) -> Block:
    """All rows of a device as they are stored."""
    return Block(
        line=measured.line,
        device=measured.device,
        time_ns=[int(time_ms) * 1_000_000 + place % 1000 for place, time_ms in enumerate(measured.time_ms)],
        values={
            name: [None if np.isnan(value) else float(value) for value in column]
            for name, column in measured.shown.items()
        },
        quality=quality or {},
    )


def with_output(events: Sequence[Event], run: str, **fields: object) -> tuple[Event, ...]:
    """The same, with the product of a run told otherwise."""
    return tuple(
        replace(event, outputs=(replace(event.outputs[0], **fields), *event.outputs[1:]))  # type: ignore[arg-type]  # a builder
        if isinstance(event, RunClosed) and event.run == run
        else event
        for event in events
    )


def lot_truth(lot: str, *, hours: float = 0.0, run: str = "", **fields: object) -> LotTruth:
    values: dict[str, object] = {
        "lot": lot,
        "material": "bale",
        "role": "product",
        "run": run,
        "time_ns": at(hours),
        "dry_g": 495_000,
        "water_g": 5_000,
        "composition": {"pp": 1.0},
        "origin": {"post_consumer": 1.0},
        "parents": (),
        "told_kg": None,
        "told_moisture": None,
    }
    return LotTruth(**(values | fields))  # type: ignore[arg-type]  # a builder


def progress() -> Progress:
    """How far a recorder is that has read nine messages."""
    return Progress(bookmark=9, log_head=9, ledger_position=0, store_problem=None, updated_ns=at(12))
