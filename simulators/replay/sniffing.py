"""How a recorded file is written, guessed from its bytes: kind, encoding, separator, line of names, decimal sign."""

import codecs
import re
from collections import Counter
from pathlib import Path

from filiere.errors import ScenarioError
from simulators.replay.cells import number
from simulators.replay.dirt import Dirt
from simulators.replay.mapping import Kind, Layout
from simulators.replay.tables import LETTER_LOST, cells_of

HEAD_BYTES = 256 * 1024
LINES_LOOKED = 200
SEPARATORS = (";", "\t", "|", ",")
"""The comma last: it is many files' decimal sign."""
PARQUET_MAGIC = b"PAR1"
NUL_SHARE_MIN = 0.2
"""Of every second byte: so many NULs, and not half as many in between, are UTF-16. Else a disk left a hole."""
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
    cells = [cell.strip() for line in lines[header_line:] for cell in cells_of(line, separator) or ()]
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
        every_second, between = head[first::2], head[1 - first :: 2]
        if every_second.count(0) > max(NUL_SHARE_MIN * len(every_second), 2 * between.count(0)):
            return encoding
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    lost = letters = 0
    with path.open("rb") as file:
        while part := file.read(HEAD_BYTES):
            text = decoder.decode(part)
            lost += text.count(LETTER_LOST)
            letters += len(text) - len(text.encode("ascii", "ignore"))
    # cp1252 is what Windows in Western Europe writes; a few torn bytes make no file one
    return "cp1252" if 2 * lost > letters else "utf-8"


def _separator(lines: list[str]) -> tuple[str, int]:
    """The sign that splits most lines into equally many cells, below names; and the line of the names, from 1."""
    best, found = (0.0, 0), (",", 1)
    for separator in SEPARATORS:
        rows = [cells_of(line, separator) or line.split(separator) for line in lines]
        counts = Counter(len(row) for row, line in zip(rows, lines, strict=True) if line.strip())
        usual, times = counts.most_common(1)[0]
        header = _header([row if len(row) == usual else [] for row in rows])
        score = (times / counts.total(), usual)
        if usual > 1 and header is not None and score > best:
            best, found = score, (separator, header + 1)
    return found


def _header(rows: list[list[str]]) -> int | None:
    """The place of the names: of the rows before the first number, the first in which most cells have something.

    A title above them is filled up with empty cells where a spreadsheet wrote the file.
    """
    found, most = None, 0
    for place, row in enumerate(rows):
        if any(number(cell, ".")[1] in (None, Dirt.OTHER_DECIMAL) for cell in row):
            break
        filled = sum(bool(cell.strip()) for cell in row)
        if filled > most:
            found, most = place, filled
    return found
