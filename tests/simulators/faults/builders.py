"""Faults, stretches of readings and true events with sane defaults."""

import math
from decimal import Decimal
from typing import TypeVar

import numpy as np

from filiere.clock import NS_PER_S
from filiere.events import PRODUCT, RESIDUE, Event, Portion, Received, RunClosed, RunStarted
from simulators.faults.fault import Active, Fault, Onset, Stretch, Window
from simulators.line.physics import Array
from simulators.line.randomness import generator
from tests.simulators.builders import FLAX, START_NS, TEXTILE, caux

__all__ = ["FLAX", "START_NS", "TEXTILE", "caux"]
F = TypeVar("F", bound=Fault)
HOUR_NS = 3600 * NS_PER_S
ALWAYS = Window(0, 2**62)


def fault(kind: type[F], **changed: object) -> F:
    """One that begins at once and lasts, of usual severity, on the textile line."""
    usual = {
        "label": kind.kind.replace("_", "-"),
        "line": TEXTILE,
        "onset": Onset(after_s=0.0),
        "duration_s": kind.usual_duration_s,
        "severity": math.nan if kind.scale is None else kind.scale.usual,
    }
    return kind(**(usual | changed))


def active(of: Fault, *, start_ns: int = 0, stop_ns: int = ALWAYS.stop_ns) -> Active:
    return Active(fault=of, window=Window(start_ns, stop_ns))


def stretch(values: Array, *, key: str = "extruder.melt_temp", period_s: float = 2.0, first_s: float = 0.0) -> Stretch:
    return Stretch(
        values=np.asarray(values, dtype=float),
        since_s=first_s + period_s * np.arange(len(values)),
        signal=caux().line(TEXTILE).signal(key),
        chance=generator("a stretch"),
    )


def portion(lot: str, mass_kg: str, *, material: str = "textile_bale", role: str = PRODUCT) -> Portion:
    return Portion(
        lot=lot,
        material=material,
        mass_kg=Decimal(mass_kg),
        u_kg=Decimal("0.3"),
        moisture=Decimal("0.01"),
        u_moisture=Decimal("0.001"),
        role=role,
    )


def received(lot: str, mass_kg: str, *, minute: int = 0, evidence: str = "BSD-1") -> Received:
    return Received(
        event_id=f"urn:receive:{lot}",
        event_time_ns=START_NS + minute * 60 * NS_PER_S,
        site="caux",
        portion=portion(lot, mass_kg),
        supplier="Collecte",
        origin={"post_consumer": Decimal("0.8"), "pre_consumer": Decimal("0.2")},
        evidence=evidence,
    )


def started(*inputs: Portion, run: str = "R", lot: str = "T", minute: int = 10) -> RunStarted:
    return RunStarted(
        event_id=f"urn:start:{run}",
        event_time_ns=START_NS + minute * 60 * NS_PER_S,
        run=run,
        line=TEXTILE,
        step="sorting",
        recipe="tri-pp",
        lot=lot,
        inputs=inputs,
    )


def closed(product_kg: str, residue_kg: str, *, run: str = "R", lot: str = "T", minute: int = 60) -> RunClosed:
    return RunClosed(
        event_id=f"urn:close:{run}",
        event_time_ns=START_NS + minute * 60 * NS_PER_S,
        run=run,
        line=TEXTILE,
        outputs=(
            portion(lot, product_kg, material="sorted_textile"),
            portion(f"{lot}-X1", residue_kg, material="sorting_reject", role=RESIDUE),
        ),
    )


def morning() -> tuple[Event, ...]:
    """Two bales, sorted, and the sorted lot used whole: the true events, and the ledger admits them."""
    return (
        received("B1", "300.0", minute=0),
        received("B2", "320.0", minute=1, evidence=""),
        started(portion("B1", "300.0"), portion("B2", "320.0"), minute=10),
        closed("550.0", "70.0", minute=60),
        started(portion("T", "550.0", material="sorted_textile"), run="R2", lot="G", minute=90),
        closed("540.0", "10.0", run="R2", lot="G", minute=180),
    )
