"""A small plant, a chain and readings, with sane defaults: each test says only what it is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from filiere.chain import Chain, fold
from filiere.clock import NS_PER_S
from filiere.errors import StoreUnavailable
from filiere.events import PRODUCT, RESIDUE, Event, Portion, Received, RunClosed, RunStarted
from filiere.plant import Ingredient, Label, Limits, Line, Material, Plant, Recipe, Signal, Step, Unit, Workshop
from filiere.readings import Block, Latest, RunMark, Series

T0 = 1_790_000_000 * NS_PER_S
LINE = "caux/textile/t1"
HOUR_NS = 3600 * NS_PER_S
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def label(text: str) -> Label:
    return Label(fr=text, en=f"{text} (en)")


def signal(device: str, name: str, **fields: object) -> Signal:
    values: dict[str, object] = {
        "id": name,
        "device": device,
        "label": label(name),
        "unit": "Cel",
        "period_s": 60.0,
        "range_low": -1000.0,
        "range_high": 1000.0,
        "resolution": 0.1,
        "critical": True,
        "limits": Limits(),
    }
    return Signal(**(values | fields))  # type: ignore[arg-type]  # a builder


def recipe(**limits: Limits) -> Recipe:
    return Recipe(
        id="r1",
        label=label("recette"),
        ingredients=(Ingredient(material="bale", share=1.0),),
        targets={},
        limits={key.replace("__", "."): value for key, value in limits.items()},
    )


def plant() -> Plant:
    sorter = Unit(
        id="sorter",
        label=label("tri"),
        signals=(signal("sorter", "fibre_ratio", unit="1", resolution=0.001, limits=Limits(low=0.9)),),
        simulator={},
    )
    extruder = Unit(
        id="extruder",
        label=label("extrudeuse"),
        signals=(
            signal("extruder", "melt_temp", limits=Limits(low=210, high=245)),
            signal("extruder", "current", critical=False, unit="A"),
        ),
        simulator={},
    )
    steps = (
        Step(
            id="sorting",
            label=label("Tri"),
            product="sorted",
            residues=("reject",),
            units=("sorter",),
            recipes=(recipe(),),
            certified=False,
            simulator={},
        ),
        Step(
            id="extrusion",
            label=label("Extrusion"),
            product="granulate",
            residues=("purge",),
            units=("extruder",),
            recipes=(recipe(extruder__melt_temp=Limits(low=215, high=240)),),
            certified=True,
            simulator={},
        ),
    )
    line = Line(id="t1", path=LINE, label=label("T1"), units=(sorter, extruder), steps=steps, simulator={})
    return Plant(
        site="caux",
        label=label("Caux"),
        issuer="Filière Caux",
        timezone="Europe/Paris",
        materials={
            name: Material(id=name, label=label(name), moisture=0.01) for name in ("bale", "sorted", "granulate")
        },
        workshops=(Workshop(id="textile", label=label("Atelier"), lines=(line,)),),
        digest="ab" * 32,
    )


def portion(lot: str, kg: str | int, **fields: object) -> Portion:
    values: dict[str, object] = {
        "lot": lot,
        "material": "bale",
        "mass_kg": Decimal(kg),
        "u_kg": Decimal("0.5"),
        "moisture": Decimal("0.01"),
        "u_moisture": Decimal("0.001"),
        "role": PRODUCT,
    }
    return Portion(**(values | fields))  # type: ignore[arg-type]  # a builder


def received(lot: str, kg: str | int = 500, *, hour: float = 0, **fields: object) -> Received:
    values: dict[str, object] = {
        "event_id": f"received-{lot}",
        "event_time_ns": T0 + round(hour * HOUR_NS),
        "site": "caux",
        "portion": portion(lot, kg),
        "supplier": "Collecte du Havre",
        "origin": {"post_consumer": Decimal(1)},
        "evidence": f"BL-{lot}",
    }
    return Received(**(values | fields))  # type: ignore[arg-type]  # a builder


def run(
    run_id: str,
    inputs: Sequence[Portion],
    outputs: Sequence[Portion],
    *,
    start: float,
    stop: float | None,
    step: str = "extrusion",
    line: str = LINE,
) -> tuple[Event, ...]:
    lot = next(each.lot for each in outputs if each.role == PRODUCT)
    started = RunStarted(
        event_id=f"start-{run_id}",
        event_time_ns=T0 + round(start * HOUR_NS),
        run=run_id,
        line=line,
        step=step,
        recipe="r1",
        lot=lot,
        inputs=tuple(inputs),
    )
    if stop is None:
        return (started,)
    closed = RunClosed(
        event_id=f"close-{run_id}",
        event_time_ns=T0 + round(stop * HOUR_NS),
        run=run_id,
        line=line,
        outputs=tuple(outputs),
    )
    return (started, closed)


def two_step_events(*, purge_kg: str = "30", granulate_kg: str = "760", evidence: str = "BL-B") -> tuple[Event, ...]:
    """Two bales → sorted lot and reject → granulate and purge: closes within its uncertainty by default."""
    return (
        received("A", 500),
        received("B", 500, evidence=evidence),
        *run(
            "R1",
            [portion("A", 500), portion("B", 500)],
            [portion("S1", 800, material="sorted"), portion("X1", 200, material="reject", role=RESIDUE)],
            start=1,
            stop=2,
            step="sorting",
        ),
        *run(
            "R2",
            [portion("S1", "790", material="sorted")],
            [
                portion("G1", granulate_kg, material="granulate"),
                portion("P1", purge_kg, material="purge", role=RESIDUE),
            ],
            start=3,
            stop=4,
        ),
    )


def two_step_chain(**fields: str) -> Chain:
    return fold(two_step_events(**fields))


def series(key: str, times_s: Sequence[float], values: Sequence[float], quality: Sequence[int] | None = None) -> Series:
    return Series(
        key=key,
        time_ns=T0 + (np.asarray(times_s, dtype=np.float64) * NS_PER_S).astype(np.int64),
        value=np.asarray(values, dtype=np.float64),
        quality=np.asarray([0] * len(times_s) if quality is None else quality, dtype=np.uint8),
    )


LEVELS = {"sorter.fibre_ratio": 0.95, "extruder.melt_temp": 228.0, "extruder.current": 40.0}


@dataclass(slots=True)
class MemoryStore:
    """A readings store in memory that makes its own readings: a level with a small ripple, every 60 s, all day."""

    levels: Mapping[str, float] = field(default_factory=lambda: dict(LEVELS))
    until_ns: int = T0 + 24 * HOUR_NS
    missing: frozenset[str] = frozenset()
    down: bool = False
    name: str = "memory"

    def write(self, rows: Sequence[Block], marks: Sequence[RunMark] = ()) -> None:
        raise AssertionError(f"processing never writes readings: {len(rows)} rows, {len(marks)} marks")

    def window(self, line: str, keys: Sequence[str], start_ns: int, stop_ns: int) -> tuple[Series, ...]:
        assert line == LINE
        if self.down:
            raise StoreUnavailable("no answer")
        step_ns = 60 * NS_PER_S
        first = -(-start_ns // step_ns) * step_ns
        time_ns = np.arange(first, min(stop_ns, self.until_ns), step_ns, dtype=np.int64)
        return tuple(self._series(key, time_ns) for key in keys)

    def _series(self, key: str, time_ns: np.ndarray) -> Series:  # type: ignore[type-arg]  # a test double
        if key in self.missing:
            time_ns = time_ns[:0]
        level = self.levels[key]
        ripple = (time_ns // (60 * NS_PER_S) * 37 % 101 - 50) / 50  # no sine: its last bit depends on the machine
        value = level * (1 + 0.001 * ripple)
        return Series(key=key, time_ns=time_ns, value=value, quality=np.zeros(len(time_ns), np.uint8))

    def latest(self, line: str) -> tuple[Latest, ...]:
        assert line == LINE
        return tuple(
            Latest(key=key, time_ns=self.until_ns, value=level, quality="") for key, level in self.levels.items()
        )

    def check(self) -> None:
        return

    def close(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class Folders:
    archive_dir: Path
    certificates_dir: Path


def folders(root: Path) -> Folders:
    return Folders(archive_dir=root / "archive", certificates_dir=root / "certificates")
