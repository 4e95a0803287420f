"""A system that was fed with a simulation, as its parts keep what it concluded. Only read, never written."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filiere.chain import Chain
from filiere.errors import NotFound
from filiere.ledger import Ledger
from filiere.plant import Plant
from filiere.plant_file import load_plant
from filiere.readings_store import ReadingsStore, open_store
from filiere.settings import Settings

LEDGER_FILE = "ledger.sqlite"

Note = Callable[[int, int], None]
"""Called with what is done and how much there is, to show the progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A system that was fed with a simulation, as its parts keep it."""

    plant: Plant
    chain: Chain
    store: ReadingsStore
    recorder_path: Path | None = None
    """The recorder's book; None = there is none, and no quarantine or account is looked at."""
    certificates_dir: Path | None = None
    """None = verdicts alone say what is released."""


@contextmanager
def open_system(settings: Settings) -> Iterator[System]:
    """The system of a data folder, or of the servers that the settings name; nothing is made that is not there.

    Raises:
        NotFound: no collector has recorded anything in that folder.
        PlantError, SettingsError, StoreUnavailable, StoreRefused: as its parts do.
    """
    plant = load_plant(settings.plant)
    ledger_there = settings.ledger_url or (settings.data_dir / LEDGER_FILE).is_file()
    if not (ledger_there and settings.recorder_path.is_file()):
        raise NotFound(
            f"{settings.data_dir}: no ledger and no recorder's book in it; expected the data folder of a `filiere"
            " collect` that recorded the simulation: name it with --data"
        )
    with closing(Ledger.open(settings.ledger_database_url)) as ledger, closing(open_store(settings)) as store:
        yield System(
            plant=plant,
            chain=ledger.chain(),
            store=store,
            recorder_path=settings.recorder_path,
            certificates_dir=settings.certificates_dir,
        )
