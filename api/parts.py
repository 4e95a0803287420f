"""What the API is built from, passed in once and handed to every operation."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.proof import Prover
from api.shelf import Shelf
from filiere.clock import Clock
from filiere.ledger import Ledger
from filiere.plant import Plant
from filiere.readings_store import ReadingsStore
from filiere.settings import Settings
from processing.quality import Remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Operations run in threads: all of it may be shared."""

    settings: Settings
    plant: Plant
    store: ReadingsStore
    ledger: Ledger
    clock: Clock
    shelf: Shelf
    prover: Prover
    remembered: Remembered

    def outward(self, error: Exception) -> str:
        """An error's words for people who watch, without the path of the data folder."""
        text = str(error)
        for folder in (str(self.settings.data_dir.absolute()), str(self.settings.data_dir)):
            text = text.replace(f"{folder}/", "")
        return text


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsOf = Annotated[Parts, Depends(_parts)]
"""Type of an operation's argument that receives the parts."""
