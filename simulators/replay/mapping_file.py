"""A mapping file (YAML) → ColumnMapping, checked against the plant; errors name file and line."""

import codecs
from dataclasses import replace
from pathlib import Path
from zoneinfo import available_timezones

from filiere.errors import FiliereError, NotFound, ScenarioError
from filiere.plant import Plant
from filiere.units import converter
from filiere.yaml_node import BYTES_MAX, Node, read_yaml
from simulators.replay.mapping import Cleaning, ColumnMapping, Kind, Layout, LongColumns, Source, TimeColumns
from simulators.replay.times import TimeFormat

FORMAT = 1
HEADER_LINE_MAX = 1000
CHOICE = {"leave_out": True, "keep": False}
ORDER = {"sort": True, "keep": False}


def load_mapping(path: Path, plant: Plant) -> ColumnMapping:
    """Raises ScenarioError: no such file, or a field that is wrong; the message gives file and line."""
    try:
        with path.open("rb") as file:
            body = file.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or error
        raise ScenarioError(
            f"mapping: got {path} ({words}); expected a mapping file: `filiere replay inspect FILE` proposes one"
        ) from None
    return parse_mapping(body, str(path), plant)


def parse_mapping(body: bytes, source: str, plant: Plant) -> ColumnMapping:
    """The bytes of a mapping file → ColumnMapping. `source` names the file in errors. Raises ScenarioError."""
    empty = "a mapping: `filiere replay inspect FILE` proposes one"
    fields = read_yaml(body, source, "mapping", ScenarioError, empty=empty).fields(
        ("replay", "file", "time", "columns"), ("long", "sentinels", "clean")
    )
    if fields["replay"].number() != FORMAT:
        raise fields["replay"].error(fields["replay"].shown, f"{FORMAT}, the version of this format")
    layout = _layout(fields["file"])
    sources = tuple(_source(name, node, plant) for name, node in fields["columns"].entries())
    if not sources:
        raise fields["columns"].error("no column", "at least one, and the signal that it is")
    _check_once(fields["columns"], sources)
    sentinels = fields["sentinels"].items() if "sentinels" in fields else ()
    return ColumnMapping(
        layout=layout,
        time=_time(fields["time"], layout),
        long=_long(fields["long"]) if "long" in fields else None,
        sources=sources,
        sentinels=frozenset(node.number() for node in sentinels),
        cleaning=_cleaning(fields["clean"]) if "clean" in fields else Cleaning(),
        source=source,
    )


def _layout(node: Node) -> Layout:
    fields = node.fields(("kind",), ("encoding", "separator", "decimal", "header_line"))
    layout = Layout(kind=Kind(_one_of(fields["kind"], [kind.value for kind in Kind])))
    if "encoding" in fields:
        encoding = fields["encoding"].text()
        try:
            text = codecs.lookup(encoding)._is_text_encoding  # noqa: SLF001 - base64 and the like are no encodings of text
        except (LookupError, ValueError):
            text = False
        if not text:
            raise fields["encoding"].error(
                fields["encoding"].shown, "utf-8, utf-16, cp1252 or another encoding of text"
            )
        layout = replace(layout, encoding=encoding)
    if "separator" in fields:
        # a tab alone is blank, and still a separator
        separator = str(fields["separator"].node.value) if fields["separator"].is_text else ""
        if len(separator) != 1 or separator in '"\r\n\0' or separator.isalnum():
            raise fields["separator"].error(fields["separator"].shown, 'one character such as ";", "," or "\\t"')
        layout = replace(layout, separator=separator)
    if "decimal" in fields:
        layout = replace(layout, decimal=_one_of(fields["decimal"], [".", ","]))
    if "header_line" in fields:
        layout = replace(layout, header_line=int(fields["header_line"].number(low=1, high=HEADER_LINE_MAX)))
    return layout


def _time(node: Node, layout: Layout) -> TimeColumns:
    fields = node.fields(("columns", "format"), ("zone",))
    columns = tuple(item.text() for item in fields["columns"].items())
    if not columns:
        raise fields["columns"].error("an empty list", "the column of the time, or those of date and time of day")
    time_format = TimeFormat(_one_of(fields["format"], [each.value for each in TimeFormat]))
    if time_format is TimeFormat.TIMESTAMP and layout.kind is not Kind.PARQUET:
        raise fields["format"].error("timestamp", "how the text is written: Parquet alone has columns of times")
    return TimeColumns(
        columns=columns, format=time_format, zone=checked_zone(fields["zone"]) if "zone" in fields else None
    )


def checked_zone(node: Node) -> str:
    """A zone of the IANA database. Raises the node's error."""
    zone = node.text()
    if zone not in available_timezones():
        raise node.error(node.shown, "a zone of the IANA database such as Europe/Paris")
    return zone


def _long(node: Node) -> LongColumns:
    fields = node.fields(("name", "value"), ("quality", "good"))
    if ("quality" in fields) != ("good" in fields):
        raise node.error("one of quality and good", "both, or neither")
    return LongColumns(
        name=fields["name"].text(),
        value=fields["value"].text(),
        quality=fields["quality"].text() if "quality" in fields else None,
        good=frozenset(item.text().strip() for item in fields["good"].items()) if "good" in fields else frozenset(),
    )


def _source(name: str, node: Node, plant: Plant) -> Source:
    fields = node.fields(("signal", "unit"), ("scale", "decimal", "optional"))
    text = fields["signal"].text()
    line_path, _, key = text.rpartition("/")
    known = ", ".join(f"{line.path}/{signal.key}" for line in plant.lines for signal in line.signals)
    try:
        signal = plant.line(line_path).signal(key)
    except NotFound:
        raise fields["signal"].error(f"signal {text[:80]!r}", f"one of the plant: {known}") from None
    unit = fields["unit"].text()
    try:
        converter(unit, signal.unit)
    except ValueError as error:
        raise fields["unit"].error(
            f"unit {unit[:40]!r}", f"{signal.unit!r}, or one that converts to it ({error})"
        ) from None
    scale = fields["scale"].number() if "scale" in fields else 1.0
    if not scale:
        raise fields["scale"].error("0", "another factor")
    return Source(
        name=name,
        line=line_path,
        signal=signal,
        unit=unit,
        scale=scale,
        decimal=_one_of(fields["decimal"], [".", ","]) if "decimal" in fields else None,
        optional=fields["optional"].boolean() if "optional" in fields else False,
        line_number=node.node.start_mark.line + 1,
    )


def _check_once(node: Node, sources: tuple[Source, ...]) -> None:
    """Raises ScenarioError: two columns are one signal."""
    seen: dict[str, str] = {}
    for source in sources:
        key = f"{source.line}/{source.signal.key}"
        if key in seen:
            raise _at(node, source.name).error(
                f"signal {key}, which column {seen[key]!r} is already", "one column for each signal: remove one"
            )
        seen[key] = source.name


def _at(node: Node, name: str) -> Node:
    return dict(node.entries())[name]


def _cleaning(node: Node) -> Cleaning:
    fields = node.fields((), ("halved_rows", "repeated_rows", "backward_rows"))
    cleaning = Cleaning()
    if "halved_rows" in fields:
        cleaning = replace(cleaning, leave_out_halved=CHOICE[_one_of(fields["halved_rows"], list(CHOICE))])
    if "repeated_rows" in fields:
        cleaning = replace(cleaning, leave_out_repeated=CHOICE[_one_of(fields["repeated_rows"], list(CHOICE))])
    if "backward_rows" in fields:
        cleaning = replace(cleaning, sort=ORDER[_one_of(fields["backward_rows"], list(ORDER))])
    return cleaning


def _one_of(node: Node, known: list[str]) -> str:
    text = node.text()
    if text not in known:
        raise node.error(node.shown, f"one of {', '.join(known)}")
    return text


def absent(mapping: ColumnMapping, source: Source, names: list[str], file: str) -> FiliereError:
    """What to raise when a file is without a column."""
    listed = ", ".join(map(repr, names[:20])) + (", …" if len(names) > 20 else "")
    return ScenarioError(
        f"{mapping.source}:{source.line_number}: columns: got {source.name!r}, which {file} does not have; expected one"
        f" of its names ({listed}), or optional: true"
    )
