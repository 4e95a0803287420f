"""Which column is the time, which are signals: guessed from names, units and values. Pure.

A guess is a proposal: a person completes it, and no file is replayed on a guess alone.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from filiere.plant import Line, Plant, Signal
from filiere.units import converter
from simulators.replay.cells import Absent, Cell, number, word
from simulators.replay.mapping import LongColumns
from simulators.replay.times import DATE, Moments, TimeFormat

SHARE_MIN = 0.9
"""Of the cells that are not empty: so many must be what the column is taken for."""
FAVOURITE_BONUS = 0.3
"""For signals of the line that the other columns are of."""
SCORE_MIN = 1.0
"""A name that says less of a signal is left to a person."""
VALUES_JUDGED = 200
"""Of a column, that are held against ranges."""
NAMES_MAX = 2000
"""Different names of a long file."""
KNOWN_SENTINELS = (-175.0, 65532.0, 65533.0, 65534.0, 65535.0, 32767.0, -32768.0, -9999.0, 9999.0, -999.0, -999.25)
_STAMP = re.compile(rf"\s*{DATE}(?P<rest>.*)", re.DOTALL)
_CLOCK = re.compile(r"\s*[0-9]{1,2}[:hH][0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?\s*(?:[AaPp]\.?[Mm]\.?)?\s*")
_OFFSET = re.compile(r"(?:[Zz]|UTC|GMT|[0-9]\s*[+-][0-9]{2}(?::?[0-9]{2})?)\s*$")
_UNIT = re.compile(r"[(\[]\s*([^()\[\]]{1,12}?)\s*[)\]]\s*$")
_UNITS = {
    "°c": "Cel", "c": "Cel", "degc": "Cel", "ºc": "Cel", "°f": "[degF]", "f": "[degF]", "degf": "[degF]", "k": "K",
    "bar": "bar", "mbar": "mbar", "psi": "[psi]", "pa": "Pa", "kpa": "kPa", "mpa": "MPa",
    "kg": "kg", "g": "g", "t": "t", "lb": "[lb_av]", "kg/h": "kg/h", "kg/min": "kg/min", "g/s": "g/s", "t/h": "t/h",
    "rpm": "/min", "1/min": "/min", "/min": "/min", "min-1": "/min", "tr/min": "/min", "u/min": "/min",
    "a": "A", "ma": "mA", "v": "V", "hz": "Hz", "w": "W", "kw": "kW", "kwh": "kW.h", "wh": "W.h",
    "%": "%", "ppm": "[ppm]", "-": "1", "1": "1", "l/min": "L/min", "mm": "mm", "s": "s", "h": "h",
}  # fmt: skip
"""How units are written in the names of columns → UCUM."""
_SAME = {
    "temperature": "temp", "temperatur": "temp", "tmp": "temp", "pression": "pressure", "press": "pressure",
    "druck": "pressure", "vitesse": "speed", "drehzahl": "speed", "courant": "current", "intensite": "current",
    "fourreau": "barrel", "cylinder": "barrel", "cylindre": "barrel", "matiere": "melt", "masse": "melt",
    "fondu": "melt", "vis": "screw", "schnecke": "screw", "moteur": "motor", "debit": "throughput",
    "flow": "throughput", "durchsatz": "throughput", "poids": "weight", "humidite": "moisture",
    "humidity": "moisture", "charge": "load", "energie": "energy", "zone": "z", "eau": "water", "filtre": "screen",
    "avant": "before", "apres": "after", "extrudeuse": "extruder", "secheur": "dryer", "broyeur": "shredder",
    "doseurs": "feeders", "lin": "flax",
}  # fmt: skip
_TIME_NAMES = {"time", "timestamp", "date", "datetime", "horodatage", "heure", "zeit", "ts", "t"}
_TAG_NAMES = {
    "tag",
    "tagname",
    "name",
    "nom",
    "signal",
    "point",
    "variable",
    "item",
    "sensor",
    "capteur",
    "mesure",
    "id",
}
_VALUE_NAMES = {"value", "valeur", "val", "wert"}
_QUALITY_NAMES = {"quality", "qualite", "status", "statut", "etat", "q", "opc"}
EXCEL_LOW, EXCEL_HIGH = 36_526.0, 73_051.0
"""Days of a spreadsheet from 2000 to 2099."""
_UNIX = (
    (TimeFormat.UNIX_S, 1e9), (TimeFormat.UNIX_MS, 1e12), (TimeFormat.UNIX_US, 1e15), (TimeFormat.UNIX_NS, 1e18)
)  # fmt: skip

Columns = Mapping[str, Sequence[Cell] | Moments]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeGuess:
    """Where the time stands."""

    columns: tuple[str, ...]
    format: TimeFormat
    local: bool
    """It needs a zone."""
    day_unsure: bool = False
    """Day and month may be the other way round: neither is ever above 12."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalGuess:
    """One column, or one name of a long file."""

    name: str
    count: int
    """Numbers seen."""
    low: float
    high: float
    line: str = ""
    """Line path; empty = it says too little."""
    signal: Signal | None = None
    unit: str = ""
    unit_said: bool = False
    """The name of the column says it."""
    also: str = ""
    """Another signal that it could be as well."""
    text: str = ""
    """What stands there in place of numbers."""


def guess_time(columns: Columns) -> TimeGuess | None:
    """The column that is most surely the time; None = there is none."""
    named = sorted(columns, key=lambda name: not (_TIME_NAMES & set(_words(name))))  # stable: else the first
    for name in named:
        cells = columns[name]
        if isinstance(cells, Moments):
            return TimeGuess(columns=(name,), format=TimeFormat.TIMESTAMP, local=cells.local)
        guess = _stamp_guess(name, cells, columns) or _counted_guess(name, cells)
        if guess is not None:
            return guess
    return None


def _stamp_guess(name: str, cells: Sequence[Cell], columns: Columns) -> TimeGuess | None:
    texts = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    found = [match for match in map(_STAMP.fullmatch, texts) if match]
    if not found or len(found) < SHARE_MIN * len(texts):
        return None
    first = max(int(match["a"]) for match in found)
    named = any(match["name"] for match in found)
    second = max(int(match["b"] or 0) for match in found)
    year_first = first > 31
    time_format = TimeFormat.YEAR_FIRST if year_first else TimeFormat.DAY_FIRST
    if not year_first and second > 12:
        time_format = TimeFormat.MONTH_FIRST
    names: tuple[str, ...] = (name,)
    rests = [match["rest"] for match in found]
    if not any(rest.strip() for rest in rests):
        clock = next((each for each, other in columns.items() if each != name and _is_clock(other)), None)
        if clock is not None:
            names = (name, clock)
            rests = [str(cell) for cell in columns[clock]]  # type: ignore[union-attr]  # it is no Moments
    local = not all(_OFFSET.search(rest) for rest in rests if rest.strip())
    return TimeGuess(
        columns=names,
        format=time_format,
        local=local,
        day_unsure=not (year_first or named) and max(first, second) <= 12,
    )


def _is_clock(cells: Sequence[Cell] | Moments) -> bool:
    if isinstance(cells, Moments):
        return False
    texts = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    return bool(texts) and sum(bool(_CLOCK.fullmatch(text)) for text in texts) >= SHARE_MIN * len(texts)


def _counted_guess(name: str, cells: Sequence[Cell]) -> TimeGuess | None:
    """Large numbers that nearly always grow; days of a spreadsheet only where the name says that it is a time."""
    values = _numbers(cells, ".")
    if len(values) < 2 or len(values) < SHARE_MIN * len(cells):
        return None
    middle, falls = median(values), sum(later < value for value, later in pairwise(values))
    if falls > (1.0 - SHARE_MIN) * len(values):
        return None
    for time_format, unit in _UNIX:
        if unit <= middle < 4 * unit:  # from 2001 to 2096
            return TimeGuess(columns=(name,), format=time_format, local=False)
    if _TIME_NAMES & set(_words(name)) and EXCEL_LOW <= middle < EXCEL_HIGH:
        return TimeGuess(columns=(name,), format=TimeFormat.EXCEL_DAYS, local=True)
    return None


def guess_long(columns: Columns, time: TimeGuess, decimal: str) -> LongColumns | None:
    """The columns of a long file; None = the file is wide."""
    rest = {
        name: cells
        for name, cells in columns.items()
        if name not in time.columns and not isinstance(cells, Moments) and any(cell not in (None, "") for cell in cells)
    }
    numeric = [name for name, cells in rest.items() if len(_numbers(cells, decimal)) >= SHARE_MIN * _filled(cells) / 2]
    texts = [name for name, cells in rest.items() if name not in numeric and _repeats(cells)]
    tag = next((name for name in texts if _TAG_NAMES & set(_words(name))), None)
    quality = next((name for name in rest if _QUALITY_NAMES & set(_words(name))), None)
    value = next((name for name in numeric if _VALUE_NAMES & set(_words(name))), None)
    numbers_left = [name for name in numeric if name != quality]
    if value is None and len(numbers_left) == 1:
        value = numbers_left[0]
    if tag is None or value is None or len(numbers_left) > 2:
        return None
    if quality is None:
        return LongColumns(name=tag, value=value)
    ((good, _),) = Counter(word(cell) for cell in rest[quality]).most_common(1)
    if not good:
        return LongColumns(name=tag, value=value)
    return LongColumns(name=tag, value=value, quality=quality, good=frozenset((good,)))


def _filled(cells: Sequence[Cell]) -> int:
    return sum(cell not in (None, "") for cell in cells)


def _repeats(cells: Sequence[Cell]) -> bool:
    texts = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    return bool(texts) and len(set(texts)) <= min(NAMES_MAX, max(1, len(texts) // 2))


def by_name(columns: Columns, long: LongColumns) -> dict[str, list[Cell]]:
    """A long file's values, by their names."""
    found: dict[str, list[Cell]] = {}
    names, values = columns[long.name], columns[long.value]
    assert not isinstance(names, Moments)
    assert not isinstance(values, Moments)
    for name, value in zip(names, values, strict=True):
        found.setdefault(word(name), []).append(value)
    return found


@dataclass(frozen=True, slots=True)
class _Score:
    """How much a column says of a signal."""

    value: float
    name: str
    line: str
    signal: Signal
    unit: str
    """UCUM, as the name of the column says it; empty = it does not."""

    @property
    def key(self) -> str:
        """The signal, in the whole plant."""
        return f"{self.line}/{self.signal.key}"


def guess_signals(
    series: Mapping[str, Sequence[Cell] | Moments], plant: Plant, decimal: str, line: str | None
) -> list[SignalGuess]:
    """For each column, the signal that its name, unit and values say most of; each signal once.

    `line`: only signals of this one.
    """
    lines = [each for each in plant.lines if line in (None, each.path)]
    scores: list[_Score] = []
    guesses: dict[str, SignalGuess] = {}
    for name, cells in series.items():
        plain = [] if isinstance(cells, Moments) else cells
        values = _numbers(plain, decimal)
        text = next((str(cell) for cell in plain if isinstance(cell, str) and number(cell, decimal)[1] is not None), "")
        guesses[name] = SignalGuess(
            name=name, count=len(values), low=min(values, default=0.0), high=max(values, default=0.0), text=text
        )
        if values:
            scores += _scores(name, values, lines)
    favourite = _favourite(scores)
    # stable: of two equal ones, the first of the plant
    scores.sort(key=lambda score: -score.value - FAVOURITE_BONUS * (score.line == favourite))
    taken: set[str] = set()
    meant: dict[str, str] = {}
    for best in scores:
        # where a signal is taken, the next best of the line may do: never the same one of another line
        if best.line != meant.setdefault(best.name, best.line):
            continue
        if guesses[best.name].signal is None and best.key not in taken:
            taken.add(best.key)
            others = [score for score in scores if score.name == best.name and score.key != best.key]
            guesses[best.name] = replace(
                guesses[best.name],
                line=best.line,
                signal=best.signal,
                unit=best.unit or best.signal.unit,
                unit_said=bool(best.unit),
                also=next((score.key for score in others if score.value == best.value), ""),
            )
    return list(guesses.values())


def _favourite(scores: Sequence[_Score]) -> str:
    """Path of the line that the names of the columns say most of, all together."""
    best: dict[str, dict[str, float]] = {}
    for score in scores:
        of_line = best.setdefault(score.line, {})
        of_line[score.name] = max(score.value, of_line.get(score.name, 0.0))
    return max(best, key=lambda path: sum(best[path].values()), default="")


def _scores(name: str, values: Sequence[float], lines: Sequence[Line]) -> list[_Score]:
    """How much a column's name and values say of each signal; signals of which they say too little are left out."""
    found = _UNIT.search(name)
    unit = _UNITS.get(found[1].lower(), "") if found else ""
    words = _words(name[: found.start()] if found and unit else name)
    some = values[:VALUES_JUDGED]
    scores = []
    for line in lines:
        for signal in line.signals:
            if unit and not _converts(unit, signal.unit):
                continue
            own = set(_words(signal.id)) | set(_words(signal.label.fr)) | set(_words(signal.label.en))
            value = sum(1.0 if word in own else -0.3 for word in words)
            zones, own_zones = set(filter(_is_zone, words)), set(filter(_is_zone, own))
            value -= 2.0 * (zones != own_zones)
            value += 0.5 * (signal.device in words) + 0.5 * (line.id in words) + 0.4 * bool(unit)
            convert = converter(unit or signal.unit, signal.unit)
            value -= 0.4 * sum(not signal.range_low <= convert(each) <= signal.range_high for each in some) / len(some)
            value -= 0.02 * len(own)  # of two that are said as much, the shorter
            if value >= SCORE_MIN or (words and set(words) == set(_words(signal.id))):
                scores.append(_Score(value, name, line.path, signal, unit))
    return scores


def _converts(unit: str, to: str) -> bool:
    try:
        converter(unit, to)
    except ValueError:
        return False
    return True


def _is_zone(word: str) -> bool:
    return len(word) > 1 and word[0] == "z" and word[1:].isdigit()


def _words(name: str) -> list[str]:
    """`T zone 1`, `BarrelTempZ1`, `température_fourreau` → words that can be compared."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain).lower()
    words = [_SAME.get(each, each) for each in re.findall(r"[a-z]+|[0-9]+", plain)]
    joined: list[str] = []
    for each in words:
        if each.isdigit() and joined and len(joined[-1]) == 1:
            joined[-1] += each  # z1: a zone; t1: a line
        else:
            joined.append(each)
    return ["temp" if each == "t" else each for each in joined]


def _numbers(cells: Sequence[Cell], decimal: str) -> list[float]:
    values = []
    for cell in cells:
        if isinstance(cell, str):
            value, _ = number(cell, decimal)
        elif isinstance(cell, bool | Absent) or cell is None:
            continue
        else:
            value = float(cell)
        if value == value:  # noqa: PLR0124  # NaN alone is not itself
            values.append(value)
    return values


def sentinels(
    guesses: Sequence[SignalGuess], series: Mapping[str, Sequence[Cell] | Moments], decimal: str
) -> list[float]:
    """Well-known sentinels that were seen where the sensor cannot mean them."""
    found: set[float] = set()
    for guess in guesses:
        cells = series[guess.name]
        if guess.signal is None or isinstance(cells, Moments):
            continue
        convert = converter(guess.unit, guess.signal.unit)
        low, high = guess.signal.range_low, guess.signal.range_high
        different = set(_numbers(cells, decimal))
        found |= {value for value in KNOWN_SENTINELS if value in different and not low <= convert(value) <= high}
    return sorted(found)
