"""A scenario file (YAML) → Scenario, and one fault → Fault, with errors that say file, line, got and expected.

A fault that is asked for while a line runs is written in the same words as one of a file, and read here too.
"""

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from importlib.resources import files
from itertools import chain, count
from pathlib import Path

from filiere.clock import parse_time
from filiere.errors import ScenarioError
from filiere.plant import Label, Line, Plant
from filiere.yaml_node import BYTES_MAX, Node, read_yaml
from simulators.faults.catalogue import KINDS, WrongFault, check, overlap
from simulators.faults.fault import Fault, Onset
from simulators.scenarios.scenario import DAYS_OF_WEEK, Calendar, Scenario

FORMAT = 1
LOTS_MAX, DAYS_MAX, FAULTS_MAX = 100_000, 36_500, 10_000
SEED_MAX = 2**63 - 1
UNIT_S = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
"""Units of a duration, in seconds."""
START_NS_MIN, START_NS_MAX = parse_time("2000-01-01T00:00:00Z"), parse_time("2200-01-01T00:00:00Z")
BEGINNING = Onset(after_s=0.0)
_DURATION = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?) *([a-z]+)", re.ASCII)
_MINUTES = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_WHOLE = re.compile(r"[-+]?\d{1,30}", re.ASCII)
_SHIPPED = files("simulators") / "scenarios" / "shipped"


def shipped() -> tuple[str, ...]:
    """The names of the scenarios that come with the package."""
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in _SHIPPED.iterdir() if ".yaml" in entry.name))


def shipped_bytes(name: str) -> bytes:
    """The file of a scenario that comes with the package. Raises ScenarioError: there is none of that name."""
    if name not in shipped():
        raise ScenarioError(
            f"got scenario {name[:200]!r}; expected one of {', '.join(shipped())}{_meant(name, shipped())}"
        )
    return (_SHIPPED / f"{name}.yaml").read_bytes()


def load_scenario(name_or_path: str, plant: Plant) -> Scenario:
    """A shipped name (`clogged-screen`) or a path to a YAML file → Scenario, checked against `plant`.

    Raises:
        ScenarioError: no such file, not YAML, or a field that is wrong; the message gives file and line.
    """
    if name_or_path in shipped():
        return parse_scenario(shipped_bytes(name_or_path), f"{name_or_path}.yaml", plant)
    path = Path(name_or_path)
    try:
        with path.open("rb") as stream:
            body = stream.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise ScenarioError(
            f"got scenario {name_or_path[:200]!r} ({getattr(error, 'strerror', None) or error}); expected a path to a"
            f" scenario file, or one of: {', '.join(shipped())}{_meant(name_or_path, shipped())}"
        ) from None
    return parse_scenario(body, str(path), plant)


def parse_scenario(body: bytes, source: str, plant: Plant) -> Scenario:
    """The bytes of a scenario file → Scenario. `source` names the file in errors. Raises ScenarioError."""
    start = "a scenario: start from one of `filiere scenario list`"
    root = read_yaml(body, source, "scenario", ScenarioError, empty=start)
    fields = root.fields(
        ("scenario", "id", "label", "summary"),
        ("seed", "start", "lots", "days", "lines", "calendar", "faults"),
    )
    if fields["scenario"].number() != FORMAT:
        raise fields["scenario"].error(fields["scenario"].shown, f"{FORMAT}, the version of this format")
    lines = _lines(fields["lines"], plant) if "lines" in fields else ()
    lots = _whole(fields["lots"], 1, LOTS_MAX) if "lots" in fields else None
    return Scenario(
        id=fields["id"].id(),
        label=_label(fields["label"]),
        summary=_label(fields["summary"]),
        seed=_whole(fields["seed"], 0, SEED_MAX) if "seed" in fields else None,
        start_ns=_start_ns(fields["start"]) if "start" in fields else None,
        lots=lots,
        days=_days(fields["days"]) if "days" in fields else None,
        lines=lines,
        calendar=_calendar(fields["calendar"]) if "calendar" in fields else None,
        faults=_faults(fields["faults"], plant, lines, lots) if "faults" in fields else (),
        digest=hashlib.sha256(body).hexdigest(),
    )


def parse_fault(body: bytes, source: str, plant: Plant, *, label: str = "", onset: Onset = BEGINNING) -> Fault:
    """The bytes of one fault's mapping, YAML or JSON → Fault; as `read_fault`."""
    root = read_yaml(body, source, "fault", ScenarioError, empty="a mapping such as kind: screen_clog")
    return read_fault(root, plant, label=label, onset=onset)


def read_fault(node: Node, plant: Plant, *, label: str = "", onset: Onset = BEGINNING) -> Fault:
    """One fault of a scenario, or one that is asked for while a line runs.

    `label` and `onset` are those of a fault that names none; an empty label is then its kind.

    Raises:
        ScenarioError: what is wrong, with file and line.
    """
    fields = node.fields(("kind", "line"), ("label", "target", "onset", "duration", "severity"))
    kind = _kind(fields["kind"])
    usual = math.nan if kind.scale is None else kind.scale.usual
    fault = kind(
        label=fields["label"].id() if "label" in fields else label or kind.kind,
        line=_line(fields["line"], plant).path,
        target=fields["target"].text() if "target" in fields else "",
        onset=_onset(fields["onset"]) if "onset" in fields else onset,
        duration_s=_seconds(fields["duration"], low=0.001) if "duration" in fields else kind.usual_duration_s,
        severity=fields["severity"].number() if "severity" in fields else usual,
    )
    try:
        check(fault, plant)
    except WrongFault as wrong:
        raise fields.get(wrong.field, node).error(wrong.got, wrong.expected) from None
    return fault


def fault_document(fault: Fault) -> dict[str, object]:
    """The mapping of a fault, as `read_fault` reads it: the same fault comes back."""
    onset: dict[str, object] = {"after": duration_text(fault.onset.after_s)}
    if fault.onset.lot is not None:
        onset["lot"] = fault.onset.lot
    if fault.onset.step:
        onset["step"] = fault.onset.step
    document: dict[str, object] = {"kind": fault.kind, "label": fault.label, "line": fault.line}
    if fault.target:
        document["target"] = fault.target
    document["onset"] = onset
    if math.isfinite(fault.duration_s):
        document["duration"] = duration_text(fault.duration_s)
    if fault.scale is not None:
        document["severity"] = fault.severity
    return document


def duration_text(seconds: float) -> str:
    """`5400` → `90 min`: the largest unit in which it is a whole number, else seconds."""
    for unit in ("d", "h", "min", "s"):
        whole, rest = divmod(seconds, UNIT_S[unit])
        if rest == 0 and (whole or unit == "s"):
            return f"{whole:.0f} {unit}"
    return f"{seconds!r} s"


# ----------------------------------------------------------------------------------------------------------- fields


def _label(node: Node) -> Label:
    fields = node.fields(("fr", "en"))
    return Label(fr=fields["fr"].text(), en=fields["en"].text())


def _whole(node: Node, low: int, high: int) -> int:
    """A whole number, to its last digit: the largest seeds are no floats."""
    value = node.number()
    whole = int(node.node.value) if _WHOLE.fullmatch(node.node.value) else value
    if whole != int(whole) or not low <= whole <= high:
        raise node.error(node.shown, f"a whole number from {low} to {high}")
    return int(whole)


def _days(node: Node) -> float:
    value = node.number(low=0, high=DAYS_MAX)
    if value == 0:
        raise node.error("0", f"more than 0 days, up to {DAYS_MAX}")
    return value


def _start_ns(node: Node) -> int:
    try:
        start_ns = parse_time(node.text())
    except ValueError as error:
        got, _, expected = str(error).partition("; expected ")
        raise node.error(got.removeprefix("got "), expected) from None
    if not START_NS_MIN <= start_ns <= START_NS_MAX:
        raise node.error(node.shown, "a time from the year 2000 to 2199")
    return start_ns


def _seconds(node: Node, *, low: float = 0.0) -> float:
    """A duration: `90 s`, `20 min`, `1.5 h`, `2 d`."""
    found = _DURATION.fullmatch(node.text().strip())
    seconds = float(found[1]) * UNIT_S.get(found[2], math.nan) if found else math.nan
    if not low <= seconds <= DAYS_MAX * UNIT_S["d"]:
        least = "more than 0" if low else "0 or more"
        raise node.error(node.shown, f"a duration, {least}: a number and s, min, h or d, such as 20 min")
    return seconds


def _line(node: Node, plant: Plant) -> Line:
    path = node.text()
    known = {line.path: line for line in plant.lines}
    if path not in known:
        raise node.error(
            f"line {node.shown}", f"one of {', '.join(known)}, the lines of this plant{_meant(path, known)}"
        )
    return known[path]


def _lines(node: Node, plant: Plant) -> tuple[str, ...]:
    found: list[str] = []
    for item in node.items():
        path = _line(item, plant).path
        if path in found:
            raise item.error(f"line {path} twice", "each line once: remove one")
        found.append(path)
    if not found:
        raise node.error("an empty list", "at least one line; without the field, all lines of the plant")
    return tuple(found)


def _calendar(node: Node) -> Calendar:
    fields = node.fields(("days", "start", "lots_a_day"))
    days = set()
    for item in fields["days"].items():
        if item.text() not in DAYS_OF_WEEK:
            raise item.error(item.shown, f"one of {', '.join(DAYS_OF_WEEK)}")
        days.add(DAYS_OF_WEEK.index(item.text()))
    if not days:
        raise fields["days"].error("an empty list", "at least one day of the week")
    start = _MINUTES.fullmatch(fields["start"].text())
    if start is None:
        raise fields["start"].error(fields["start"].shown, 'local time of the site such as "06:00"')
    return Calendar(
        days=frozenset(days),
        start_minute=int(start[1]) * 60 + int(start[2]),
        lots_a_day=_whole(fields["lots_a_day"], 1, 100),
    )


# ----------------------------------------------------------------------------------------------------------- faults


def _faults(node: Node, plant: Plant, lines: tuple[str, ...], lots: int | None) -> tuple[Fault, ...]:
    nodes: dict[str, Node] = {}
    numbers: defaultdict[str, count[int]] = defaultdict(lambda: count(2))
    faults: list[Fault] = []
    items = node.items()
    if len(items) > FAULTS_MAX:
        raise node.error(f"{len(items)} faults", f"at most {FAULTS_MAX}")
    for item in items:
        fault = read_fault(item, plant, label=_free_label(item, nodes, numbers))
        fields = dict(item.entries())
        if fault.label in nodes:
            raise fields.get("label", item).error(f"label {fault.label!r} twice", "each label once: rename one")
        if lines and fault.line not in lines:
            raise fields["line"].error(f"line {fault.line}", f"a line of this scenario: {', '.join(lines)}")
        if lots is not None and (fault.onset.lot or 0) > lots:
            raise fields["onset"].error(f"lot {fault.onset.lot}", f"at most {lots}, the lots of this scenario")
        nodes[fault.label] = item
        faults.append(fault)
    if (both := overlap(faults, plant)) is not None:
        first, second = both
        raise nodes[second.label].error(
            f"{second.kind} at {second.target or second.line} while {first.label} ({first.kind}, line"
            f" {nodes[first.label].node.start_mark.line + 1}) is there",
            "one of them at a time: shorten the first, or begin the second later",
        )
    return tuple(faults)


def _free_label(item: Node, taken: Collection[str], numbers: Mapping[str, Iterator[int]]) -> str:
    """The label of a fault that names none: its kind, with the next of its `numbers` where that is taken."""
    fields = dict(item.entries())
    if "kind" not in fields or "label" in fields:
        return ""
    name = fields["kind"].text()
    numbered = (f"{name}-{number}" for number in numbers[name])
    return next(label for label in chain((name,), numbered) if label not in taken)


def _kind(node: Node) -> type[Fault]:
    name = node.text()
    if name not in KINDS:
        raise node.error(f"kind {node.shown}", f"one of {', '.join(KINDS)}{_meant(name, KINDS)}")
    return KINDS[name]


def _onset(node: Node) -> Onset:
    """`20 min` after the beginning, or a mapping: so long after a lot's feed began."""
    if node.is_text:
        return Onset(after_s=_seconds(node))
    fields = node.fields((), ("after", "lot", "step"))
    return Onset(
        after_s=_seconds(fields["after"]) if "after" in fields else 0.0,
        lot=_whole(fields["lot"], 1, LOTS_MAX) if "lot" in fields else None,
        step=fields["step"].text() if "step" in fields else "",
    )


def _meant(got: str, known: Collection[str]) -> str:
    """The nearest name, where one is near."""
    near = get_close_matches(got[:200], list(known), n=1)
    return f"; did you mean {near[0]}?" if near and near[0] != got else ""
