"""A file that others see whole or not at all, also after a power cut; one that is there already stands."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
