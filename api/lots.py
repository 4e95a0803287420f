"""Lots as the API shows them: those that exist and those being made, with their state. Pure."""

from collections.abc import Iterator

from api.models import Batch, BatchState, CertificateState, Text
from api.pagination import Place
from filiere.chain import Chain, Lot, Run
from filiere.clock import to_text
from filiere.errors import NotFound
from filiere.events import PRODUCT
from filiere.plant import Label, Line, Plant, Recipe, Step


def entries(chain: Chain) -> list[tuple[Place, Lot | Run]]:
    """Every lot, and the open run of every lot that is being made, newest first."""
    found: list[tuple[Place, Lot | Run]] = [
        (Place(time_ns=lot.created_ns, id=lot.id), lot) for lot in chain.lots.values()
    ]
    found.extend((Place(time_ns=run.start_ns, id=run.lot), run) for run in _open_runs(chain))
    return sorted(found, key=lambda entry: entry[0], reverse=True)


def _open_runs(chain: Chain) -> Iterator[Run]:
    return (run for run in chain.runs.values() if not run.closed)


def id_of(found: Lot | Run) -> str:
    """Number of the batch."""
    return found.lot if isinstance(found, Run) else found.id


def entry(chain: Chain, lot_id: str) -> Lot | Run:
    """The lot, or the open run that makes it. Raises NotFound."""
    lot = chain.lots.get(lot_id)
    if lot is not None:
        return lot
    for run in _open_runs(chain):
        if run.lot == lot_id:
            return run
    raise NotFound(f"no batch {lot_id[:80]!r} in the ledger; check the number on the bag")


def run_of(chain: Chain, lot_id: str) -> Run:
    """The run that made or makes a lot.

    Raises:
        NotFound: no such lot, or it was received: no run of this plant made it.
    """
    found = entry(chain, lot_id)
    if isinstance(found, Run):
        return found
    if found.run is None:
        raise NotFound(f"batch {lot_id} was received, not made here: it has no run; ask for its trace instead")
    return chain.runs[found.run]


def state_of(chain: Chain, found: Lot | Run) -> BatchState:
    """Where a batch stands."""
    if isinstance(found, Run):
        return BatchState.IN_PROGRESS
    return BatchState.IN_STOCK if chain.stock_kg(found.id) > 0 else BatchState.USED_UP


def material_of(plant: Plant, found: Lot | Run) -> str:
    """Id of the material; of a lot in progress, the product of its step."""
    if isinstance(found, Lot):
        return found.portion.material
    step = step_of(plant, found)
    return step.product if step is not None else ""


def line_of(chain: Chain, found: Lot | Run) -> str | None:
    """Path of the line that made it."""
    if isinstance(found, Run):
        return found.line
    return chain.runs[found.run].line if found.run is not None else None


def batch(plant: Plant, chain: Chain, found: Lot | Run, certificate: CertificateState) -> Batch:
    """As the API shows it."""
    material = material_of(plant, found)
    run = found if isinstance(found, Run) else chain.runs.get(found.run or "")
    portion = None if isinstance(found, Run) else found.portion
    received = None if isinstance(found, Run) else found.received
    return Batch(
        id=id_of(found),
        material=material,
        name=Text.of(material_name(plant, material)),
        role="received" if received else "product" if portion is None or portion.role == PRODUCT else "residue",
        state=state_of(chain, found),
        line=run.line if run else None,
        step=run.step if run else None,
        run=run.id if run else None,
        created=to_text(found.start_ns if isinstance(found, Run) else found.created_ns),
        mass_kg=portion.mass_kg if portion else None,
        u_kg=portion.u_kg if portion else None,
        moisture=portion.moisture if portion else None,
        u_moisture=portion.u_moisture if portion else None,
        stock_kg=None if isinstance(found, Run) else chain.stock_kg(found.id),
        supplier=received.supplier if received else None,
        origin=dict(received.origin) if received else None,
        evidence=received.evidence if received else None,
        certificate=certificate,
    )


def material_name(plant: Plant, material: str) -> Label:
    """The plant model's words; the id where it has none."""
    known = plant.materials.get(material)
    return known.label if known else Label(fr=material, en=material)


def line_model(plant: Plant, path: str) -> Line | None:
    """A line of the plant model; None when an old event names one that is gone."""
    return next((line for line in plant.lines if line.path == path), None)


def step_of(plant: Plant, run: Run) -> Step | None:
    """A run's step in the plant model; None when the model has it no more."""
    line = line_model(plant, run.line)
    return next((step for step in line.steps if step.id == run.step), None) if line else None


def recipe_of(plant: Plant, run: Run) -> Recipe | None:
    """A run's recipe in the plant model; None when the model has it no more."""
    step = step_of(plant, run)
    return next((recipe for recipe in step.recipes if recipe.id == run.recipe), None) if step else None
