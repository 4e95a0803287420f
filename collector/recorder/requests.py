"""What people ask of the recorder: to judge messages again. It alone writes the book, so others leave it a file.

A request is a file in the data folder; the recorder takes it up between two chunks and writes the outcome beside it.
Where no recorder runs, who asks takes its place for that long (`submit`).
"""

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from secrets import token_hex

import msgspec
import structlog

from collector.recorder.book import RecordBook
from filiere.errors import FiliereError, SettingsError, StoreUnavailable
from filiere.settings import Settings
from filiere.whole_file import whole_file

FOLDER = "requests"
POLL_S = 0.1
OUTCOME_KEPT_S = 24 * 3600
"""An outcome that nobody came for is deleted after this time."""
_MODE = 0o600
_REQUEST, _OUTCOME = ".request.json", ".outcome.json"

_log = structlog.get_logger(__name__)


class Rewind(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Judge every message from `offset` on again."""

    offset: int
    """The first one; 1 = the oldest that the log keeps."""


class Retry(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Judge messages of the quarantine again: all, or those that fit everything that is given."""

    offsets: tuple[int, ...] | None = None
    reason: str | None = None
    device: str | None = None
    """Empty = messages of no device that the plant has."""


Request = Rewind | Retry


class Outcome(msgspec.Struct, frozen=True):
    """What became of a request, so far or in the end."""

    done: bool
    """Whether it ended; with a `problem`, without success."""
    total: int = 0
    """Messages to be judged again."""
    judged: int = 0
    """How many of them were; a rewind ends before that: `Progress.again` of the book says how many are left."""
    left: int = 0
    """Judged, and still in quarantine."""
    problem: str | None = None
    """Why it cannot be done, or what it waits for."""

    @property
    def moved(self) -> int:
        """Messages that are in quarantine no more."""
        return self.judged - self.left


class RequestFolder:
    """Requests and their outcomes as files, each whole or not there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def place(self, request: Request) -> str:
        """Leave a request. Returns its name. Raises SettingsError: the folder cannot be written."""
        name = f"{time.time_ns():020d}-{token_hex(4)}"
        self._write(self._path / (name + _REQUEST), request)
        return name

    def pending(self) -> Iterator[tuple[str, Request]]:
        """Requests that have not ended, the oldest first. What is none is answered at once."""
        for path in sorted(self._path.glob(f"*{_REQUEST}")):
            if not path.is_file():  # a folder or a pipe is nobody's request
                continue
            name = path.name.removesuffix(_REQUEST)
            try:
                request = msgspec.json.decode(path.read_bytes(), type=Request)
            except FileNotFoundError:
                continue
            except (OSError, ValueError, RecursionError) as error:
                problem = f"{path}: got {error}; expected a request of this program: write it again"
                self.answer(name, Outcome(done=True, problem=problem))
                continue
            yield name, request

    def answer(self, name: str, outcome: Outcome) -> None:
        """Say what became of a request; with one that is done it is gone. Raises StoreUnavailable."""
        try:
            self._write(self._path / (name + _OUTCOME), outcome)
            if outcome.done:
                (self._path / (name + _REQUEST)).unlink(missing_ok=True)
        except (OSError, SettingsError) as error:
            raise StoreUnavailable(f"{self._path}: got {error}; expected a folder that may be written") from None

    def outcome(self, name: str) -> Outcome | None:
        """What the recorder said last; None = nothing yet."""
        try:
            return msgspec.json.decode((self._path / (name + _OUTCOME)).read_bytes(), type=Outcome)
        except (OSError, ValueError, RecursionError):
            return None

    def forget(self, name: str) -> None:
        """Delete the outcome of a request, and outcomes that nobody came for."""
        (self._path / (name + _OUTCOME)).unlink(missing_ok=True)
        for path in self._path.glob(f"*{_OUTCOME}"):
            with suppress(OSError):
                if path.stat().st_mtime < time.time() - OUTCOME_KEPT_S:
                    path.unlink()

    def _write(self, path: Path, what: Request | Outcome) -> None:
        try:
            with whole_file(path, mode=_MODE, replace=True) as file:
                file.write_bytes(msgspec.json.encode(what))
        except OSError as error:
            raise SettingsError(
                f"FILIERE_DATA_DIR: got {path.parent} ({error.strerror}); expected a folder that may be written"
            ) from None


def submit(
    settings: Settings,
    request: Request,
    *,
    note: Callable[[Outcome], None] = lambda _: None,
    stop: threading.Event | None = None,
    wait_s: float | None = None,
) -> Outcome:
    """Have a request done: by the recorder that runs, else here. Returns when it ended.

    Until then `note` is told how far it is, and what the recorder waits for. When `stop` is set or `wait_s` is over
    first, the outcome so far is returned (`done` is False); the request stays, and is done when that can be.

    Raises:
        SettingsError: the data folder cannot be written.
        StoreUnavailable: no recorder has run in it yet.
    """
    RecordBook.open_reader(settings.recorder_path).close()
    stop = stop or threading.Event()
    folder = RequestFolder(settings.data_dir / FOLDER)
    name = folder.place(request)
    give_up = None if wait_s is None else time.monotonic() + wait_s
    told = None
    while True:
        outcome = folder.outcome(name)
        if outcome is not None and outcome.done:
            folder.forget(name)
            return outcome
        with _recorders_place(settings) as free:
            if free:
                _serve(settings, name)
                continue
        now = Outcome(done=False) if outcome is None else outcome
        now = msgspec.structs.replace(now, problem=_problem(settings))
        if now != told:
            note(now)
            told = now
        if stop.wait(POLL_S) or (give_up is not None and time.monotonic() >= give_up):
            return now


def _serve(settings: Settings, name: str) -> None:
    """Do all that was asked for, as the recorder would. When that cannot be, request `name` is answered with the reason
    and gone; those of others stay.
    """
    from collector.patience import Stopped  # noqa: PLC0415 - only where no recorder runs
    from collector.processes import recorder_of  # noqa: PLC0415 - same
    from filiere.plant_file import load_plant  # noqa: PLC0415 - same

    impatient = threading.Event()
    impatient.set()
    folder = RequestFolder(settings.data_dir / FOLDER)
    try:
        with recorder_of(settings, load_plant(settings.plant), stop=impatient) as recorder:
            recorder.answer_requests()
            return
    except Stopped:
        problem = _problem(settings) or "a store does not answer; see `filiere audit`"
    except FiliereError as error:
        problem = str(error)
    if name in dict(folder.pending()):
        folder.answer(name, Outcome(done=True, problem=problem))


@contextmanager
def _recorders_place(settings: Settings) -> Iterator[bool]:
    """Whether no recorder runs; then none starts while the block runs."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context((settings.data_dir / "recorder.lock").open("ab"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _problem(settings: Settings) -> str | None:
    try:
        with RecordBook.open_reader(settings.recorder_path) as book:
            return book.progress().store_problem
    except FiliereError:
        return None
