"""A YAML file under reading: what each node must be, and an error with file, line and the names that lead to it."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from filiere.errors import FiliereError, PlantError

BYTES_MAX = 4 * 1024 * 1024
NESTING_MAX = 40
ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""Names of the plant model: they are parts of topics, tags and file names."""
_EXPONENT = re.compile(r"[-+]?\d+(?:\.\d+)?[eE][-+]?\d+", re.ASCII)
"""A number as JSON writes it: YAML 1.1 takes `1e-05` for a text."""
_NULL, _BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))


@dataclass(frozen=True, slots=True)
class Node:
    """A YAML node under reading, with the path of names that leads to it."""

    node: yaml.Node
    source: str
    name: str
    error_class: type[FiliereError] = PlantError
    """What is raised when it is not what it must be."""

    def error(self, got: str, expected: str) -> FiliereError:
        """What to raise: `caux.yaml:12: plant.site.id: got …; expected …`."""
        return self.error_class(
            f"{self.source}:{self.node.start_mark.line + 1}: {self.name}: got {got}; expected {expected}"
        )

    def child(self, node: yaml.Node, name: str) -> "Node":
        """A node below this one, under its full name."""
        return Node(node, self.source, name, self.error_class)

    @property
    def shown(self) -> str:
        """What stands here, in a few characters."""
        if isinstance(self.node, yaml.ScalarNode):
            return "nothing" if self.node.tag == _NULL else repr(self.node.value)[:60]
        return "a list" if isinstance(self.node, yaml.SequenceNode) else "a mapping"

    def fields(self, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, "Node"]:
        """A mapping of these names, all of `required` and none that is in neither. Raises `error_class`, as below."""
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
            child = self.child(value, f"{self.name}.{key.value}")
            if key.value in seen:
                raise self.child(key, child.name).error("this name twice", "each name once: remove one")
            seen.add(key.value)
            yield key.value, child

    def items(self) -> tuple["Node", ...]:
        """A list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(self.shown, "a list")
        return tuple(self.child(item, f"{self.name}[{i}]") for i, item in enumerate(self.node.value))

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
        written = self.node.tag in (_INT, _FLOAT) or self._is_exponent
        try:
            value = float(self.node.value) if written else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not low <= value <= high:
            bounds = "" if low == -math.inf and high == math.inf else f" from {low:g} to {high:g}"
            raise self.error(self.shown, f"a number{bounds}")
        return value

    @property
    def _is_exponent(self) -> bool:
        node = self.node
        return isinstance(node, yaml.ScalarNode) and not node.style and _EXPONENT.fullmatch(node.value) is not None

    def boolean(self) -> bool:
        """`true` or `false`."""
        if self.node.tag != _BOOL or self.node.value.lower() not in ("true", "false"):
            raise self.error(self.shown, "true or false")
        return bool(self.node.value.lower() == "true")

    def parameter(self) -> float | str | bool:
        """A number, a truth value or a text, as it is written."""
        if self.node.tag in (_INT, _FLOAT) or self._is_exponent:
            return self.number()
        return self.boolean() if self.node.tag == _BOOL else self.text()


def read_yaml(body: bytes, source: str, name: str, error_class: type[FiliereError], *, empty: str) -> Node:
    """The bytes of a small YAML (or JSON) file → its root, called `name` in errors; `source` names the file in them.

    Raises:
        `error_class`: too large, not UTF-8, not YAML, nested too deep, an alias, or nothing (`empty` = what was
        expected then).
    """
    if len(body) > BYTES_MAX:
        raise error_class(f"{source}: got more than {BYTES_MAX} bytes; expected a {name} file of some kilobytes")
    try:
        text = body.decode("utf-8")
        _refuse_deep(text, source, error_class)
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise error_class(f"{source}:{line}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise error_class(f"{source}:{line}: not YAML: character U+{error.character:04X} may not be in it") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        raise error_class(f"{where}: not YAML: {_problem(error)}") from None
    if root is None:
        raise error_class(f"{source}: the file is empty; expected {empty}")
    return Node(root, source, name, error_class)


def _refuse_deep(text: str, source: str, error_class: type[FiliereError]) -> None:
    """A file nested too deep would exhaust the composer's stack; its events are read without recursion."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            raise error_class(f"{source}:{line}: got an alias (*); write the value out")
        if depth > NESTING_MAX:
            raise error_class(f"{source}:{line}: nested deeper than {NESTING_MAX} levels")


def _problem(error: yaml.YAMLError) -> str:
    return getattr(error, "problem", None) or " ".join(str(error).split())
