"""How the intake is: what it counts beside what every process of the collector says."""

from dataclasses import asdict, dataclass
from pathlib import Path

from collector import status
from filiere.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeStatus(status.Status):
    """What the intake last said of itself. `problem`: why nothing is acknowledged."""

    log_bytes: int
    """Size of the message log on the disk."""
    acknowledged: int
    """Messages acknowledged to the broker, over all starts of the intake in this data folder."""


def read_intake_status(path: Path) -> IntakeStatus | None:
    """The status in the file; None where no intake has run, or the file is damaged."""
    return status.read_status(path, IntakeStatus)


class StatusFile(status.StatusFile):
    """The intake's side of the file."""

    def __init__(self, path: Path, *, log_path: Path, clock: Clock) -> None:
        self._log_files = (log_path, log_path.with_name(f"{log_path.name}-wal"))
        before = read_intake_status(path)
        self._acknowledged = 0 if before is None else before.acknowledged
        super().__init__(path, clock=clock)

    def count(self, acknowledged: int) -> None:
        """Add acknowledged messages; the file follows twice a second."""
        self._acknowledged += acknowledged
        self.live()

    def _whole(self, said: status.Status) -> IntakeStatus:
        log_bytes = sum(_bytes_of(path) for path in self._log_files)
        return IntakeStatus(**asdict(said), log_bytes=log_bytes, acknowledged=self._acknowledged)


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
