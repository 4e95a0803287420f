"""A YAML node under reading: what it must be, and an error with file, line and the names that lead to it."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from filiere.errors import PlantError

ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""Names of the plant model: they are parts of topics, tags and file names."""
_NULL, _BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))


@dataclass(frozen=True, slots=True)
class Node:
    """A YAML node under reading, with the path of names that leads to it."""

    node: yaml.Node
    source: str
    name: str

    def error(self, got: str, expected: str) -> PlantError:
        """What to raise: `caux.yaml:12: plant.site.id: got …; expected …`."""
        return PlantError(f"{self.source}:{self.node.start_mark.line + 1}: {self.name}: got {got}; expected {expected}")

    @property
    def shown(self) -> str:
        """What stands here, in a few characters."""
        if isinstance(self.node, yaml.ScalarNode):
            return "nothing" if self.node.tag == _NULL else repr(self.node.value)[:60]
        return "a list" if isinstance(self.node, yaml.SequenceNode) else "a mapping"

    def fields(self, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, "Node"]:
        """A mapping of these names, all of `required` and none that is in neither. Raises PlantError, as all below."""
        found = dict(self.entries())
        for name, node in found.items():
            if name not in required and name not in optional:
                raise node.error("this field", f"one of {', '.join(required + optional)}: correct or remove it")
        for name in required:
            if name not in found:
                raise self.error(f"no {name}", f"{name}: add it")
        return found

    def entries(self) -> Iterator[tuple[str, "Node"]]:
        """A mapping of any names, each once."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(self.shown, "a mapping (name: value)")
        seen: set[str] = set()
        for key, value in self.node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.error("a name that is not a text", "name: value")
            child = Node(value, self.source, f"{self.name}.{key.value}")
            if key.value in seen:
                raise Node(key, self.source, child.name).error("this name twice", "each name once: remove one")
            seen.add(key.value)
            yield key.value, child

    def items(self) -> tuple["Node", ...]:
        """A list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(self.shown, "a list")
        return tuple(Node(item, self.source, f"{self.name}[{i}]") for i, item in enumerate(self.node.value))

    @property
    def is_text(self) -> bool:
        """Neither a list nor a mapping."""
        return isinstance(self.node, yaml.ScalarNode)

    def text(self) -> str:
        """A text that is not blank."""
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag == _NULL or not self.node.value.strip():
            raise self.error(self.shown, "a text")
        value: str = self.node.value
        return value

    def id(self) -> str:
        """A name of the plant model."""
        value = self.text()
        if not ID.fullmatch(value):
            raise self.error(self.shown, "an id: up to 64 of a-z, 0-9, '_' and '-', starting with a letter or digit")
        return value

    def number(self, *, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number from `low` to `high`."""
        try:
            value = float(self.node.value) if self.node.tag in (_INT, _FLOAT) else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not low <= value <= high:
            bounds = "" if low == -math.inf and high == math.inf else f" from {low:g} to {high:g}"
            raise self.error(self.shown, f"a number{bounds}")
        return value

    def boolean(self) -> bool:
        """`true` or `false`."""
        if self.node.tag != _BOOL or self.node.value.lower() not in ("true", "false"):
            raise self.error(self.shown, "true or false")
        return bool(self.node.value.lower() == "true")

    def parameter(self) -> float | str | bool:
        """A number, a truth value or a text, as it is written."""
        if self.node.tag in (_INT, _FLOAT):
            return self.number()
        return self.boolean() if self.node.tag == _BOOL else self.text()
