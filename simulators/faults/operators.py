"""Faults of people: what is told of a lot is not what is true. The material goes its way all the same.

Three are mistakes (two labels exchanged, one weighing counted twice, an entry made late), three are fraud (a weight
padded, an origin invented, one document for many deliveries).
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import combinations

from filiere.clock import NS_PER_S
from filiere.events import PRODUCT, RESIDUE, Event, Portion, Received, RunClosed, RunStarted
from filiere.plant import Label
from simulators.faults.fault import Active, Fault, Layer, Severity, Target
from simulators.faults.sensors import ScaleTareDrift

BATCH_WEIGHT = "batch_weight"
"""The signal of the scale on which a run's product is weighed."""
STEP_KG = Decimal("0.2")
"""What is written down is a multiple of the display's step."""
LATE_S_MAX = 86_400.0
POST_CONSUMER = "post_consumer"
EVIDENCE = "BSD"
"""How the reference of a waste tracking document begins."""


class OperatorFault(Fault, ABC):
    """What an operator tells is not what is true."""

    layer = Layer.OPERATOR
    aims_at = Target.LINE
    from_setup = True

    @abstractmethod
    def tell(self, event: Event) -> Event:
        """What is told in place of an event of the window, the onset itself not in it; never at an earlier time."""


class LabelSwap(OperatorFault):
    """The labels of two lots that go into a run are exchanged: each is booked with the other's weight."""

    kind = "label_swap"
    words = Label(fr="Étiquettes échangées", en="Labels swapped")
    excludes = "label"

    def tell(self, event: Event) -> Event:
        """A start with two lots: of one material where there are such, for those are the ones that people confuse."""
        if not isinstance(event, RunStarted):
            return event
        pairs = [(one, other) for one, other in combinations(event.inputs, 2) if one.lot != other.lot]
        if not pairs:
            return event
        one, other = next((pair for pair in pairs if pair[0].material == pair[1].material), pairs[0])
        labels = {one.lot: other, other.lot: one}
        return replace(event, inputs=tuple(_labelled(portion, labels) for portion in event.inputs))


def _labelled(portion: Portion, labels: Mapping[str, Portion]) -> Portion:
    label = labels.get(portion.lot, portion)
    return replace(portion, lot=label.lot, material=label.material)


class DoubleWeighing(OperatorFault):
    """A part of a product goes over the scale twice, and is counted twice."""

    kind = "double_weighing"
    words = Label(fr="Double pesée", en="Weighed twice")
    scale = Severity(label=Label(fr="part pesée deux fois", en="share weighed twice"), unit="1", usual=0.05, high=1.0)
    excludes = "weight"

    def tell(self, event: Event) -> Event:
        """Product · (1 + severity)."""
        if not isinstance(event, RunClosed):
            return event
        product = _product(event)
        return _with_product(event, product.mass_kg + _weighed(product.mass_kg * Decimal(repr(self.severity))))


class LateEntry(OperatorFault):
    """What happened is entered later, and the terminal writes down the time of the entry."""

    kind = "late_entry"
    words = Label(fr="Saisie tardive", en="Entered late")
    scale = Severity(label=Label(fr="retard", en="delay"), unit="s", usual=1200.0, high=LATE_S_MAX)
    excludes = "entry"

    def tell(self, event: Event) -> Event:
        """Time + severity."""
        return replace(event, event_time_ns=event.event_time_ns + round(self.severity * NS_PER_S))


class PaddedWeight(OperatorFault):
    """More product is written down than was weighed, and as much less residue: the balance closes."""

    kind = "padded_weight"
    words = Label(fr="Poids gonflé", en="Weight padded")
    scale = Severity(label=Label(fr="part ajoutée", en="share added"), unit="1", usual=0.02, high=1.0)
    excludes = "weight"

    def tell(self, event: Event) -> Event:
        """Product · (1 + severity); the residues give what they have, but for one step of the scale each."""
        if not isinstance(event, RunClosed):
            return event
        product = _product(event)
        added_kg = _weighed(product.mass_kg * Decimal(repr(self.severity)))
        hidden_kg, outputs = added_kg, []
        for portion in _with_product(event, product.mass_kg + added_kg).outputs:
            taken_kg = Decimal(0)
            if portion.role == RESIDUE:
                taken_kg = min(hidden_kg, max(portion.mass_kg - STEP_KG, Decimal(0)))
            hidden_kg -= taken_kg
            outputs.append(replace(portion, mass_kg=portion.mass_kg - taken_kg))
        return replace(event, outputs=tuple(outputs))


class FalseOrigin(OperatorFault):
    """Whatever comes in is declared as used by households, with a document where there was none."""

    kind = "false_origin"
    words = Label(fr="Origine falsifiée", en="Origin falsified")
    excludes = "origin"

    def tell(self, event: Event) -> Event:
        """A delivery: all of it post-consumer."""
        if not isinstance(event, Received):
            return event
        evidence = event.evidence or f"{EVIDENCE}-{event.portion.lot}"
        return replace(event, origin={POST_CONSUMER: Decimal(1)}, evidence=evidence)


class ReusedDocument(OperatorFault):
    """One document proves the origin of every delivery."""

    kind = "reused_document"
    words = Label(fr="Document réutilisé", en="Document used again")
    excludes = "document"

    def tell(self, event: Event) -> Event:
        """A delivery: its evidence is the same as that of all others."""
        if not isinstance(event, Received):
            return event
        return replace(event, evidence=self.reference)

    @property
    def reference(self) -> str:
        """Of the one document, `BSD-` and a number."""
        number = int(hashlib.sha256(self.label.encode()).hexdigest()[:12], 16) % 1_000_000
        return f"{EVIDENCE}-{number:06d}"


def told(events: Sequence[Event], active: Sequence[Active], scales: Mapping[str, str]) -> tuple[Event, ...]:
    """What people tell in place of `events`, which say what is true, in the order in which they tell it.

    `scales`: run → the device on whose `batch_weight` its product is weighed: a scale whose tare drifts is believed. A
    lot that is used whole later among these events is booked as it was written down.
    """
    said = [_told(event, active, scales) for event in events]
    written = {
        _product(event).lot: (_product(event).mass_kg, _product(other).mass_kg)
        for event, other in zip(events, said, strict=True)
        if isinstance(event, RunClosed) and isinstance(other, RunClosed)
    }
    said = [_as_written(event, written) for event in said]
    return tuple(sorted(said, key=lambda event: event.event_time_ns))


def _told(event: Event, active: Sequence[Active], scales: Mapping[str, str]) -> Event:
    true_ns = event.event_time_ns
    for each in active:
        fault, window = each.fault, each.window
        # a run is closed at the instant at which the next step's setup begins: what happens at the onset came before
        if not window.start_ns < true_ns < window.stop_ns:
            continue
        if isinstance(fault, OperatorFault):
            event = fault.tell(event)
        elif isinstance(fault, ScaleTareDrift) and isinstance(event, RunClosed):
            event = _believed(fault, event, scales.get(event.run, ""), (true_ns - window.start_ns) / NS_PER_S)
    return event


def _believed(drift: ScaleTareDrift, event: RunClosed, scale: str, since_s: float) -> RunClosed:
    """A closing with what the drifting scale showed; as it was where the product is weighed elsewhere, or nowhere."""
    if not scale or not drift.touches(scale, BATCH_WEIGHT):
        return event
    offset_kg = _weighed(Decimal(repr(drift.offset_kg(since_s))))
    return _with_product(event, max(STEP_KG, _product(event).mass_kg + offset_kg))


def _as_written(event: Event, written: Mapping[str, tuple[Decimal, Decimal]]) -> Event:
    """`written`: lot → what it truly weighed, and what was written down."""
    if not isinstance(event, RunStarted):
        return event
    inputs = (
        replace(portion, mass_kg=written[portion.lot][1])
        if portion.lot in written and portion.mass_kg == written[portion.lot][0]
        else portion
        for portion in event.inputs
    )
    return replace(event, inputs=tuple(inputs))


def _product(event: RunClosed) -> Portion:
    return next(portion for portion in event.outputs if portion.role == PRODUCT)


def _with_product(event: RunClosed, mass_kg: Decimal) -> RunClosed:
    """The same closing with another mass of its product."""
    product = _product(event)
    return replace(
        event,
        outputs=tuple(
            replace(portion, mass_kg=mass_kg) if portion is product else portion for portion in event.outputs
        ),
    )


def _weighed(mass_kg: Decimal) -> Decimal:
    """As the display shows it."""
    return (mass_kg / STEP_KG).to_integral_value() * STEP_KG
