"""How a recorded file is written, guessed from its bytes: kind, encoding, separator, line of names, decimal sign."""

import codecs
import re
from collections import Counter
from pathlib import Path

from filiere.errors import ScenarioError
from simulators.replay.cells import number
from simulators.replay.mapping import Kind, Layout

HEAD_BYTES = 256 * 1024
LINES_LOOKED = 200
SEPARATORS = (";", "\t", "|", ",")
"""The comma last: it is many files' decimal sign."""
PARQUET_MAGIC = b"PAR1"
NUL_SHARE_MIN = 0.2
"""Of every second byte: so many NULs are UTF-16."""
_DECIMAL_COMMA, _DECIMAL_POINT = re.compile(r"[+-]?[0-9]+,[0-9]+"), re.compile(r"[+-]?[0-9]+\.[0-9]+")


def sniff(path: Path) -> Layout:
    """Raises ScenarioError: no such file, or an empty one."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if not head.strip():
            raise ScenarioError(f"{path}: got an empty file; expected recorded rows")
        if head.startswith(PARQUET_MAGIC):
            return Layout(kind=Kind.PARQUET)
        encoding = _encoding(path, head)
    except OSError as error:
        raise ScenarioError(f"{path}: got {error.strerror or error}; expected a file that may be read") from None
    text = head.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="replace")
    lines = text.splitlines()[:LINES_LOOKED]
    if not any(line.strip() for line in lines):
        raise ScenarioError(f"{path}: got blank lines; expected recorded rows")
    if text.lstrip().startswith("{"):
        return Layout(kind=Kind.JSONL, encoding=encoding)
    separator, header_line = _separator(lines)
    cells = [cell.strip(' "') for line in lines[header_line:] for cell in line.split(separator)]
    commas = sum(bool(_DECIMAL_COMMA.fullmatch(cell)) for cell in cells)
    points = sum(bool(_DECIMAL_POINT.fullmatch(cell)) for cell in cells)
    return Layout(
        kind=Kind.CSV,
        encoding=encoding,
        separator=separator,
        decimal="," if commas > points else ".",
        header_line=header_line,
    )


def _encoding(path: Path, head: bytes) -> str:
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        every_second = head[first::2]
        if every_second.count(0) > NUL_SHARE_MIN * len(every_second):
            return encoding
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while part := file.read(HEAD_BYTES):
                decoder.decode(part)
    except UnicodeDecodeError:
        return "cp1252"  # what Windows in Western Europe writes
    return "utf-8"


def _separator(lines: list[str]) -> tuple[str, int]:
    """The sign that splits most lines into equally many cells, below names; and the line of the names, from 1."""
    best, found = (0.0, 0), (",", 1)
    for separator in SEPARATORS:
        counts = [len(line.split(separator)) for line in lines if line.strip()]
        usual, times = Counter(counts).most_common(1)[0]
        header = next(place for place, line in enumerate(lines) if len(line.split(separator)) == usual)
        if usual < 2 or any(number(cell, ".")[1] is None for cell in lines[header].split(separator)):
            continue
        score = (times / len(counts), usual)
        if score > best:
            best, found = score, (separator, header + 1)
    return found
