"""Which column of a recorded file is which signal, and how the file is written: the nouns of a mapping file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from filiere.plant import Signal
from simulators.replay.times import TimeFormat


class Kind(StrEnum):
    """What a recorded file is."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a file is written."""

    kind: Kind
    encoding: str = "utf-8"
    """CSV and JSONL: a name that Python knows; utf-8 takes a BOM too."""
    separator: str = ","
    """CSV: one character."""
    decimal: str = "."
    """`.` or `,`."""
    header_line: int = 1
    """CSV: the line with the names; what stands above says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeColumns:
    """Where the time of a row stands."""

    columns: tuple[str, ...]
    """Several are joined by a blank: a date and a time of day."""
    format: TimeFormat
    zone: str | None
    """IANA name; None = the times have an offset, or none is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LongColumns:
    """A long file has one value a row: which columns have its name, the value, and what the historian thinks of it."""

    name: str
    value: str
    quality: str | None = None
    good: frozenset[str] = frozenset()
    """What stands in `quality` where the value is good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One column (of a long file: one name), and the signal that it is."""

    name: str
    line: str
    """Line path, `caux/textile/t1`."""
    signal: Signal
    unit: str
    """UCUM, of what stands in the file."""
    scale: float = 1.0
    """Value in `unit` = what stands in the file · scale."""
    decimal: str | None = None
    """None = the file's."""
    optional: bool = False
    """The file may be without it."""
    line_number: int = 0
    """Of the mapping file, for errors."""

    @property
    def device_path(self) -> str:
        """`caux/textile/t1/extruder`."""
        return f"{self.line}/{self.signal.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """What is done with rows that cannot be right."""

    leave_out_halved: bool = True
    """The first rows of a file or after a gap, where a historian averaged with zero."""
    leave_out_repeated: bool = True
    """A row of a time that came before, with the same values."""
    sort: bool = True
    """Rows go out in the order of their times; else in that of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMapping:
    """A mapping file, read."""

    layout: Layout
    time: TimeColumns
    long: LongColumns | None
    """None = the file is wide: a column a signal."""
    sources: tuple[Source, ...]
    sentinels: frozenset[float] = frozenset()
    """Numbers that mean that nothing was measured."""
    cleaning: Cleaning = field(default_factory=Cleaning)
    source: str = ""
    """The mapping file's name, for errors."""

    @property
    def by_name(self) -> Mapping[str, Source]:
        """Column → its source."""
        return {source.name: source for source in self.sources}
