"""Genealogy: which lots and runs lie behind a lot, and which ahead of it, with the quantities that passed."""

import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from filiere.chain import Chain, Lot, Run
from filiere.errors import NotFound
from filiere.events import Portion

Direction = Literal["back", "forward"]
INPUT, OUTPUT = "input", "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A quantity that passed between a lot and a run."""

    run: str
    lot: str
    kind: str
    """INPUT: the run took it from the lot. OUTPUT: the run made it."""
    mass_kg: Decimal
    """Wet, as weighed."""
    role: str
    """PRODUCT or RESIDUE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Everything on one side of a lot, itself included."""

    lot: str
    direction: Direction
    lots: tuple[Lot, ...]
    """In the order in which they came to be."""
    runs: tuple[Run, ...]
    """Each after the runs whose products it takes."""
    edges: tuple[Edge, ...]
    """In the order of the runs; a lot that a run took from twice has two edges."""

    @property
    def received(self) -> tuple[Lot, ...]:
        """The lots that came in from outside."""
        return tuple(lot for lot in self.lots if lot.received is not None)


def trace(chain: Chain, lot_id: str, direction: Direction) -> Trace:
    """Lots and runs behind (`back`) or ahead of (`forward`) a lot; each once, however many ways lead to it.

    Raises:
        NotFound: no such lot.
    """
    if lot_id not in chain.lots:
        raise NotFound(f"no lot {lot_id!r} in the ledger; a lot is there once it was received or its run was closed")
    lots, runs = _behind(chain, lot_id) if direction == "back" else _ahead(chain, lot_id)
    ordered = in_order(runs)
    return Trace(
        lot=lot_id,
        direction=direction,
        lots=tuple(sorted((chain.lots[lot] for lot in lots), key=lambda lot: (lot.created_ns, lot.id))),
        runs=ordered,
        edges=tuple(edge for run in ordered for edge in _edges(run, lots)),
    )


def _behind(chain: Chain, lot_id: str) -> tuple[set[str], list[Run]]:
    lots, runs, pending = {lot_id}, {}, [lot_id]
    while pending:
        run_id = chain.lots[pending.pop()].run
        if run_id is None or run_id in runs:
            continue
        runs[run_id] = chain.runs[run_id]
        found = {portion.lot for portion in chain.runs[run_id].inputs} - lots
        lots |= found
        pending.extend(found)
    return lots, list(runs.values())


def _ahead(chain: Chain, lot_id: str) -> tuple[set[str], list[Run]]:
    lots: set[str] = {lot_id}
    runs: dict[str, Run] = {}
    pending = [lot_id]
    while pending:
        for run in chain.users(pending.pop()):
            if run.id in runs:
                continue
            runs[run.id] = run
            found = {portion.lot for portion in run.outputs} - lots
            lots |= found
            pending.extend(found)
    return lots, list(runs.values())


def _edges(run: Run, lots: set[str]) -> Iterable[Edge]:
    for kind, portions in ((INPUT, run.inputs), (OUTPUT, run.outputs)):
        for portion in portions:
            if portion.lot in lots:
                yield _edge(run, portion, kind)


def _edge(run: Run, portion: Portion, kind: str) -> Edge:
    return Edge(run=run.id, lot=portion.lot, kind=kind, mass_kg=portion.mass_kg, role=portion.role)


def in_order(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Runs so that each stands after those whose outputs it takes, else by start, then id, whatever the order given."""
    by_id = {run.id: run for run in runs}
    maker = {portion.lot: run.id for run in by_id.values() for portion in run.outputs}
    users: dict[str, set[str]] = defaultdict(set)
    missing: dict[str, int] = {}
    for run in by_id.values():
        makers = {maker[portion.lot] for portion in run.inputs if portion.lot in maker}
        missing[run.id] = len(makers)
        for made_by in makers:
            users[made_by].add(run.id)
    ready = [(by_id[run_id].start_ns, run_id) for run_id, count in missing.items() if count == 0]
    heapq.heapify(ready)
    ordered: list[Run] = []
    while ready:
        _, run_id = heapq.heappop(ready)
        ordered.append(by_id[run_id])
        for user in users[run_id]:
            missing[user] -= 1
            if missing[user] == 0:
                heapq.heappush(ready, (by_id[user].start_ns, user))
    return tuple(ordered)
