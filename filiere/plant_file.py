"""A plant file (YAML) → Plant, with errors that say file, line, what was got, what was expected and what to do."""

import hashlib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TypeVar
from zoneinfo import available_timezones

from filiere.bindings_file import read_bindings
from filiere.errors import PlantError
from filiere.plant import (
    Ingredient,
    Label,
    Limits,
    Line,
    Material,
    Parameters,
    Plant,
    Recipe,
    Signal,
    Step,
    Unit,
    Workshop,
)
from filiere.readings import QUALITY_PREFIX
from filiere.units import check_unit
from filiere.yaml_node import BYTES_MAX, ID, Node, read_yaml

FORMAT = 1
_SHARE_TOLERANCE = 1e-9
_PACKAGED = files("filiere") / "plants"

Named = TypeVar("Named", Workshop, Line, Unit, Signal, Step, Recipe)


def load_plant(name_or_path: str) -> Plant:
    """A packaged name (`caux`) or a path to a YAML file → Plant.

    Raises:
        PlantError: no such file, not YAML, or a field that is wrong; the message gives file and line.
    """
    if ID.fullmatch(name_or_path) and (_PACKAGED / f"{name_or_path}.yaml").is_file():
        return parse_plant((_PACKAGED / f"{name_or_path}.yaml").read_bytes(), f"{name_or_path}.yaml")
    path = Path(name_or_path)
    try:
        with path.open("rb") as stream:
            body = stream.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        packaged = ", ".join(sorted(entry.name.removesuffix(".yaml") for entry in _PACKAGED.iterdir()))
        raise PlantError(
            f"got plant {name_or_path[:200]!r} ({error}); expected a path to a plant file, or one of: {packaged}"
        ) from None
    return parse_plant(body, str(path))


def parse_plant(body: bytes, source: str) -> Plant:
    """The bytes of a plant file → Plant. `source` names the file in errors."""
    root = read_yaml(body, source, "plant", PlantError, empty="a plant: start from the packaged caux.yaml")
    return _plant(root, hashlib.sha256(body).hexdigest())


def _plant(root: Node, digest: str) -> Plant:
    fields = root.fields(("filiere", "site", "materials", "workshops"), ("bindings",))
    if fields["filiere"].number() != FORMAT:
        raise fields["filiere"].error(fields["filiere"].shown, f"{FORMAT}, the version of this format")
    site = fields["site"].fields(("id", "label", "issuer", "timezone"))
    timezone = site["timezone"].text()
    if timezone not in available_timezones():
        raise site["timezone"].error(site["timezone"].shown, "a zone of the IANA database such as Europe/Paris")
    materials = {name: _material(name, node) for name, node in fields["materials"].entries()}
    site_id = site["id"].id()
    workshops = _unique(fields["workshops"], lambda node: _workshop(node, site_id, materials))
    return Plant(
        site=site_id,
        label=_label(site["label"]),
        issuer=site["issuer"].text(),
        timezone=timezone,
        materials=materials,
        workshops=workshops,
        digest=digest,
        bindings=read_bindings(fields["bindings"], _units(workshops)) if "bindings" in fields else (),
    )


def _units(workshops: tuple[Workshop, ...]) -> dict[str, dict[str, str]]:
    """Device path → signal id → unit of measure."""
    return {
        f"{line.path}/{unit.id}": {signal.id: signal.unit for signal in unit.signals}
        for workshop in workshops
        for line in workshop.lines
        for unit in line.units
    }


def _unique(parent: Node, read: Callable[[Node], Named]) -> tuple[Named, ...]:
    """Read a list whose items carry an id; the list is not empty and each id stands once."""
    found: dict[str, Named] = {}
    for node in parent.items():
        item = read(node)
        if item.id in found:
            raise node.error(f"id {item.id!r} twice", "each id once in this list: rename one")
        found[item.id] = item
    if not found:
        raise parent.error("an empty list", "at least one")
    return tuple(found.values())


def _label(node: Node) -> Label:
    fields = node.fields(("fr", "en"))
    return Label(fr=fields["fr"].text(), en=fields["en"].text())


def _material(name: str, node: Node) -> Material:
    if not ID.fullmatch(name):
        raise node.error(f"material id {name!r}", "up to 64 of a-z, 0-9, '_' and '-'")
    fields = node.fields(("label",), ("moisture",))
    moisture = fields["moisture"].number(low=0, high=1) if "moisture" in fields else 0.0
    return Material(id=name, label=_label(fields["label"]), moisture=moisture)


def _workshop(node: Node, site: str, materials: dict[str, Material]) -> Workshop:
    fields = node.fields(("id", "label", "lines"))
    workshop = fields["id"].id()
    lines = _unique(fields["lines"], lambda line: _line(line, f"{site}/{workshop}", materials))
    return Workshop(id=workshop, label=_label(fields["label"]), lines=lines)


def _line(node: Node, prefix: str, materials: dict[str, Material]) -> Line:
    fields = node.fields(("id", "label", "units", "steps"), ("simulator",))
    line_id = fields["id"].id()
    units = _unique(fields["units"], _unit)
    return Line(
        id=line_id,
        path=f"{prefix}/{line_id}",
        label=_label(fields["label"]),
        units=units,
        steps=_unique(fields["steps"], lambda step: _step(step, units, materials)),
        simulator=_parameters(fields),
    )


def _parameters(fields: dict[str, Node]) -> Parameters:
    if "simulator" not in fields:
        return {}
    return {name: node.parameter() for name, node in fields["simulator"].entries()}


def _unit(node: Node) -> Unit:
    fields = node.fields(("id", "label", "signals"), ("simulator",))
    device = fields["id"].id()
    signals = _unique(fields["signals"], lambda signal: _signal(signal, device))
    return Unit(id=device, label=_label(fields["label"]), signals=signals, simulator=_parameters(fields))


def _signal(node: Node, device: str) -> Signal:
    fields = node.fields(("id", "label", "unit", "period_s", "range", "resolution"), ("critical", "limits"))
    bounds = fields["range"].items()
    if len(bounds) != 2:
        raise fields["range"].error(f"{len(bounds)} numbers", "[low, high], what the sensor can mean")
    low, high = (bound.number() for bound in bounds)
    if low >= high:
        raise fields["range"].error(f"[{low:g}, {high:g}]", "low below high")
    unit = fields["unit"].text()
    try:
        check_unit(unit)
    except ValueError as error:
        raise fields["unit"].error(
            f"unit {unit!r} ({error})", "a UCUM code such as Cel, bar, kg, kg/h, 1, /min"
        ) from None
    signal_id = fields["id"].id()
    if signal_id == "time" or signal_id.startswith(QUALITY_PREFIX):
        raise fields["id"].error(
            f"signal id {signal_id!r}", f"another one: time and {QUALITY_PREFIX}… are the store's own"
        )
    return Signal(
        id=signal_id,
        device=device,
        label=_label(fields["label"]),
        unit=unit,
        period_s=fields["period_s"].number(low=0.001, high=86_400),
        range_low=low,
        range_high=high,
        resolution=fields["resolution"].number(low=0),
        critical=fields["critical"].boolean() if "critical" in fields else False,
        limits=_limits(fields["limits"]) if "limits" in fields else Limits(),
    )


def _limits(node: Node) -> Limits:
    fields = node.fields((), ("low", "high"))
    low, high = (fields[side].number() if side in fields else None for side in ("low", "high"))
    if low is not None and high is not None and low >= high:
        raise node.error(f"low {low:g}, high {high:g}", "low below high")
    return Limits(low=low, high=high)


def _step(node: Node, units: tuple[Unit, ...], materials: dict[str, Material]) -> Step:
    fields = node.fields(("id", "label", "product", "residues", "units", "recipes", "certified"), ("simulator",))
    signals = {signal.key: signal for unit in units for signal in unit.signals}
    return Step(
        id=fields["id"].id(),
        label=_label(fields["label"]),
        product=_known(fields["product"], materials, "material"),
        residues=tuple(_known(residue, materials, "material") for residue in fields["residues"].items()),
        units=tuple(_known(unit, {unit.id: unit for unit in units}, "unit") for unit in fields["units"].items()),
        recipes=_unique(fields["recipes"], lambda recipe: _recipe(recipe, signals, materials)),
        certified=fields["certified"].boolean(),
        simulator=_parameters(fields),
    )


def _known(node: Node, known: dict[str, Material] | dict[str, Unit], what: str) -> str:
    value = node.text()
    if value not in known:
        raise node.error(f"{what} {value!r}", f"one of {', '.join(known)}: correct it or add the {what}")
    return value


def _recipe(node: Node, signals: dict[str, Signal], materials: dict[str, Material]) -> Recipe:
    fields = node.fields(("id", "label", "ingredients"), ("targets", "limits"))
    ingredients = tuple(_ingredient(item, materials) for item in fields["ingredients"].items())
    total = sum(ingredient.share for ingredient in ingredients)
    if abs(total - 1.0) > _SHARE_TOLERANCE:
        raise fields["ingredients"].error(f"shares that add up to {total:g}", "1")
    targets = dict(fields["targets"].entries()) if "targets" in fields else {}
    limits = dict(fields["limits"].entries()) if "limits" in fields else {}
    for key, entry in (*targets.items(), *limits.items()):
        if key not in signals:
            raise entry.error(f"signal {key!r}", "unit.signal of this line, such as extruder.melt_temp")
    return Recipe(
        id=fields["id"].id(),
        label=_label(fields["label"]),
        ingredients=ingredients,
        targets={key: _target(entry, signals[key]) for key, entry in targets.items()},
        limits={key: _limits(entry) for key, entry in limits.items()},
    )


def _target(node: Node, signal: Signal) -> float:
    return node.number(low=signal.range_low, high=signal.range_high)


def _ingredient(node: Node, materials: dict[str, Material]) -> Ingredient:
    fields = node.fields(("material", "share"))
    share = fields["share"].number(low=0, high=1)
    return Ingredient(material=_known(fields["material"], materials, "material"), share=share)
