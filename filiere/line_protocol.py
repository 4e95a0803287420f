"""InfluxDB's line protocol, written. Pure.

    reading,device=DEVICE,line=LINE,site=SITE,workshop=WORKSHOP SIGNAL=VALUE,…,q_SIGNAL="WORD",… TIME_NS

One line a row, one float field a signal, `q_…` only where a value is not good. Tags are sorted, which the server
indexes fastest. https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from filiere.readings import (
    ACCOUNT_MEASUREMENT,
    COLLECTOR_MEASUREMENT,
    MEASUREMENT,
    QUALITY_PREFIX,
    RUN_FIELD_LOT,
    RUN_FIELD_RECIPE,
    RUN_FIELD_RUN,
    RUN_FIELD_STATE,
    RUN_MEASUREMENT,
    TAG_COLLECTOR,
    TAG_DEVICE,
    TAG_LINE,
    TAG_SITE,
    TAG_WORKSHOP,
    AccountMark,
    Block,
    RunMark,
    quality_index,
    refuse_bad_account,
    refuse_bad_device,
    refuse_bad_line,
    refuse_bad_signal,
)

_KNOWN_MAX = 10_000
"""Devices, signals and their combinations whose spelling is remembered."""
_TAG_ESCAPES = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})
_TEXT_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"'})


def block_lines(block: Block) -> Iterator[str]:
    """A line for each row that has a value, made when it is asked for.

    Raises StoreRefused, at the latest with the first line: a name that the protocol cannot hold.
    """
    try:
        columns = [_floats(column) for column in block.values.values()]
    except TypeError:  # some values are not measured
        return _sparse_lines(block)
    if block.quality or not columns:
        return _sparse_lines(block)
    whole = _whole_line(block.line, block.device, tuple(block.values))
    return map(whole.__mod__, zip(*columns, block.time_ns, strict=True))


@lru_cache(maxsize=_KNOWN_MAX)
def _whole_line(line: str, device: str, signals: tuple[str, ...]) -> str:
    """A row with a value of each signal, all good, to be filled with the values and the time.

    `%r` is the shortest text that gives the same float64 back.
    """
    fields = ",".join(f"{_field(signal).replace('%', '%%')}=%r" for signal in signals)
    return f"{_head(line, device).replace('%', '%%')} {fields} %d"


def _floats(column: Sequence[float | None]) -> Sequence[float]:
    """Values as Python's floats, -0.0 as 0.0, which is what SQLite keeps. Raises TypeError: some are not measured."""
    total = sum(column)  # type: ignore[arg-type]  # None is the TypeError
    if type(total) is float and 0.0 not in column:
        return column
    return [float(value) + 0.0 for value in column]  # type: ignore[arg-type]  # same


def _sparse_lines(block: Block) -> Iterator[str]:
    head = _head(block.line, block.device)
    columns = [(_field(signal), column, block.quality.get(signal, {})) for signal, column in block.values.items()]
    for place, time_ns in enumerate(block.time_ns):
        measured = [(field, column[place], flags.get(place)) for field, column, flags in columns]
        fields = [f"{field}={float(value) + 0.0!r}" for field, value, _ in measured if value is not None]
        fields += [
            f'{QUALITY_PREFIX}{field}="{word}"'
            for field, value, word in measured
            if word and value is not None and quality_index(word)
        ]
        if fields:
            yield f"{head} {','.join(fields)} {time_ns}"


@lru_cache(maxsize=_KNOWN_MAX)
def _head(line: str, device: str) -> str:
    refuse_bad_device(device)
    return f"{MEASUREMENT},{TAG_DEVICE}={_tag(device)},{_line_tags(line)}"


@lru_cache(maxsize=_KNOWN_MAX)
def _field(signal: str) -> str:
    refuse_bad_signal(signal)
    return _tag(signal)


def mark_line(mark: RunMark) -> str:
    """A run mark. Raises StoreRefused: a line that is none."""
    texts = {
        RUN_FIELD_STATE: mark.state,
        RUN_FIELD_RUN: mark.run,
        RUN_FIELD_LOT: mark.lot,
        RUN_FIELD_RECIPE: mark.recipe,
    }
    fields = ",".join(f'{field}="{text.translate(_TEXT_ESCAPES)}"' for field, text in texts.items())
    return f"{RUN_MEASUREMENT},{_line_tags(mark.line)} {fields} {mark.time_ns}"


def account_line(mark: AccountMark) -> str:
    """Numbers are floats, also the whole ones: a field of one type for ever."""
    refuse_bad_account(mark)
    collector = f"{TAG_COLLECTOR}={_tag(mark.collector)}"
    fields = ",".join(f"{_tag(name)}={float(value)!r}" for name, value in mark.values.items())
    if mark.device is None:
        return f"{COLLECTOR_MEASUREMENT},{collector} {fields} {mark.time_ns}"
    line, _, device = mark.device.rpartition("/")
    tags = f"{collector},{TAG_DEVICE}={_tag(device)}" + (f",{_line_tags(line)}" if line else "")
    return f"{ACCOUNT_MEASUREMENT},{tags} {fields} {mark.time_ns}"


def tags_of(line: str) -> Mapping[str, str]:
    """`caux/textile/t1` → its tags, sorted. Raises StoreRefused."""
    refuse_bad_line(line)
    site, workshop, name = line.split("/")
    return {TAG_LINE: name, TAG_SITE: site, TAG_WORKSHOP: workshop}


def _line_tags(line: str) -> str:
    return ",".join(f"{tag}={_tag(value)}" for tag, value in tags_of(line).items())


def _tag(text: str) -> str:
    return text.translate(_TAG_ESCAPES)
