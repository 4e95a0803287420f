"""How the receipts process is: what it counts beside what every process of the collector says."""

from dataclasses import asdict, dataclass
from pathlib import Path

from collector import status
from filiere.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptsStatus(status.Status):
    """What the receipts process last said of itself. `problem`: why devices get no answer."""

    position: int
    """Offset of the last message of the log that was looked at."""
    answered: int
    """Receipts that the broker took, over all starts of this process in this data folder."""


def read_receipts_status(path: Path) -> ReceiptsStatus | None:
    """The status in the file; None where no receipts process has run, or the file is damaged."""
    return status.read_status(path, ReceiptsStatus)


class StatusFile(status.StatusFile):
    """The receipts process's side of the file."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        before = read_receipts_status(path)
        self._position = 0 if before is None else before.position
        self._answered = 0 if before is None else before.answered
        super().__init__(path, clock=clock)

    def count(self, *, position: int, answered: int) -> None:
        """Where it stands in the log, and receipts that the broker took since the last call."""
        self._position = position
        self._answered += answered
        self.live()

    def _whole(self, said: status.Status) -> ReceiptsStatus:
        return ReceiptsStatus(**asdict(said), position=self._position, answered=self._answered)
