"""A simulation in files: a table a device (Parquet, CSV), or all messages, one a line (JSONL), in a whole folder.

The folder is filled under another name and gets its own when the last byte is on the disk: whoever sees it sees all.
"""

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from collector.log.lines import line_of
from filiere.clock import NS_PER_MS
from filiere.errors import SettingsError
from filiere.message_log import Message
from filiere.plant import Line
from simulators.line.messages import Publication
from simulators.output.format import Format
from simulators.output.pieces import Piece
from simulators.output.table import EVENT_TIME, schema_of, table_of

EVENTS_FILE, MESSAGES_FILE, ABOUT_FILE = "events.jsonl", "messages.jsonl", "simulation.json"
FOLDER_MODE = 0o755
CSV_OPTIONS = csv.WriteOptions(include_header=False, quoting_style="none")


@contextmanager
def new_folder(folder: Path, option: str) -> Iterator[Path]:
    """A temporary folder that becomes `folder` when the block ends without an error, and is gone otherwise.

    `option` is how it was asked for, such as `--to`.

    Raises:
        SettingsError: there is something in `folder` already, or it cannot be made or written.
    """
    try:
        folder = folder.resolve()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise SettingsError(f"{option}: got {folder}, which is not empty; expected the name of a new folder")
        if folder.is_mount() or folder == Path.cwd():  # neither can be put in the place of another
            raise SettingsError(f"{option}: got {folder}; expected a new folder in it, such as {folder / 'simulation'}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            yield temporary
            temporary.chmod(FOLDER_MODE)
            _sync(temporary)
            temporary.replace(folder)
            _sync_one(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise SettingsError(
            f"{option}: got {folder} ({error.strerror or error}); expected a new folder, on a disk with room"
        ) from None


def _sync(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        _sync_one(path)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DeviceFiles:
    """A table a device, and the events of all lines in the order of arrival."""

    def __init__(self, folder: Path, lines: Iterable[Line], form: Format) -> None:
        self._stack = ExitStack()
        self._events = self._stack.enter_context((folder / EVENTS_FILE).open("wb"))
        self._waiting: list[Publication] = []
        self._offset = 0
        self._files: dict[tuple[str, str], TableFile] = {}
        opened = ParquetFile if form is Format.PARQUET else CsvFile
        for line in lines:
            for unit in line.units:
                path = folder / device_file(line, unit.id, form)
                file = self._stack.enter_context(closing(opened(path, schema_of(line, unit))))
                self._files[line.path, unit.id] = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Finish all files."""
        with self._stack:
            if kind is None:
                self._write_events(None)

    def take(self, piece: Piece) -> int:
        """Write a piece; they come in the order of their start. Returns how many rows it has."""
        rows = 0
        for stretch in piece.stretches:
            file = self._files[stretch.rows.line, stretch.rows.device]
            table = table_of(stretch, file.schema)
            file.write(table)
            rows += len(table)
        self._write_events(piece.start_ns)
        self._waiting += piece.events
        return rows

    def _write_events(self, before_ns: int | None) -> None:
        """Those after which no earlier one can come."""
        self._waiting.sort(key=attrgetter("time_ns"))
        done = len(self._waiting)
        if before_ns is not None:
            done = bisect_left(self._waiting, before_ns, key=attrgetter("time_ns"))
        for event in self._waiting[:done]:
            self._events.write(message_line(self._offset, event))
            self._offset += 1
        del self._waiting[:done]


def message_line(offset: int, publication: Publication) -> bytes:
    """A message as a line of `filiere log export`; it is recorded when it arrives."""
    message = Message(
        offset=offset,
        topic=publication.topic.encode(),
        payload=publication.payload,
        record_time_ns=publication.time_ns,
    )
    return line_of(message) + b"\n"


def device_file(line: Line, device: str, form: Format) -> str:
    """`caux/textile/t1`, `extruder` → `caux-textile-t1-extruder.parquet`."""
    return f"{line.path.replace('/', '-')}-{device}.{form}"


class TableFile(ABC):
    """A file of one schema that takes tables, one after the other."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema

    @abstractmethod
    def write(self, table: pa.Table) -> None:
        """Put it behind the others."""

    @abstractmethod
    def close(self) -> None:
        """Finish the file."""


class ParquetFile(TableFile):
    """Units and labels stand with the columns."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        super().__init__(schema)
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def write(self, table: pa.Table) -> None:
        """A row group."""
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


class CsvFile(TableFile):
    """Comma, point, one line of names, times as RFC 3339 in UTC; nothing between two commas = not measured."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        super().__init__(schema)
        self._file = path.open("wb")
        self._file.write((",".join(schema.names) + "\n").encode())

    def write(self, table: pa.Table) -> None:
        """Its rows as lines."""
        ms = table[EVENT_TIME].cast(pa.int64()).to_numpy() // NS_PER_MS
        text = np.datetime_as_string(ms.astype("datetime64[ms]"), timezone="UTC")
        csv.write_csv(table.set_column(0, EVENT_TIME, pa.array(text)), self._file, CSV_OPTIONS)

    def close(self) -> None:
        """Nothing is left to write."""
        self._file.close()
