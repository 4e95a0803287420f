"""`filiere replay inspect`: what a recorded file looks like, and the mapping file that it most likely needs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filiere.errors import ScenarioError
from filiere.plant import Plant
from simulators.replay.cells import Cell
from simulators.replay.dirt import Findings
from simulators.replay.guessing import (
    SignalGuess,
    TimeGuess,
    by_name,
    guess_long,
    guess_signals,
    guess_time,
    sentinels,
)
from simulators.replay.mapping import Kind, Layout, LongColumns
from simulators.replay.mapping_file import parse_mapping
from simulators.replay.sniffing import sniff
from simulators.replay.table_recording import TableRecording
from simulators.replay.tables import TableFile
from simulators.replay.times import Moments

SHOWN_MAX = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was seen."""

    layout: Layout
    time: TimeGuess
    long: LongColumns | None
    signals: tuple[SignalGuess, ...]
    yaml: str
    """The mapping file that is proposed."""
    recording: TableRecording | None
    """The file read with it; None = it is not complete."""
    problem: str
    """Why it is not."""


def inspect(paths: Sequence[Path], plant: Plant, *, zone: str | None = None, line: str | None = None) -> Inspection:
    """Look at the first of some files of one layout; with the mapping that it seems to need, read them all.

    Raises:
        ScenarioError: the file cannot be read, or nothing in it can be a time.
        NotFound: the plant has no such line.
    """
    if line is not None:
        plant.line(line)
    layout = sniff(paths[0])
    columns = _columns(paths[0], layout)
    time = guess_time(columns)
    if time is None:
        listed = ", ".join(map(repr, list(columns)[:20]))
        raise ScenarioError(
            f"{paths[0]}: got no column that can be a time; expected one among {listed}: is line {layout.header_line}"
            " that of the names?"
        )
    long = guess_long(columns, time, layout.decimal)
    series = _series(columns, time, long)
    signals = tuple(guess_signals(series, plant, layout.decimal, line))
    text = "\n".join(
        _yaml(
            paths[0],
            layout,
            time,
            long,
            signals,
            zone=zone or plant.timezone,
            seen_sentinels=sentinels(signals, series, layout.decimal),
        )
    )
    recording, problem = None, ""
    try:
        recording = TableRecording(paths, parse_mapping(text.encode(), "the proposed mapping", plant))
    except ScenarioError as error:
        problem = str(error)
    return Inspection(
        layout=layout, time=time, long=long, signals=signals, yaml=f"{text}\n", recording=recording, problem=problem
    )


def _columns(path: Path, layout: Layout) -> Mapping[str, Sequence[Cell] | Moments]:
    """The first rows of a file."""
    file = TableFile(path=path, layout=layout, findings=Findings())
    names = file.names()
    for chunk in file.chunks(names):
        return chunk.columns
    raise ScenarioError(f"{path}: got no row below the names; expected recorded rows")


def _series(
    columns: Mapping[str, Sequence[Cell] | Moments], time: TimeGuess, long: LongColumns | None
) -> Mapping[str, Sequence[Cell] | Moments]:
    """What can be signals: columns, or the names in a long file."""
    if long is not None:
        return by_name(columns, long)
    return {name: cells for name, cells in columns.items() if name not in time.columns}


def _yaml(
    path: Path,
    layout: Layout,
    time: TimeGuess,
    long: LongColumns | None,
    signals: Sequence[SignalGuess],
    *,
    zone: str,
    seen_sentinels: Sequence[float],
) -> Iterator[str]:
    """The lines of a mapping file; what a person must look at stands behind a #."""
    yield f"# {_comment(path.name)}"
    yield "replay: 1"
    fields = [f"kind: {layout.kind}"]
    if layout.kind is not Kind.PARQUET:
        fields.append(f"encoding: {layout.encoding}")
    if layout.kind is Kind.CSV:
        fields += [f"separator: {_quoted(layout.separator)}", f"header_line: {layout.header_line}"]
    fields.append(f"decimal: {_quoted(layout.decimal)}")
    yield f"file: {{{', '.join(fields)}}}"
    names = ", ".join(map(_quoted, time.columns))
    zoned = f", zone: {zone}" if time.local else ""
    remarks = ["local time: zone?"] * time.local + ["day or month first?"] * time.day_unsure
    yield f"time: {{columns: [{names}], format: {time.format}{zoned}}}{_remark(remarks)}"
    if long is not None:
        fields = [f"name: {_quoted(long.name)}", f"value: {_quoted(long.value)}"]
        if long.quality is not None:
            fields += [f"quality: {_quoted(long.quality)}", f"good: [{', '.join(map(_quoted, sorted(long.good)))}]"]
        yield f"long: {{{', '.join(fields)}}}{_remark(['good?'] * (long.quality is not None))}"
    if seen_sentinels:
        yield f"sentinels: [{', '.join(f'{value:g}' for value in seen_sentinels)}]"
    yield "columns:"
    recognised = any(guess.signal for guess in signals)
    for guess in signals:
        yield f"  {_column(guess, recognised=recognised)}"


def _column(guess: SignalGuess, *, recognised: bool) -> str:
    seen = f"{guess.low:g} … {guess.high:g}" if guess.count else f"text such as {_comment(repr(guess.text))}"
    if guess.signal is None:
        hidden = "# " if recognised or not guess.count else ""
        return f'{hidden}{_quoted(guess.name)}: {{signal: "?", unit: "?"}}{_remark([seen])}'
    remarks = [seen] + ["unit?"] * (not guess.unit_said) + [f"or {guess.also}?"] * bool(guess.also)
    fields = f"signal: {guess.line}/{guess.signal.key}, unit: {_quoted(guess.unit)}"
    return f"{_quoted(guess.name)}: {{{fields}}}{_remark(remarks)}"


def _remark(remarks: Sequence[str]) -> str:
    return f"  # {'; '.join(remarks)}" if remarks else ""


def _comment(text: str) -> str:
    """A text of somebody else's in a comment: one line."""
    shown = text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in shown)


def _quoted(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else f"\\U{ord(sign):08X}" for sign in quoted)
