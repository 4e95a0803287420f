"""A file that others see whole or not at all, also after a power cut; one that is there already stands."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filiere.errors import SettingsError


class AlreadyThere(Exception):
    """The file was there, or another process made it first; it was left as it is."""


@contextmanager
def whole_file(path: Path, *, mode: int, replace: bool = False) -> Iterator[Path]:
    """An empty temporary file beside `path`, which becomes `path` when the block ends without an error: then it is on
    the disk and has `mode`. Until then its owner alone may read it. The folder is made when it is missing.

    Raises:
        AlreadyThere: `path` is there by then, and `replace` was not asked for.
        OSError: the folder cannot be made or written, the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        yield temporary
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
        if replace:
            temporary.replace(path)
        else:
            _link(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def output_file(path: Path | None, *, mode: int) -> Iterator[BinaryIO]:
    """The new file that somebody asks a command for by --output, whole or not there; None = standard output.

    Raises SettingsError: it is there already, or cannot be written.
    """
    taken = SettingsError(f"--output: got {path}, which is there already; expected the name of a new file")
    if path is not None and path.exists():  # told before the work, not after
        raise taken
    try:
        if path is None:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
            return
        with whole_file(path, mode=mode) as temporary, temporary.open("wb") as file:
            yield file
    except AlreadyThere:
        raise taken from None
    except OSError as error:
        if path is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries again at its end
            if isinstance(error, BrokenPipeError):  # `| head`: what was asked for is there
                return
        got = "standard output" if path is None else path
        raise SettingsError(f"--output: got {got} ({error.strerror}); expected a file that may be written") from None


def _link(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise AlreadyThere(str(path)) from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
